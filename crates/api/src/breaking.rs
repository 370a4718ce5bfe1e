//! What a change of the interface breaks for those who use it.
//!
//! Whoever sends something must be understood as before, and whoever reads an answer must find in it what they found before. So requests may
//! demand nothing more and take nothing less, and answers may lack nothing and hold nothing of another kind. Everything else is an addition.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// In which way something is said.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    /// By the caller.
    InRequest,
    /// By the interface.
    InAnswer,
}

/// What `new` breaks for those who go by `old`, both OpenAPI 3.1 documents; nothing if it only adds.
pub fn breaking_changes(old: &Value, new: &Value) -> Vec<String> {
    let mut comparison = Comparison { old, new, broken: Vec::new(), seen: BTreeSet::new() };
    for (path, before) in entries(&old["paths"]) {
        for (method, before) in entries(before) {
            let after = &new["paths"][path][method];
            let place = format!("{} {path}", method.to_uppercase());
            if after.is_null() {
                comparison.broken.push(format!("{place}: it is gone"));
            } else {
                comparison.operation(&place, before, after);
            }
        }
    }
    comparison.broken
}

struct Comparison<'a> {
    old: &'a Value,
    new: &'a Value,
    broken: Vec<String>,
    /// Schemas that were compared, by their names and the way in which they are said: each is told of once, and those that hold
    /// themselves come to an end.
    seen: BTreeSet<(String, String, bool)>,
}

impl<'a> Comparison<'a> {
    fn operation(&mut self, place: &str, old: &'a Value, new: &'a Value) {
        if old["operationId"] != new["operationId"] {
            self.tell(
                place,
                &format!("it is called {} by now, and was {}", new["operationId"], old["operationId"]),
            );
        }
        let named = |of: &'a Value| of["parameters"].as_array().into_iter().flatten();
        let same = |one: &Value, other: &Value| one["name"] == other["name"] && one["in"] == other["in"];
        for parameter in named(old) {
            let place = format!("{place}, {} {}", text(&parameter["in"]), text(&parameter["name"]));
            match named(new).find(|other| same(parameter, other)) {
                None => self.tell(&place, "it is not taken any more"),
                Some(other) => self.schema(&place, &parameter["schema"], &other["schema"], Said::InRequest),
            }
        }
        for parameter in named(new).filter(|parameter| parameter["required"] == true) {
            let before = named(old).find(|other| same(parameter, other));
            if before.is_none_or(|before| before["required"] != true) {
                self.tell(
                    place,
                    &format!("{} {} is demanded", text(&parameter["in"]), text(&parameter["name"])),
                );
            }
        }
        let body = |of: &'a Value| &of["requestBody"]["content"]["application/json"]["schema"];
        match (body(old).is_null(), body(new).is_null()) {
            (false, false) => self.schema(&format!("{place}, body"), body(old), body(new), Said::InRequest),
            (false, true) => self.tell(place, "it takes no body any more"),
            _ => {}
        }
        if new["requestBody"]["required"] == true && old["requestBody"]["required"] != true {
            self.tell(place, "a body is demanded");
        }
        for (status, before) in entries(&old["responses"]) {
            let after = &new["responses"][status];
            if after.is_null() {
                self.tell(place, &format!("it does not answer {status} any more"));
                continue;
            }
            for (kind, content) in entries(&before["content"]) {
                let place = format!("{place}, answer {status}");
                match &after["content"][kind] {
                    Value::Null => self.tell(&place, &format!("it is no {kind} any more")),
                    other => self.schema(&place, &content["schema"], &other["schema"], Said::InAnswer),
                }
            }
        }
    }

