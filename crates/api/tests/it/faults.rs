//! Whatever is wrong with a request has a status, a code, and, where a part of the request is to blame, a name: a JSON pointer into the
//! body, or the parameter.

use laurel_api::Role;
use rstest::rstest;
use serde_json::{Value, json};

use crate::world::{World, address, definition, outcome};

/// A request that is refused: its line, its body, and status, code and what is to blame, with nothing for the whole of it.
type Refused<'a> = (&'a str, Vec<u8>, u16, &'a str, &'a str);

/// A definition with one thing in it that is otherwise.
fn with(pointer: &str, value: Value) -> Vec<u8> {
    let mut definition = definition();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    definition.pointer_mut(parent).unwrap()[field] = value;
    definition.to_string().into_bytes()
}

fn body(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// A definition that says a thing twice; the first time, `what` stands before it.
fn twice(what: &str) -> Vec<u8> {
    definition().to_string().replacen(what, &format!("{what},{what}"), 1).into_bytes()
}

fn nested(depth: usize) -> Vec<u8> {
    format!("{}{}", "{\"a\":".repeat(depth), "}".repeat(depth)).into_bytes()
}

const MAKE: &str = "POST /v1/campaigns";
const TRY: &str = "POST /v1/campaigns/{draft}/rule/try";

#[rstest]
// What is no JSON, or not the JSON that was asked for.
#[case::no_utf8((MAKE, b"{\"name\":\"\xff\"}".to_vec(), 400, "malformed_json", ""))]
#[case::cut_off((MAKE, b"{\"name\":".to_vec(), 400, "malformed_json", ""))]
#[case::too_deep((MAKE, nested(200), 400, "malformed_json", ""))]
#[case::a_list((MAKE, b"[1]".to_vec(), 422, "invalid_body", "#"))]
#[case::a_list_inside((MAKE, with("/caps", json!([1])), 422, "invalid_body", "#/caps"))]
#[case::a_list_of_lists((MAKE, with("/games", json!([["quiz"]])), 422, "invalid_body", "#/games/0"))]
#[case::said_twice((MAKE, twice("\"name\":\"Quiz night\""), 422, "invalid_body", "#/name"))]
#[case::said_twice_inside((MAKE, twice("\"amount\":\"5\""), 422, "invalid_body", "#/reward/amount"))]
#[case::a_field_is_missing((MAKE, b"{}".to_vec(), 422, "invalid_body", "#/name"))]
#[case::a_field_is_unknown((MAKE, with("/a~b", json!(1)), 422, "invalid_body", "#/a~0b"))]
#[case::a_field_inside_is_unknown((MAKE, with("/caps/per_moon", json!(1)), 422, "invalid_body", "#/caps/per_moon"))]
// Numbers.
#[case::a_huge_number((MAKE, with("/chain_id", json!(1e300)), 422, "invalid_body", "#/chain_id"))]
#[case::a_negative_number((MAKE, with("/wallet_deadline_hours", json!(-1)), 422, "invalid_body", "#/wallet_deadline_hours"))]
#[case::a_fraction((MAKE, with("/caps/grants_per_player", json!(1.5)), 422, "invalid_body", "#/caps/grants_per_player"))]
#[case::a_number_that_is_right_beside_one_that_is_not(
    (MAKE, with("/caps", json!({ "grants_per_player": 2.0, "amount_per_player": "x" })), 422, "invalid_body", "#/caps/amount_per_player")
)]
#[case::an_amount_of_zero((MAKE, with("/reward/amount", json!("0")), 422, "invalid_body", "#/reward/amount"))]
#[case::an_amount_as_a_number((MAKE, with("/reward/amount", json!(5)), 422, "invalid_body", "#/reward/amount"))]
#[case::a_huge_amount((MAKE, with("/reward/amount", json!("9".repeat(1_000))), 422, "invalid_body", "#/reward/amount"))]
#[case::the_second_of_amounts(
    (MAKE, with("/reward", json!({ "kind": "by_rank", "amounts": ["2", "0"] })), 422, "invalid_body", "#/reward/amounts/1")
)]
#[case::a_field_of_another_kind(
    (MAKE, with("/reward", json!({ "kind": "fixed", "amount": "5", "cap": "9" })), 422, "invalid_body", "#/reward/cap")
)]
#[case::a_cap_below_a_unit(
    (MAKE, with("/reward", json!({ "kind": "per_unit", "field": "score", "amount": "5", "cap": "1" })), 422, "invalid_body", "#/reward")
)]
// What a campaign cannot be.
#[case::a_long_name((MAKE, with("/name", json!("n".repeat(100_000))), 422, "invalid_campaign", "#/name"))]
#[case::a_game_without_a_name((MAKE, with("/games", json!(["quiz", " "])), 422, "invalid_campaign", "#/games/1"))]
#[case::a_rule((MAKE, with("/rule", json!("outcome.score >=")), 422, "invalid_campaign", "#/rule"))]
#[case::a_cap_of_none((MAKE, with("/caps/amount_per_player", json!("0")), 422, "invalid_campaign", "#/caps/amount_per_player"))]
#[case::a_time_zone(
    (MAKE, with("/windows", json!({ "cron": "0 18 * * FRI", "time_zone": "Moon", "minutes": 5 })), 422, "invalid_campaign", "#/windows/time_zone")
)]
#[case::a_window_of_no_time(
    (MAKE, with("/windows", json!({ "cron": "0 18 * * FRI", "time_zone": "UTC", "minutes": 0 })), 422, "invalid_campaign", "#/windows/minutes")
)]
#[case::an_end_before_its_beginning(
    ("PATCH /v1/campaigns/{draft}", body(&json!({ "starts_at": "2027-01-02T00:00:00Z", "ends_at": "2027-01-01T00:00:00Z" })), 422, "invalid_campaign", "#/ends_at")
)]
#[case::a_chain((MAKE, with("/chain_id", json!(1)), 422, "unknown_chain", "#/chain_id"))]
#[case::a_token_without_a_contract((MAKE, with("/token", json!(address("nobody"))), 422, "invalid_token", "#/token"))]
#[case::a_slip_of_the_finger(
    (MAKE, with("/token", json!("0xF39fd6e51aad88f6f4ce6ab8827279cfffb92266")), 422, "invalid_body", "#/token")
)]
#[case::a_change_that_is_tried((TRY, body(&json!({ "outcome": { "score": 1 }, "change": { "rule": "1" } })), 422, "invalid_campaign", "#/change/rule"))]
#[case::an_outcome_that_is_tried((TRY, body(&json!({ "outcome": { "score": -1 } })), 422, "invalid_score", "#/outcome/score"))]
#[case::a_player_whom_nobody_knows(
    ("POST /v1/campaigns/{draft}/players", body(&json!({ "allow": ["p-1"], "deny": ["nobody"] })), 422, "invalid_players", "#/deny/0")
)]
#[case::a_long_reason(
    ("POST /v1/campaigns/{active}/pause", body(&json!({ "reason": "r".repeat(501) })), 422, "invalid_campaign", "#/reason")
)]
#[case::a_key_that_is_over(
    ("POST /v1/api-keys", body(&json!({ "subject": "arena", "expires_at": "2020-01-01T00:00:00Z" })), 422, "invalid_api_key", "#/expires_at")
)]
// What a campaign cannot do now.
#[case::a_cap_below_what_there_is(("POST /v1/campaigns/{active}/fund", body(&json!({ "cap": "1" })), 409, "cap_not_raised", "#/cap"))]
#[case::a_cap_of_nothing(("POST /v1/campaigns/{draft}/fund", body(&json!({ "cap": "0" })), 422, "invalid_cap", "#/cap"))]
#[case::a_beginning_that_has_passed(("POST /v1/campaigns/{draft}/schedule", b"{}".to_vec(), 422, "not_to_come", ""))]
#[case::no_money(("POST /v1/campaigns/{draft}/activate", b"{}".to_vec(), 409, "unfunded", ""))]
// Parameters.
#[case::an_edited_cursor(("GET /v1/campaigns?cursor=7x", Vec::new(), 400, "invalid_cursor", "cursor"))]
#[case::a_limit_of_none(("GET /v1/campaigns?limit=0", Vec::new(), 400, "invalid_limit", "limit"))]
#[case::a_limit_that_is_none(("GET /v1/campaigns?limit=many", Vec::new(), 400, "invalid_query", "limit"))]
#[case::a_state_that_is_none(("GET /v1/campaigns?state=asleep", Vec::new(), 400, "invalid_query", "state"))]
#[case::a_filter_that_is_none(("GET /v1/campaigns?colour=red", Vec::new(), 400, "invalid_query", "colour"))]
#[tokio::test]
async fn what_is_wrong_is_named(#[case] (line, body, status, code, blamed): Refused<'static>) {
    let world = World::new().await;
    world.player("p-1").await;
    let (draft, active) = (world.campaign().await, world.active_campaign(100).await);
    let line = line.replace("{draft}", &draft).replace("{active}", &active);
    let call = world.call(Role::Manager, &line);
    let call = if body.is_empty() { call } else { call.bytes(&body) };
    let problem = call.refused(status, code, "").await.json();
    let named = match blamed {
        "" => Value::Null,
        pointer if pointer.starts_with('#') => json!([{ "detail": problem["detail"], "pointer": pointer }]),
        parameter => json!([{ "detail": problem["detail"], "parameter": parameter }]),
    };
    assert_eq!(problem["errors"], named, "{problem}");
}

