//! What a parameter may be, by its name.

use laurel_campaign::{CampaignState, PlayerList};
use laurel_events::EventKind;
use laurel_ledger::TRANSFER_KINDS;
use utoipa::openapi::{
    ObjectBuilder, SchemaFormat, Type,
    path::{Parameter, ParameterIn},
};

use crate::{
    extract::LIMIT_MAX,
    idempotency::KEY_LENGTH_MAX,
    routes::{GRANT_STATES, LETTER_STATES, TRANSACTION_STATES},
};

/// Everything but a NUL, which PostgreSQL does not keep.
const STORED: &str = r"^[^\x00]*$";

/// Everything but control characters.
const PLAIN: &str = r"^[^\x00-\x1f\x7f-\x9f]+$";

/// Says what a parameter of an operation may be.
pub(super) fn describe(operation: &str, parameter: &mut Parameter) {
    if let Some(schema) = schema(operation, parameter) {
        parameter.schema = Some(schema.build().into());
    }
}

fn schema(operation: &str, parameter: &Parameter) -> Option<ObjectBuilder> {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let pattern = |pattern: &str| text().pattern(Some(pattern));
    let custom = |format: &str| Some(SchemaFormat::Custom(format.to_owned()));
    Some(match parameter.name.as_str() {
        "limit" => ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(LIMIT_MAX)),
        "state" | "list" | "kind" => text().enum_values(Some(values(operation)?)),
        "cursor" if operation == "list_dead_letters" => pattern("^[0-9]{1,18}$"),
        "cursor" => pattern(STORED),
        // A number of 64 bits, in text so that every language reads it without loss.
        "campaign_id" => pattern("^(0|[1-9][0-9]*)$").format(custom("uint64")),
        "grant_id" => pattern("^(0|[1-9][0-9]*)-(0|[1-9][0-9]*)$"),
        "wallet" | "token" => pattern("^(0x)?[0-9a-fA-F]{40}$"),
        // The account that signs; elsewhere it is a day or a moment.
        "from" if operation.contains("transaction") => pattern("^(0x)?[0-9a-fA-F]{40}$"),
        "amount_min" | "amount_max" => pattern("^(0|[1-9][0-9]{0,76})$"),
        "hash" => pattern("^0x[0-9a-fA-F]{64}$"),
        "chain_id" | "block_min" | "block_max" => {
            // Numbers of 64 bits.
            ObjectBuilder::new()
                .schema_type(Type::Integer)
                .minimum(Some(0))
                .maximum(Some(u64::MAX))
                .format(custom("uint64"))
        }
        "player_id" if parameter.parameter_in == ParameterIn::Query => pattern(STORED),
        "player_id" => pattern(PLAIN).min_length(Some(1)).max_length(Some(laurel_players::EXTERNAL_ID_MAX)),
        "outcome_id" => pattern(PLAIN).min_length(Some(1)),
        "issuer" | "stage" | "reason" | "by" | "action" => pattern(STORED),
        "idempotency-key" => {
            let key = format!(r"[!#-\[\]-~]{{1,{KEY_LENGTH_MAX}}}");
            pattern(&format!("^({key}|\"{key}\")$"))
        }
        "if-match" => pattern(r#"^(\*|"(0|[1-9][0-9]{0,8})")$"#).format(custom("entity-tag")),
        _ if parameter.parameter_in == ParameterIn::Header => text(),
        _ => return None,
    })
}

/// The values of a filter.
fn values(operation: &str) -> Option<Vec<&'static str>> {
    Some(match operation {
        "list_campaigns" => CampaignState::ALL.map(CampaignState::as_str).to_vec(),
        "list_campaign_players" => PlayerList::ALL.map(PlayerList::as_str).to_vec(),
        "list_grants" | "get_grant_totals" | "list_campaign_grants" | "list_player_grants" => {
            GRANT_STATES.to_vec()
        }
        "list_transactions" | "get_transaction_totals" => TRANSACTION_STATES.to_vec(),
        "list_dead_letters" => LETTER_STATES.to_vec(),
        "list_campaign_transfers" => TRANSFER_KINDS.to_vec(),
        "list_journal" => EventKind::ALL.iter().map(|kind| kind.as_str()).collect(),
        _ => return None,
    })
}
