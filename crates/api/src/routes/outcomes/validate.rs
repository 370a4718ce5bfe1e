//! What an outcome must be.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use laurel_events::{Attribute, canonical_json};
use laurel_players::EXTERNAL_ID_MAX;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use utoipa::{
    ToSchema,
    openapi::{Object, ObjectBuilder, OneOfBuilder, Schema, Type},
};

use crate::{
    extract::read,
    pointer::{pointer, pointer_to},
    shape::{Lists, check_shape},
};

/// The longest ids and names, in bytes.
const OUTCOME_ID_MAX: usize = 128;
const GAME_MAX: usize = 64;

/// The largest whole number that JSON carries exactly: 2^53 - 1.
const INTEGER_MAX: i64 = (1 << 53) - 1;

/// How many attributes an outcome may have, and how long their names and texts may be, in bytes.
const ATTRIBUTES_MAX: usize = 16;
const ATTRIBUTE_NAME_MAX: usize = 64;
const ATTRIBUTE_TEXT_MAX: usize = 256;

/// How far a game server's clock may be ahead.
const FUTURE_MAX: TimeDelta = TimeDelta::minutes(5);

/// How late an outcome may be reported.
const PAST_MAX: TimeDelta = TimeDelta::days(30);

/// How a game ended for a player.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OutcomeIn {
    /// The game server's own id; a UUIDv7 is the fastest. The same id is the same outcome, for ever.
    #[schema(min_length = 1, max_length = 128)]
    pub(crate) outcome_id: String,
    /// The game.
    #[schema(min_length = 1, max_length = 64)]
    pub(crate) game: String,
    /// The player, as the game server names them.
    #[schema(min_length = 1, max_length = 128)]
    pub(crate) player_id: String,
    /// Points, 0 to 2^53 - 1.
    #[schema(value_type = u64, maximum = 9007199254740991i64)]
    pub(crate) score: i64,
    /// The place, 1 being the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 4294967295u64)]
    pub(crate) rank: Option<i64>,
    /// Up to 16 texts, whole numbers or yes/no, for rules. No personal data.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(schema_with = attributes)]
    pub(crate) attributes: BTreeMap<String, Attribute>,
    /// When the game ended.
    pub(crate) occurred_at: DateTime<Utc>,
}

/// What the document says of attributes.
pub(crate) fn attributes() -> Object {
    let whole = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(-INTEGER_MAX))
        .maximum(Some(INTEGER_MAX));
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .max_length(Some(ATTRIBUTE_TEXT_MAX))
        .pattern(Some(r"^[^\x00]*$"));
    let name = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(ATTRIBUTE_NAME_MAX))
        .pattern(Some(r"^[^\x00-\x1f\x7f-\x9f]+$"));
    let value =
        OneOfBuilder::new().item(ObjectBuilder::new().schema_type(Type::Boolean)).item(whole).item(text);
    ObjectBuilder::new()
        .description(Some("Up to 16 texts, whole numbers or yes/no, for rules. No personal data."))
        .additional_properties(Some(Schema::from(value)))
        .property_names(Some(Schema::from(name.build())))
        .max_properties(Some(ATTRIBUTES_MAX))
        .build()
}

/// An outcome that may be recorded.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) outcome: OutcomeIn,
    pub(crate) score: u64,
    pub(crate) rank: Option<u32>,
    pub(crate) digest: [u8; 32],
}

/// Why an outcome is rejected: its id as far as it can be told, and a stable code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) outcome_id: Option<String>,
    pub(crate) code: &'static str,
    /// What is wrong of it, as a JSON pointer from the outcome on.
    pub(crate) pointer: String,
}

