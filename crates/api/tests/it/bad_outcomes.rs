//! Bad outcomes get a clear answer and change nothing.

use laurel_api::Role;
use rstest::rstest;
use serde_json::{Value, json};

use crate::world::{World, outcome};

/// An outcome of player `p-1`, with some fields other than usual.
fn with(fields: Value) -> Value {
    let mut outcome = outcome("o-1", "p-1", 12);
    for (name, value) in fields.as_object().unwrap() {
        outcome[name] = value.clone();
    }
    outcome
}

#[rstest]
#[case::id_too_long(with(json!({ "outcome_id": "x".repeat(129) })), "invalid_outcome_id")]
#[case::id_with_a_control_character(with(json!({ "outcome_id": "o\u{7}1" })), "invalid_outcome_id")]
#[case::id_with_a_nul(with(json!({ "outcome_id": "o\u{0}" })), "invalid_outcome_id")]
#[case::id_empty(with(json!({ "outcome_id": "" })), "invalid_outcome_id")]
#[case::id_no_text(with(json!({ "outcome_id": 7 })), "invalid_outcome")]
#[case::game_too_long(with(json!({ "game": "g".repeat(65) })), "invalid_game")]
#[case::game_with_a_control_character(with(json!({ "game": "quiz\n" })), "invalid_game")]
#[case::player_with_a_nul(with(json!({ "player_id": "p\u{0}1" })), "invalid_player_id")]
#[case::player_too_long(with(json!({ "player_id": "p".repeat(129) })), "invalid_player_id")]
#[case::player_empty(with(json!({ "player_id": "" })), "invalid_player_id")]
#[case::score_negative(with(json!({ "score": -1 })), "invalid_score")]
#[case::score_huge(with(json!({ "score": 1_i64 << 53 })), "invalid_score")]
#[case::score_beyond_64_bits(with(json!({ "score": 1e30 })), "invalid_outcome")]
#[case::score_fraction(with(json!({ "score": 1.5 })), "invalid_outcome")]
#[case::rank_zero(with(json!({ "rank": 0 })), "invalid_rank")]
#[case::attributes_nested(with(json!({ "attributes": { "a": {} } })), "invalid_outcome")]
#[case::attribute_with_a_nul(with(json!({ "attributes": { "a": "\u{0}" } })), "invalid_attributes")]
#[case::far_in_the_future(with(json!({ "occurred_at": "2999-01-01T00:00:00Z" })), "occurred_in_the_future")]
#[case::just_in_the_future(with(json!({ "occurred_at": "2026-01-01T00:05:01Z" })), "occurred_in_the_future")]
#[case::year_beyond_the_calendar(with(json!({ "occurred_at": "+262142-12-31T00:00:00Z" })), "occurred_in_the_future")]
#[case::long_ago(with(json!({ "occurred_at": "2025-12-01T00:00:00Z" })), "occurred_too_long_ago")]
#[case::no_time(with(json!({ "occurred_at": "soon" })), "invalid_outcome")]
#[case::unknown_field(with(json!({ "bonus": 1 })), "invalid_outcome")]
#[case::unknown_player(with(json!({ "player_id": "p-2" })), "unknown_player")]
#[case::no_object(json!("outcome"), "invalid_outcome")]
#[case::null(json!(null), "invalid_outcome")]
#[tokio::test]
async fn a_bad_outcome_is_rejected_alone(#[case] bad: Value, #[case] code: &str) {
    let world = World::new().await;
    world.player("p-1").await;
    let before = world.contents().await;
    let answer = world.post_outcomes(std::slice::from_ref(&bad)).await;
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(0), &json!(1)));
    assert_eq!(answer["results"][0]["status"], "rejected");
    assert_eq!(answer["results"][0]["code"], code);
    let detail = answer["results"][0]["detail"].as_str().unwrap();
    assert!(detail.len() > 20, "{detail:?} does not say what to do");
    assert_eq!(world.contents().await, before);

    // The same with a good one beside it: the good one is recorded, and nothing else.
    let answer = world.post_outcomes(&[bad, outcome("o-2", "p-1", 12)]).await;
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(1), &json!(1)));
    assert_eq!(answer["results"][1], json!({ "outcome_id": "o-2", "status": "accepted" }));
    assert_eq!(world.rows("outcomes").await, 1);
}

