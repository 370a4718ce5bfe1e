//! Rewards as the OpenAPI document has them: each kind with its own fields and no others, which an `allOf` cannot say.

use std::borrow::Cow;

use serde_json::json;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ArrayBuilder, Object, ObjectBuilder, OneOfBuilder, RefOr, Schema, SchemaFormat, Type,
        schema::AdditionalProperties,
    },
};

use super::{RANKS_MAX, Reward};

impl ToSchema for Reward {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Reward")
    }
}

impl PartialSchema for Reward {
    fn schema() -> RefOr<Schema> {
        let fixed = kind("fixed", "Always the same.")
            .property("amount", amount("Base units."))
            .required("amount")
            .examples([json!({ "kind": "fixed", "amount": "1000000000000000000" })]);
        let field = text("`score`, or `attributes.NAME` of an attribute that is a whole number.")
            .pattern(Some(r"^(score|attributes\.[^\x00-\x1f\x7f-\x9f]{1,64})$"));
        let per_unit = kind("per_unit", "More for more, up to a cap.")
            .property("field", field)
            .required("field")
            .property("amount", amount("Base units for each unit of the field."))
            .required("amount")
            .property("cap", amount("The most that is paid, in base units; no less than `amount`."))
            .required("cap")
            .examples([json!({ "kind": "per_unit", "field": "score", "amount": "10", "cap": "1000" })]);
        let amounts = ArrayBuilder::new()
            .items(amount("Base units."))
            .description(Some("Base units for the first, the second, and so on."))
            .min_items(Some(1))
            .max_items(Some(RANKS_MAX));
        let by_rank = kind("by_rank", "By the place that the player took.")
            .property("amounts", amounts)
            .required("amounts")
            .examples([json!({ "kind": "by_rank", "amounts": ["500", "300", "100"] })]);
        OneOfBuilder::new()
            .description(Some("What a campaign pays for an accepted outcome."))
            .item(fixed)
            .item(per_unit)
            .item(by_rank)
            .into()
    }
}

fn kind(name: &str, description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .description(Some(description))
        .property("kind", ObjectBuilder::new().schema_type(Type::String).enum_values(Some([name])))
        .required("kind")
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description))
}

/// 1 to 2^96 - 1 base units.
fn amount(description: &str) -> Object {
    text(description)
        .format(Some(SchemaFormat::Custom("uint96".to_owned())))
        .pattern(Some("^[1-9][0-9]{0,28}$"))
        .build()
}
