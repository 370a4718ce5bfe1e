//! Bad campaigns and caps get a clear answer and change nothing.

use laurel_api::Role;
use rstest::rstest;
use serde_json::{Value, json};

use crate::world::{World, definition};

/// 2^96 - 1, the most that a grant's word carries, and one more.
const UINT96_MAX: &str = "79228162514264337593543950335";
const UINT96_OVER: &str = "79228162514264337593543950336";

fn with(fields: Value) -> Value {
    let mut definition = definition();
    for (name, value) in fields.as_object().unwrap() {
        definition[name] = value.clone();
    }
    definition
}

fn fixed(amount: Value) -> Value {
    json!({ "reward": { "kind": "fixed", "amount": amount } })
}

fn zero() -> String {
    format!("0x{}", "0".repeat(40))
}

#[rstest]
#[case::rule_does_not_compile(json!({ "rule": "outcome.score >=" }), "invalid_campaign", "rule:")]
#[case::rule_is_not_boolean(json!({ "rule": "outcome.score + 1" }), "invalid_campaign", "bool")]
#[case::rule_of_unknown_names(json!({ "rule": "outcome.points > 1" }), "invalid_campaign", "points")]
#[case::rule_empty(json!({ "rule": "" }), "invalid_campaign", "rule:")]
#[case::rule_too_long(json!({ "rule": format!("true{}", " || true".repeat(2_000)) }), "invalid_campaign", "rule:")]
#[case::rule_with_a_nul(json!({ "rule": "outcome.game == \"\u{0}\"" }), "invalid_campaign", "rule:")]
#[case::amount_fraction(fixed(json!("1.5")), "invalid_body", "whole number of base units")]
#[case::amount_number(fixed(json!(5)), "invalid_body", "expected a string")]
#[case::amount_negative(fixed(json!("-5")), "invalid_body", "whole number of base units")]
#[case::amount_hexadecimal(fixed(json!("0x5")), "invalid_body", "whole number of base units")]
#[case::amount_words(fixed(json!("five")), "invalid_body", "whole number of base units")]
#[case::amount_zero(fixed(json!("0")), "invalid_body", "at least 1 base unit")]
#[case::amount_over_uint96(fixed(json!(UINT96_OVER)), "invalid_body", "at most 2^96 - 1")]
#[case::reward_kind(json!({ "reward": { "kind": "lottery" } }), "invalid_body", "unknown variant `lottery`")]
#[case::reward_unknown_field(
    json!({ "reward": { "kind": "fixed", "amount": "5", "extra": 1 } }), "invalid_body", "unknown field `extra`"
)]
#[case::reward_field_with_a_nul(
    json!({ "reward": { "kind": "per_unit", "field": "attributes.\u{0}", "amount": "1", "cap": "2" } }),
    "invalid_body", "field"
)]
#[case::cap_of_zero(json!({ "caps": { "grants_per_player": 0 } }), "invalid_campaign", "leave it out for no cap")]
#[case::cap_unknown(json!({ "caps": { "grants_per_moon": 1 } }), "invalid_body", "unknown field `grants_per_moon`")]
#[case::token_zero(json!({ "token": zero() }), "invalid_campaign", "the zero address is no token")]
#[case::token_too_short(json!({ "token": "0x1234" }), "invalid_body", "40 hexadecimal digits")]
#[case::token_no_address(json!({ "token": "LAUREL" }), "invalid_body", "40 hexadecimal digits")]
#[case::token_with_a_wrong_checksum(
    json!({ "token": "0xF39fd6e51aad88f6f4ce6ab8827279cfffb92266" }), "invalid_body", "EIP-55"
)]
#[case::unknown_chain(json!({ "chain_id": 1 }), "unknown_chain", "no vault on chain 1")]
#[case::name_empty(json!({ "name": " " }), "invalid_campaign", "name: 1 to 120 characters")]
#[case::name_too_long(json!({ "name": "n".repeat(121) }), "invalid_campaign", "name: 1 to 120 characters")]
#[case::name_with_a_control_character(json!({ "name": "a\u{0}" }), "invalid_campaign", "control character")]
#[case::no_games(json!({ "games": [] }), "invalid_campaign", "games: 1 to 100")]
#[case::game_with_a_control_character(json!({ "games": ["a\u{0}"] }), "invalid_campaign", "control characters")]
#[case::window_ends_first(
    json!({ "starts_at": "2026-02-01T00:00:00Z", "ends_at": "2026-01-01T00:00:00Z" }),
    "invalid_campaign", "must be after starts_at"
)]
#[case::starts_before_all_years(
    json!({ "starts_at": "-9999-01-01T00:00:00Z" }), "invalid_campaign", "starts_at: a year from 1970 to 9999"
)]
#[case::ends_before_all_years(
    json!({ "ends_at": "-9999-01-01T00:00:00Z" }), "invalid_campaign", "ends_at: a year from 1970 to 9999"
)]
#[case::ends_after_all_years(
    json!({ "ends_at": "+262142-01-01T00:00:00Z" }), "invalid_campaign", "ends_at: a year from 1970 to 9999"
)]
#[case::no_time_for_a_wallet(json!({ "wallet_deadline_hours": 0 }), "invalid_campaign", "wallet_deadline_hours")]
#[case::unknown_field(json!({ "colour": "red" }), "invalid_body", "unknown field `colour`")]
#[tokio::test]
async fn a_bad_campaign_is_not_made(
    #[case] bad: Value,
    #[case] code: &'static str,
    #[case] advice: &'static str,
) {
    let world = World::new().await;
    let request = world.call(Role::Manager, "POST /v1/campaigns").json(&with(bad.clone()));
    request.refused(422, code, advice).await;

    // And not made so later: what a change may touch at all.
    let id = world.campaign().await;
    let request = world.call(Role::Manager, &format!("PATCH /v1/campaigns/{id}")).json(&bad);
    let fixed = bad.get("chain_id").or(bad.get("token")).is_some();
    let (code, advice) = if fixed { ("invalid_body", "unknown field") } else { (code, advice) };
    request.refused(422, code, advice).await;
}