#[rstest]
#[case::idempotency_key("POST /v1/campaigns", "idempotency-key", "a b", 400, "invalid_idempotency_key")]
#[case::if_match("PATCH /v1/campaigns/7", "if-match", "7", 400, "invalid_if_match")]
#[tokio::test]
async fn headers_are_named_as_well(
    #[case] line: &str,
    #[case] name: &str,
    #[case] value: &str,
    #[case] status: u16,
    #[case] code: &'static str,
) {
    let world = World::new().await;
    let call = world.call(Role::Manager, line).json(&definition()).header(name, value);
    let call = if line.starts_with("PATCH") { call.text("{}") } else { call };
    let problem = call.refused(status, code, "").await.json();
    assert_eq!(problem["errors"][0]["parameter"], name, "{problem}");
}

#[tokio::test]
async fn a_body_of_another_type_is_refused_whole() {
    let world = World::new().await;
    let call = world.call(Role::Manager, MAKE).json(&definition()).header("content-type", "text/html");
    let problem = call.refused(415, "not_json", "application/json").await.json();
    assert_eq!(problem.get("errors"), None);
}

/// A name is a text: it is given back as it was said, as JSON, which nothing takes for HTML.
#[tokio::test]
async fn markup_in_a_name_is_text() {
    let world = World::new().await;
    let name = "<img src=x onerror=alert(1)> & \"more\"";
    let made = world.call(Role::Manager, MAKE).bytes(&with("/name", json!(name))).send().await;
    assert_eq!(made.header("content-type"), Some("application/json"));
    assert_eq!(made.created()["name"], name);
}