/// What a code means, and what to do about it.
pub(crate) fn advice(code: &str) -> &'static str {
    match code {
        "invalid_outcome_id" => "outcome_id: 1 to 128 bytes, no control characters",
        "invalid_game" => "game: 1 to 64 bytes, no control characters",
        "invalid_player_id" => "player_id: 1 to 128 bytes, no control characters",
        "invalid_score" => "score: a whole number from 0 to 2^53 - 1",
        "invalid_rank" => "rank: a whole number from 1 to 2^32 - 1",
        "invalid_attributes" => {
            "attributes: at most 16; names of 1 to 64 bytes without control characters; texts of at most 256 bytes \
             without NUL, or whole numbers up to 2^53 - 1, or true and false"
        }
        "occurred_in_the_future" => "occurred_at: more than 5 minutes ahead; set the game server's clock",
        "occurred_too_long_ago" => "occurred_at: outcomes are accepted for 30 days",
        "game_not_allowed" => "game: this API key is for other games; GET /v1/auth/me lists them",
        "unknown_player" => "player_id: register the player first: PUT /v1/players/{player_id}",
        "conflict" => {
            "this outcome_id was recorded with other content, which stays; take a new id for a new outcome"
        }
        _ => {
            "an outcome is an object of outcome_id, game, player_id, score (a whole number), rank, attributes and \
             occurred_at (RFC 3339), each once, and nothing else"
        }
    }
}

/// The field that a code is about.
pub(crate) fn field_of(code: &str) -> &'static str {
    match code {
        "invalid_outcome_id" => "outcome_id",
        "invalid_game" | "game_not_allowed" => "game",
        "invalid_score" => "score",
        "invalid_rank" => "rank",
        "invalid_attributes" => "attributes",
        "occurred_in_the_future" | "occurred_too_long_ago" => "occurred_at",
        // Invalid, or unknown.
        _ => "player_id",
    }
}

/// Checks one outcome of a request.
pub(crate) fn check(now: DateTime<Utc>, raw: &RawValue) -> Result<Checked, Rejected> {
    let outcome: OutcomeIn = check_shape(raw.get().as_bytes(), Lists::NONE)
        .and_then(|()| read(raw.get().as_bytes()))
        .map_err(|error| {
            let pointer = pointer(error.path(), &error.inner().to_string());
            Rejected { outcome_id: outcome_id(raw), code: "invalid_outcome", pointer }
        })?;
    match check_fields(now, &outcome) {
        Ok((score, rank)) => {
            let digest = digest(&outcome);
            Ok(Checked { outcome, score, rank, digest })
        }
        Err(code) => {
            let pointer = pointer_to(field_of(code));
            Err(Rejected { outcome_id: Some(outcome.outcome_id), code, pointer })
        }
    }
}

fn outcome_id(raw: &RawValue) -> Option<String> {
    let object: serde_json::Value = serde_json::from_str(raw.get()).ok()?;
    object.get("outcome_id")?.as_str().filter(|id| id.len() <= OUTCOME_ID_MAX).map(str::to_owned)
}

fn check_fields(now: DateTime<Utc>, outcome: &OutcomeIn) -> Result<(u64, Option<u32>), &'static str> {
    let plain =
        |text: &str, max: usize| !text.is_empty() && text.len() <= max && !text.chars().any(char::is_control);
    if !plain(&outcome.outcome_id, OUTCOME_ID_MAX) {
        return Err("invalid_outcome_id");
    }
    if !plain(&outcome.game, GAME_MAX) {
        return Err("invalid_game");
    }
    if !plain(&outcome.player_id, EXTERNAL_ID_MAX) {
        return Err("invalid_player_id");
    }
    let facts = facts_of(outcome.score, outcome.rank, &outcome.attributes)?;
    if outcome.occurred_at > now + FUTURE_MAX {
        return Err("occurred_in_the_future");
    }
    if outcome.occurred_at < now - PAST_MAX {
        return Err("occurred_too_long_ago");
    }
    Ok(facts)
}

/// Score and rank as rules read them, if they and the attributes are what an outcome may have; else the code of what is wrong.
pub(crate) fn facts_of(
    score: i64,
    rank: Option<i64>,
    attributes: &BTreeMap<String, Attribute>,
) -> Result<(u64, Option<u32>), &'static str> {
    let whole = u64::try_from(score).ok().filter(|_| score <= INTEGER_MAX);
    let whole = whole.ok_or("invalid_score")?;
    let rank = match rank {
        Some(rank) => Some(u32::try_from(rank).ok().filter(|rank| *rank > 0).ok_or("invalid_rank")?),
        None => None,
    };
    if attributes.len() > ATTRIBUTES_MAX || !attributes.iter().all(acceptable) {
        return Err("invalid_attributes");
    }
    Ok((whole, rank))
}

