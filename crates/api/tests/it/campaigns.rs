//! A campaign's life over REST, and its entity tags.

use chrono::TimeDelta;
use laurel_api::Role;
use laurel_events::Clock;
use rstest::rstest;
use serde_json::{Value, json};

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

    world.fund(id, 1_000).await;
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

#[tokio::test]
async fn who_when_and_why_is_told_of_every_version() {
    let world = World::new().await;
    let id = world.funded_campaign(100).await;
    let change = world.call(Role::Manager, &format!("PATCH /v1/campaigns/{id}"));
    change.json(&json!({ "rule": "outcome.score >= 20" })).send().await.ok();
    world.clock.advance(TimeDelta::hours(1));
    let activate = world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/activate"));
    activate.json(&json!({ "reason": "the league begins" })).send().await.ok();
    let told = world.call(Role::Auditor, &format!("GET /v1/campaigns/{id}/history")).send().await.ok();
    insta::assert_json_snapshot!("history", told);
    let line = format!("GET /v1/campaigns/{id}/history?limit=1&cursor=3");
    let second = world.call(Role::Auditor, &line).send().await.ok();
    assert_eq!((&second["items"][0]["version"], &second["next"]), (&json!(2), &json!("2")));
    // The words are no part of the journal, and what is there tells that they were others.
    let journal: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT payload FROM journal").fetch_all(world.pool()).await.unwrap();
    let journal = String::from_utf8(journal.concat()).unwrap();
    assert!(!journal.contains("league") && journal.contains("\"reason\":\"0x"), "{journal}");
}

#[rstest]
#[case(json!({ "reason": "" }))]
#[case(json!({ "reason": " \n" }))]
#[case(json!({ "reason": "a\u{0}b" }))]
#[case(json!({ "reason": "x".repeat(501) }))]
#[tokio::test]
async fn a_reason_says_something_and_not_too_much(#[case] body: Value) {
    let world = World::new().await;
    let id = world.funded_campaign(100).await;
    let activate = world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/activate"));
    activate.json(&body).refused(422, "invalid_campaign", "reason: 1 to 500 characters").await;
}

#[tokio::test]
async fn the_same_key_with_another_reason_is_another_request() {
    let world = World::new().await;
    let id = world.funded_campaign(100).await;
    let activate = |reason: &str| {
        let line = format!("POST /v1/campaigns/{id}/activate");
        world.call(Role::Manager, &line).header("idempotency-key", "k-1").json(&json!({ "reason": reason }))
    };
    activate("one").send().await.ok();
    assert_eq!(activate("one").send().await.header("idempotency-replayed"), Some("true"));
    activate("another").refused(422, "idempotency_key_reused", "take a new key").await;
}

#[tokio::test]
async fn what_has_no_money_is_not_begun() {
    let world = World::new().await;
    let id = world.campaign().await;
    let soon = world.clock.now() + TimeDelta::hours(1);
    let change = world.call(Role::Manager, &format!("PATCH /v1/campaigns/{id}"));
    change.json(&json!({ "starts_at": soon })).send().await.ok();
    for action in ["activate", "schedule"] {
        let request = world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/{action}"));
        request.refused(409, "unfunded", "fund it").await;
    }
    world.fund(&id, 100).await;
    let schedule = world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/schedule"));
    assert_eq!(schedule.send().await.ok()["state"], "scheduled");
    let back = world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/unschedule"));
    assert_eq!(back.send().await.ok()["state"], "draft");
}

#[tokio::test]
async fn what_is_over_is_not_begun() {
    let world = World::new().await;
    let id = world.funded_campaign(100).await;
    let change = |body: Value| world.call(Role::Manager, &format!("PATCH /v1/campaigns/{id}")).json(&body);
    change(json!({ "starts_at": "2025-01-01T00:00:00Z", "ends_at": "2025-02-01T00:00:00Z" }))
        .send()
        .await
        .ok();
    for action in ["activate", "schedule"] {
        let request = world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/{action}"));
        request.refused(422, "campaign_over", "has passed").await;
    }
    change(json!({ "ends_at": null })).send().await.ok();
    let schedule = world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/schedule"));
    schedule.refused(422, "not_to_come", "a moment to come").await;
    world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/activate")).send().await.ok();
    change(json!({ "ends_at": "2025-02-01T00:00:00Z" })).refused(422, "campaign_over", "has passed").await;
}