    fn schema(&mut self, place: &str, old: &'a Value, new: &'a Value, said: Said) {
        if let (Some(one), Some(other)) = (name_or_null(old), name_or_null(new))
            && !self.seen.insert((one.to_owned(), other.to_owned(), said == Said::InRequest))
        {
            return;
        }
        let (old, new) = (Shape::of(self.old, old), Shape::of(self.new, new));
        let fewer = |one: &BTreeSet<String>, other: &BTreeSet<String>| -> Vec<String> {
            one.difference(other).cloned().collect()
        };
        // Who sends loses what is not taken any more; who reads does not expect what is new.
        let lost = match said {
            Said::InRequest => fewer(&old.kinds, &new.kinds),
            Said::InAnswer => fewer(&new.kinds, &old.kinds),
        };
        if !lost.is_empty() && !old.kinds.is_empty() && !new.kinds.is_empty() {
            self.tell(place, &format!("it is {} by now, and was {}", list(&new.kinds), list(&old.kinds)));
            return;
        }
        if said == Said::InRequest && old.format != new.format && new.format.is_some() {
            self.tell(place, &format!("it has to be a {} by now", new.format.unwrap_or_default()));
        }
        if said == Said::InRequest && !new.values.is_empty() {
            let lost = if old.values.is_empty() {
                vec!["anything else".to_owned()]
            } else {
                fewer(&old.values, &new.values)
            };
            if !lost.is_empty() {
                self.tell(place, &format!("{} is not taken any more", lost.join(", ")));
            }
        }
        for (property, before) in &old.properties {
            let place = format!("{place}.{property}");
            match new.properties.iter().find(|(known, _)| known == property) {
                None if said == Said::InRequest && new.open => {}
                None => self.tell(&place, "it is gone"),
                Some((_, after)) => self.schema(&place, before, after, said),
            }
        }
        let demanded = match said {
            Said::InRequest => fewer(&new.required, &old.required),
            Said::InAnswer => fewer(&old.required, &new.required),
        };
        for property in demanded {
            let what = match said {
                Said::InRequest => "it is demanded",
                Said::InAnswer => "it may be absent",
            };
            self.tell(&format!("{place}.{property}"), what);
        }
        if let (Some(before), Some(after)) = (old.items, new.items) {
            self.schema(&format!("{place}[]"), before, after, said);
        }
        for (index, before) in old.variants.iter().enumerate() {
            match new.variants.get(index) {
                Some(after) => self.schema(&format!("{place}/{index}"), before, after, said),
                None if said == Said::InRequest => self.tell(place, "one of its kinds is not taken any more"),
                None => {}
            }
        }
    }

    fn tell(&mut self, place: &str, what: &str) {
        self.broken.push(format!("{place}: {what}"));
    }
}

/// What a schema says, its references followed, and what may be null taken apart.
#[derive(Default)]
struct Shape<'a> {
    kinds: BTreeSet<String>,
    values: BTreeSet<String>,
    format: Option<&'a str>,
    properties: Vec<(&'a str, &'a Value)>,
    required: BTreeSet<String>,
    /// Whether it takes properties that it does not know.
    open: bool,
    items: Option<&'a Value>,
    variants: Vec<&'a Value>,
}

impl<'a> Shape<'a> {
    fn of(document: &'a Value, schema: &'a Value) -> Self {
        let mut shape = Self { open: true, ..Self::default() };
        shape.add(document, schema);
        shape
    }

    fn add(&mut self, document: &'a Value, schema: &'a Value) {
        if let Some(name) = name(schema) {
            return self.add(document, &document["components"]["schemas"][name]);
        }
        match &schema["type"] {
            Value::String(kind) => drop(self.kinds.insert(kind.clone())),
            Value::Array(kinds) => {
                self.kinds.extend(kinds.iter().filter_map(Value::as_str).map(str::to_owned))
            }
            _ => {}
        }
        self.format = self.format.or_else(|| schema["format"].as_str());
        self.values.extend(schema["enum"].as_array().into_iter().flatten().map(Value::to_string));
        self.properties.extend(entries(&schema["properties"]));
        self.required.extend(
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned),
        );
        self.open &= schema["additionalProperties"] != false;
        if !schema["items"].is_null() {
            self.items = Some(&schema["items"]);
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.add(document, part);
        }
        let variants: Vec<&Value> = schema["oneOf"].as_array().into_iter().flatten().collect();
        let is_null = |variant: &&Value| variant["type"] == "null";
        let others: Vec<&Value> = variants.iter().copied().filter(|variant| !is_null(variant)).collect();
        if variants.len() > others.len() {
            self.kinds.insert("null".to_owned());
        }
        match others[..] {
            [only] => self.add(document, only),
            _ => self.variants.extend(others),
        }
    }
}

fn name(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix("#/components/schemas/")
}

