//! A campaign's life over REST, and its entity tags.

use laurel_api::Role;
use rstest::rstest;
use serde_json::json;

use crate::world::{World, definition};

#[tokio::test]
async fn a_campaign_is_made_funded_activated_paused_resumed_and_ended() {
    let world = World::new().await;
    let made = world.call(Role::Manager, "POST /v1/campaigns").json(&definition()).send().await;
    assert_eq!(made.header("etag"), Some("\"1\""));
    let made = made.created();
    insta::assert_json_snapshot!("campaign", made, { ".id" => "[id]" });
    let id = made["id"].as_str().unwrap();

    let fund = world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/fund"));
    let funded = fund.json(&json!({ "cap": "1000" })).send().await.accepted();
    assert_eq!(funded, json!({ "cap": "1000" }));
    assert_eq!(world.rows("funding_requests").await, 1);

    for (action, state, tag) in [
        ("activate", "active", "\"2\""),
        ("pause", "paused", "\"3\""),
        ("resume", "active", "\"4\""),
        ("end", "ended", "\"5\""),
    ] {
        let moved = world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/{action}")).send().await;
        assert_eq!(moved.header("etag"), Some(tag));
        assert_eq!(moved.ok()["state"], state);
    }
    let found = world.call(Role::Auditor, &format!("GET /v1/campaigns/{id}")).send().await;
    assert_eq!(found.header("etag"), Some("\"5\""));
    assert_eq!(found.ok()["version"], 5);
}

#[tokio::test]
async fn a_change_of_the_rule_is_a_new_version_of_it() {
    let world = World::new().await;
    let id = world.campaign().await;
    let line = format!("PATCH /v1/campaigns/{id}");
    let change = json!({
        "name": "Quiz day", "games": ["quiz", "arena"], "rule": "outcome.score >= 20", "caps": {},
        "reward": { "kind": "by_rank", "amounts": ["3", "2"] }, "wallet_deadline_hours": 24,
        "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2026-02-01T00:00:00Z",
    });
    let changed = world.call(Role::Manager, &line).json(&change).send().await.ok();
    for (field, value) in change.as_object().unwrap() {
        assert_eq!(&changed[field], value, "{field}");
    }
    assert_eq!((&changed["version"], &changed["rule_version"]), (&json!(2), &json!(2)));

    // null takes the end away, what is absent stays.
    let changed = world.call(Role::Manager, &line).json(&json!({ "ends_at": null })).send().await.ok();
    assert_eq!((&changed["ends_at"], &changed["rule_version"]), (&json!(null), &json!(2)));
    assert_eq!(changed["starts_at"], "2026-01-01T00:00:00Z");
    assert_eq!(world.rows("campaign_rules").await, 2);
}

#[tokio::test]
async fn a_change_that_changes_nothing_is_none() {
    let world = World::new().await;
    let id = world.campaign().await;
    let before = world.contents().await;
    let same = world.call(Role::Manager, &format!("PATCH /v1/campaigns/{id}"));
    assert_eq!(same.json(&json!({ "name": "Quiz night" })).send().await.ok()["version"], 1);
    assert_eq!(world.contents().await, before);
}

#[tokio::test]
async fn nobodys_change_is_overwritten_unseen() {
    let world = World::new().await;
    let id = world.campaign().await;
    let patch = |tag: &str, name: &str| {
        let request = world.call(Role::Manager, &format!("PATCH /v1/campaigns/{id}"));
        request.header("if-match", tag).json(&json!({ "name": name }))
    };
    let first = patch("\"1\"", "First").send().await;
    assert_eq!(first.header("etag"), Some("\"2\""));
    patch("\"1\"", "Second").refused(412, "version_changed", "version 2 by now, not 1").await;
    patch("\"2\"", "Second").send().await.ok();
    patch("*", "Third").send().await.ok();
}

#[rstest]
#[case("1")]
#[case("W/\"1\"")]
#[case("\"one\"")]
#[case("")]
#[case("\"1\", \"2\"")]
#[tokio::test]
async fn an_entity_tag_is_one_of_ours(#[case] tag: &str) {
    let world = World::new().await;
    let id = world.campaign().await;
    let request = world.call(Role::Manager, &format!("PATCH /v1/campaigns/{id}")).header("if-match", tag);
    request.json(&json!({ "name": "Mine" })).refused(400, "invalid_if_match", "the ETag of the last").await;
}