fn acceptable((name, value): (&String, &Attribute)) -> bool {
    let named = !name.is_empty() && name.len() <= ATTRIBUTE_NAME_MAX && !name.chars().any(char::is_control);
    named
        && match value {
            Attribute::Bool(_) => true,
            Attribute::Int(number) => (-INTEGER_MAX..=INTEGER_MAX).contains(number),
            Attribute::Text(text) => text.len() <= ATTRIBUTE_TEXT_MAX && !text.contains('\0'),
        }
}

/// SHA-256 of the outcome's canonical JSON: two spellings of the same content are the same content.
fn digest(outcome: &OutcomeIn) -> [u8; 32] {
    let json = canonical_json(outcome).expect("an outcome has string keys and whole numbers below 2^53");
    Sha256::digest(json).into()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const GOOD: &str = r#"{"outcome_id":"o-1","game":"quiz","player_id":"p","score":5,"occurred_at":"2026-01-01T00:00:00Z"}"#;

    fn now() -> DateTime<Utc> {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn run(json: &str) -> Result<Checked, Rejected> {
        check(now(), &RawValue::from_string(json.to_owned()).unwrap())
    }

    #[rstest]
    #[case(r#""score":5"#, r#""score":-1"#, "invalid_score")]
    #[case(r#""score":5"#, r#""score":9007199254740992"#, "invalid_score")]
    #[case(r#""score":5"#, r#""score":99999999999999999999999"#, "invalid_outcome")]
    #[case(r#""score":5"#, r#""score":5.5"#, "invalid_outcome")]
    #[case(r#""score":5"#, r#""score":"5""#, "invalid_outcome")]
    #[case(r#""score":5"#, r#""score":5,"extra":1"#, "invalid_outcome")]
    #[case(r#""score":5"#, r#""score":5,"rank":0"#, "invalid_rank")]
    #[case(r#""score":5"#, r#""score":5,"rank":4294967296"#, "invalid_rank")]
    #[case(r#""score":5"#, r#""score":5,"attributes":{"a":1.5}"#, "invalid_outcome")]
    #[case(r#""score":5"#, r#""score":5,"attributes":{"":1}"#, "invalid_attributes")]
    #[case(r#""score":5"#, r#""score":5,"attributes":{"a":9007199254740992}"#, "invalid_attributes")]
    #[case(r#""score":5"#, r#""score":5,"attributes":{"a":1,"a":2}"#, "invalid_outcome")]
    #[case(r#""score":5"#, r#""score":5,"score":5"#, "invalid_outcome")]
    #[case(r#""score":5"#, r#""score":5,"attributes":[["a",1]]"#, "invalid_outcome")]
    #[case(GOOD, r#"["o-1","quiz","p",5,null,{},"2026-01-01T00:00:00Z"]"#, "invalid_outcome")]
    #[case("o-1", "", "invalid_outcome_id")]
    #[case("o-1", r"o\u0007", "invalid_outcome_id")]
    #[case("quiz", "", "invalid_game")]
    #[case("2026-01-01T00:00:00Z", "2026-01-01T00:05:01Z", "occurred_in_the_future")]
    #[case("2026-01-01T00:00:00Z", "2025-12-01T00:00:00Z", "occurred_too_long_ago")]
    #[case("2026-01-01T00:00:00Z", "yesterday", "invalid_outcome")]
    fn what_is_wrong_has_a_code(#[case] good: &str, #[case] bad: &str, #[case] code: &str) {
        assert!(run(GOOD).is_ok());
        assert_eq!(run(&GOOD.replace(good, bad)).unwrap_err().code, code);
    }

    #[test]
    fn an_id_that_is_too_long_is_refused() {
        assert_eq!(run(&GOOD.replace("o-1", &"x".repeat(129))).unwrap_err().code, "invalid_outcome_id");
    }

    #[test]
    fn the_digest_is_of_the_content_not_of_the_spelling() {
        let spelled = r#"{ "score":5, "game":"quiz", "outcome_id":"o-1","player_id":"p",
                           "attributes":{}, "occurred_at":"2026-01-01T01:00:00+01:00" }"#;
        assert_eq!(run(GOOD).unwrap().digest, run(spelled).unwrap().digest);
        assert_ne!(run(GOOD).unwrap().digest, run(&GOOD.replace(":5", ":6")).unwrap().digest);
    }
}