#[tokio::test]
async fn a_draft_is_copied_and_deleted() {
    let world = World::new().await;
    let id = world.active_campaign(100).await;
    let clone =
        |body: Value| world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/clone")).json(&body);
    let copy = clone(json!({})).send().await.created();
    let original = world.call(Role::Manager, &format!("GET /v1/campaigns/{id}")).send().await.ok();
    assert_eq!((&copy["state"], &copy["version"]), (&json!("draft"), &json!(1)));
    for field in ["name", "token", "games", "rule", "reward", "caps", "starts_at", "wallet_deadline_hours"] {
        assert_eq!(copy[field], original[field], "{field}");
    }
    assert_eq!(clone(json!({ "name": "Encore" })).send().await.created()["name"], "Encore");
    clone(json!({ "name": "" })).refused(422, "invalid_campaign", "name").await;

    let copy = copy["id"].as_str().unwrap();
    let delete = || world.call(Role::Manager, &format!("DELETE /v1/campaigns/{copy}"));
    assert_eq!(delete().send().await.status, 204);
    delete().refused(404, "not_found", "campaign").await;
    for line in [format!("GET /v1/campaigns/{copy}"), format!("GET /v1/campaigns/{copy}/ledger")] {
        world.call(Role::Manager, &line).refused(404, "not_found", "campaign").await;
    }
    let listed = world.call(Role::Manager, "GET /v1/campaigns").send().await.ok();
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    let told = world.call(Role::Auditor, &format!("GET /v1/campaigns/{copy}/history")).send().await.ok();
    assert_eq!(told["items"][0]["state"], "deleted");
}

#[tokio::test]
async fn what_has_money_is_ended_and_not_deleted() {
    let world = World::new().await;
    let asked = world.campaign().await;
    let fund = world.call(Role::Manager, &format!("POST /v1/campaigns/{asked}/fund"));
    fund.json(&json!({ "cap": "1000" })).send().await.accepted();
    for id in [asked, world.funded_campaign(100).await] {
        let delete = world.call(Role::Manager, &format!("DELETE /v1/campaigns/{id}"));
        delete.refused(409, "funded", "end it").await;
        let end = world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/end")).send().await.ok();
        assert_eq!(end["state"], "ended");
    }
    let active = world.active_campaign(100).await;
    let delete = world.call(Role::Manager, &format!("DELETE /v1/campaigns/{active}"));
    delete.refused(409, "wrong_state", "cannot be deleted").await;
}

#[tokio::test]
async fn windows_come_again_and_again() {
    let world = World::new().await;
    let windows = json!({ "cron": "0 18 * * FRI", "time_zone": "Europe/Berlin", "minutes": 180 });
    let mut body = definition();
    body["windows"] = windows.clone();
    let made = world.call(Role::Manager, "POST /v1/campaigns").json(&body).send().await.created();
    assert_eq!(made["windows"], windows);
    let id = made["id"].as_str().unwrap();
    let occurs = |at: &str| {
        let body = json!({ "outcome": { "score": 12, "occurred_at": at } });
        world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/rule/try")).json(&body)
    };
    assert_eq!(occurs("2026-01-02T17:00:00Z").send().await.ok()["decision"], "granted");
    assert_eq!(occurs("2026-01-02T20:00:00Z").send().await.ok()["reason"], "outside_window");
    let change = |windows: Value| {
        world.call(Role::Manager, &format!("PATCH /v1/campaigns/{id}")).json(&json!({ "windows": windows }))
    };
    change(json!({ "cron": "0 18 30 2 *", "time_zone": "UTC", "minutes": 1 }))
        .refused(422, "invalid_campaign", "windows.cron: 0 18 30 2 * comes in no year")
        .await;
    change(json!({ "cron": "0 18 * * *", "time_zone": "Mars", "minutes": 1 }))
        .refused(422, "invalid_campaign", "windows.time_zone")
        .await;
    change(json!({ "cron": "0 18 * * *" })).refused(422, "invalid_body", "missing field").await;
    let changed = change(json!(null)).send().await.ok();
    assert!(changed.get("windows").is_none());
    assert_eq!(occurs("2026-01-02T20:00:00Z").send().await.ok()["decision"], "granted");
}