/// The schema that is referred to, also where it may be null instead.
fn name_or_null(schema: &Value) -> Option<&str> {
    let variants = schema["oneOf"].as_array().into_iter().flatten();
    name(schema).or_else(|| {
        match variants.filter(|variant| variant["type"] != "null").collect::<Vec<_>>()[..] {
            [only] => name(only),
            _ => None,
        }
    })
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter).map(|(name, value)| (name.as_str(), value))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(kinds: &BTreeSet<String>) -> String {
    kinds.iter().map(String::as_str).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        json!({
            "paths": { "/things": { "post": {
                "operationId": "make_thing",
                "parameters": [{ "name": "limit", "in": "query", "schema": { "type": "integer" } }],
                "requestBody": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/New" } } } },
                "responses": {
                    "200": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Thing" } } } },
                    "4XX": {},
                },
            } } },
            "components": { "schemas": {
                "New": {
                    "type": "object", "required": ["name"], "additionalProperties": false,
                    "properties": {
                        "name": { "type": ["string", "null"] }, "size": { "type": "string", "enum": ["big", "small"] },
                        "inner": { "oneOf": [{ "$ref": "#/components/schemas/New" }, { "type": "null" }] },
                    },
                },
                "Thing": {
                    "type": "object", "required": ["id", "parts"],
                    "properties": {
                        "id": { "type": "string" }, "state": { "type": "string", "enum": ["new"] },
                        "parts": { "type": "array", "items": { "$ref": "#/components/schemas/Thing" } },
                    },
                },
            } },
        })
    }

    fn changed(pointer: &str, value: Value) -> Value {
        let mut document = document();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let (parent, key) = (document.pointer_mut(parent).unwrap(), key.replace("~1", "/"));
        match (parent, value) {
            (Value::Object(parent), Value::Null) => drop(parent.remove(&key)),
            (Value::Object(parent), value) => drop(parent.insert(key, value)),
            (Value::Array(parent), value) => parent.insert(key.parse().unwrap(), value),
            _ => unreachable!(),
        }
        document
    }

    const OPERATION: &str = "/paths/~1things/post";

    #[rstest]
    #[case::a_route("/paths/~1things", json!(null), "POST /things: it is gone")]
    #[case::its_name("/paths/~1things/post/operationId", json!("create"), "was \"make_thing\"")]
    #[case::a_parameter("/paths/~1things/post/parameters", json!([]), "query limit: it is not taken any more")]
    #[case::a_parameter_demanded("/paths/~1things/post/parameters/0/required", json!(true), "query limit is demanded")]
    #[case::a_new_one_demanded(
        "/paths/~1things/post/parameters/1", json!({ "name": "x", "in": "header", "required": true }), "header x is demanded"
    )]
    #[case::its_kind("/paths/~1things/post/parameters/0/schema/type", json!("string"), "it is string by now, and was integer")]
    #[case::a_body_demanded("/paths/~1things/post/requestBody/required", json!(true), "a body is demanded")]
    #[case::no_body("/paths/~1things/post/requestBody", json!(null), "it takes no body any more")]
    #[case::an_answer("/paths/~1things/post/responses/200", json!(null), "it does not answer 200 any more")]
    #[case::its_type("/paths/~1things/post/responses/200/content", json!({ "text/csv": {} }), "it is no application/json any more")]
    #[case::a_field_sent("/components/schemas/New/properties/size", json!(null), "body.size: it is gone")]
    #[case::a_field_demanded("/components/schemas/New/required/1", json!("size"), "body.size: it is demanded")]
    #[case::no_null_taken("/components/schemas/New/properties/name/type", json!("string"), "it is string by now, and was null or string")]
    #[case::fewer_values("/components/schemas/New/properties/size/enum", json!(["big"]), "\"small\" is not taken any more")]
    #[case::a_format("/components/schemas/New/properties/name/format", json!("uuid"), "it has to be a uuid by now")]
    #[case::a_field_read("/components/schemas/Thing/properties/id", json!(null), "answer 200.id: it is gone")]
    #[case::one_that_may_be_absent("/components/schemas/Thing/required", json!(["parts"]), "answer 200.id: it may be absent")]
    #[case::one_that_may_be_null("/components/schemas/Thing/properties/id/type", json!(["string", "null"]), "it is null or string by now")]
    #[case::deep_inside("/components/schemas/Thing/properties/parts/items", json!({ "type": "string" }), "parts[]: it is string by now, and was object")]
    fn what_breaks_somebody_is_told(#[case] pointer: &str, #[case] value: Value, #[case] told: &str) {
        let broken = breaking_changes(&document(), &changed(pointer, value));
        assert!(broken.iter().any(|line| line.contains(told)), "{broken:?}");
    }

    #[rstest]
    #[case::a_route("/paths/~1more", json!({ "get": { "operationId": "more" } }))]
    #[case::a_parameter("/paths/~1things/post/parameters/1", json!({ "name": "x", "in": "query" }))]
    #[case::an_answer("/paths/~1things/post/responses/503", json!({}))]
    #[case::a_field_that_may_be_sent("/components/schemas/New/properties/more", json!({ "type": "string" }))]
    #[case::a_value_that_may_be_sent("/components/schemas/New/properties/size/enum/2", json!("huge"))]
    #[case::a_field_to_read("/components/schemas/Thing/properties/more", json!({ "type": "string" }))]
    #[case::one_that_is_always_there("/components/schemas/Thing/required/2", json!("state"))]
    #[case::a_value_to_read("/components/schemas/Thing/properties/state/enum/1", json!("old"))]
    #[case::words("/paths/~1things/post/summary", json!("Make a thing"))]
    fn what_is_added_breaks_nobody(#[case] pointer: &str, #[case] value: Value) {
        assert!(document().pointer(OPERATION).is_some());
        assert_eq!(breaking_changes(&document(), &changed(pointer, value)), Vec::<String>::new());
    }
}