#[rstest]
#[case::its_score(json!({ "score": -1 }), "invalid_score", "#/outcomes/1/score")]
#[case::its_kind(json!({ "score": "1" }), "invalid_outcome", "#/outcomes/1/score")]
#[case::an_unknown_field(json!({ "bonus": 1 }), "invalid_outcome", "#/outcomes/1/bonus")]
#[case::an_attribute(json!({ "attributes": { "a/b": 1.5 } }), "invalid_outcome", "#/outcomes/1/attributes/a~1b")]
#[case::its_player(json!({ "player_id": "nobody" }), "unknown_player", "#/outcomes/1/player_id")]
#[case::its_time(json!({ "occurred_at": "2999-01-01T00:00:00Z" }), "occurred_in_the_future", "#/outcomes/1/occurred_at")]
#[tokio::test]
async fn a_rejected_outcome_is_named_among_the_others(
    #[case] otherwise: Value,
    #[case] code: &str,
    #[case] pointer: &str,
) {
    let world = World::new().await;
    world.player("p-1").await;
    let mut bad = outcome("o-2", "p-1", 12);
    bad.as_object_mut().unwrap().extend(otherwise.as_object().unwrap().clone());
    let answer = world.post_outcomes(&[outcome("o-1", "p-1", 12), bad]).await;
    let result = &answer["results"][1];
    assert_eq!((&result["code"], &result["pointer"]), (&json!(code), &json!(pointer)), "{answer}");
}

/// JSON Schema knows one number of a value, however it is written.
#[tokio::test]
async fn a_whole_number_may_be_written_as_a_float() {
    let world = World::new().await;
    world.player("p-1").await;
    let made =
        world.call(Role::Manager, MAKE).bytes(&with("/caps/grants_per_player", json!(2.0))).send().await;
    assert_eq!(made.created()["caps"], json!({ "grants_per_player": 2 }));
    let mut spelled = outcome("o-1", "p-1", 12);
    spelled["score"] = json!(12.0);
    let answer = world.post_outcomes(&[outcome("o-1", "p-1", 12), spelled]).await;
    assert_eq!((&answer["accepted"], &answer["duplicates"]), (&json!(1), &json!(1)), "{answer}");
}