#[tokio::test]
async fn a_missing_field_is_named() {
    let world = World::new().await;
    let mut body = definition();
    body.as_object_mut().unwrap().remove("rule");
    let request = world.call(Role::Manager, "POST /v1/campaigns").json(&body);
    request.refused(422, "invalid_body", "missing field `rule`").await;
}

#[tokio::test]
async fn the_largest_amount_is_a_uint96() {
    let world = World::new().await;
    let request = world.call(Role::Manager, "POST /v1/campaigns").json(&with(fixed(json!(UINT96_MAX))));
    assert_eq!(request.send().await.created()["reward"]["amount"], UINT96_MAX);
}

#[rstest]
#[case::fraction(json!("1.5"), "invalid_body", "whole number of base units")]
#[case::number(json!(100), "invalid_body", "expected a string")]
#[case::negative(json!("-1"), "invalid_body", "whole number of base units")]
#[case::zero(json!("0"), "invalid_cap", "from 1 to 2^96 - 1")]
#[case::over_uint96(json!(UINT96_OVER), "invalid_cap", "from 1 to 2^96 - 1")]
#[case::over_uint256(json!("9".repeat(79)), "invalid_body", "at most 2^256 - 1")]
#[tokio::test]
async fn a_bad_cap_is_not_asked_for(
    #[case] cap: Value,
    #[case] code: &'static str,
    #[case] advice: &'static str,
) {
    let world = World::new().await;
    let id = world.campaign().await;
    let request = world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/fund"));
    request.json(&json!({ "cap": cap })).refused(422, code, advice).await;
}

#[tokio::test]
async fn a_cap_only_rises() {
    let world = World::new().await;
    let id = world.active_campaign(100).await;
    let fund = || world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/fund"));
    fund().json(&json!({ "cap": "100" })).refused(409, "cap_not_raised", "not above 100").await;
    fund().json(&json!({ "cap": "101" })).send().await.accepted();
    fund().json(&json!({ "cap": "101" })).refused(409, "cap_not_raised", "not above 101").await;
}

#[rstest]
#[case("pause")]
#[case("resume")]
#[case("unschedule")]
#[tokio::test]
async fn what_was_not_begun_cannot_be_stopped(#[case] action: &str) {
    let world = World::new().await;
    let id = world.campaign().await;
    let request = world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/{action}"));
    request.refused(409, "wrong_state", "a campaign that is draft cannot be").await;
}