#[tokio::test]
async fn a_player_of_another_organisation_is_unknown() {
    let world = World::new().await;
    let put = world.anonymous("PUT /v1/players/p-9").by(Role::GameServer, "other", "caller");
    put.send().await.created();
    let before = world.contents().await;
    let answer = world.post_outcomes(&[outcome("o-1", "p-9", 12)]).await;
    assert_eq!(answer["results"][0]["code"], "unknown_player");
    let detail = answer["results"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("PUT /v1/players"), "{detail}");
    assert_eq!(world.contents().await, before);
}

#[rstest]
#[case::none(0)]
#[case::one_too_many(1_001)]
#[tokio::test]
async fn a_list_has_1_to_1000_outcomes(#[case] count: usize) {
    let world = World::new().await;
    world.player("p-1").await;
    let outcomes: Vec<Value> = (0..count).map(|n| outcome(&format!("o-{n}"), "p-1", 12)).collect();
    let request = world.call(Role::GameServer, "POST /v1/outcomes").json(&json!({ "outcomes": outcomes }));
    request.refused(422, "outcomes_count", "send 1 to 1000 outcomes at once").await;
}

#[rstest]
#[case::malformed("{\"outcomes\":[", 400, "malformed_json", "line 1 column")]
#[case::nothing("", 400, "malformed_json", "line 1 column")]
#[case::no_object("[]", 422, "invalid_body", "a list stands where")]
#[case::unknown_field("{\"outcomes\":[],\"extra\":1}", 422, "invalid_body", "unknown field `extra`")]
#[case::missing_field("{}", 422, "invalid_body", "missing field `outcomes`")]
#[case::trailing("{\"outcomes\":[]} x", 400, "malformed_json", "trailing characters")]
#[tokio::test]
async fn a_body_that_is_none_is_refused(
    #[case] body: &str,
    #[case] status: u16,
    #[case] code: &'static str,
    #[case] advice: &'static str,
) {
    let world = World::new().await;
    let request = world.call(Role::GameServer, "POST /v1/outcomes").text(body);
    request.refused(status, code, advice).await;
}

#[tokio::test]
async fn one_outcome_twice_in_a_call_is_one() {
    let world = World::new().await;
    world.player("p-1").await;
    let twice = [outcome("o-1", "p-1", 12), outcome("o-1", "p-1", 12), outcome("o-1", "p-1", 13)];
    let answer = world.post_outcomes(&twice).await;
    let status = |n: usize| answer["results"][n]["status"].as_str().unwrap().to_owned();
    assert_eq!([status(0), status(1), status(2)], ["accepted", "duplicate", "conflict"]);
    assert_eq!(world.rows("outcomes").await, 1);
}

#[rstest]
#[case::score(json!({ "score": 13 }))]
#[case::player(json!({ "player_id": "p-2" }))]
#[case::unknown_player(json!({ "player_id": "p-3" }))]
#[case::time(json!({ "occurred_at": "2025-12-31T23:59:59Z" }))]
#[case::game(json!({ "game": "arena" }))]
#[case::attributes(json!({ "attributes": { "level": 3 } }))]
#[tokio::test]
async fn the_same_id_with_other_content_is_a_conflict(#[case] change: Value) {
    let world = World::new().await;
    world.player("p-1").await;
    world.player("p-2").await;
    world.post_outcomes(&[outcome("o-1", "p-1", 12)]).await;
    let before = world.contents().await;
    let answer = world.post_outcomes(&[with(change)]).await;
    assert_eq!(answer["conflicts"], 1);
    assert_eq!(answer["results"][0]["status"], "conflict");
    let detail = answer["results"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("take a new id"), "{detail}");
    assert_eq!(world.contents().await, before);
}

#[tokio::test]
async fn the_largest_call_fits() {
    let world = World::new().await;
    world.player("p-1").await;
    let text = "é".repeat(128);
    let attributes: serde_json::Map<String, Value> =
        (0..16).map(|n| (format!("{n:>064}"), json!(text))).collect();
    let outcomes: Vec<Value> = (0..1_000)
        .map(|n| {
            let mut outcome = outcome(&format!("{n:>0128}"), "p-1", 12);
            outcome["attributes"] = Value::Object(attributes.clone());
            outcome
        })
        .collect();
    let answer = world.post_outcomes(&outcomes).await;
    assert_eq!(answer["accepted"], 1_000);
}
