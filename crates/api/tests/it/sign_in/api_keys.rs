//! Keys of game servers.

use chrono::TimeDelta;
use laurel_api::Role;
use laurel_events::Clock;
use rstest::rstest;
use serde_json::{Value, json};

use super::nowhere_in_the_database;
use crate::{
    call::Call,
    world::{World, outcome},
};

fn make<'w>(world: &'w World, body: &Value) -> Call<'w> {
    world.call(Role::Manager, "POST /v1/api-keys").json(body)
}

fn with<'w>(world: &'w World, made: &Value, line: &str) -> Call<'w> {
    let value = format!("Bearer {}", made["key"].as_str().unwrap());
    world.anonymous(line).header("authorization", &value)
}

#[tokio::test]
async fn a_game_server_reports_with_its_key() {
    let world = World::new().await;
    let answer = make(&world, &json!({ "subject": "arena" })).send().await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let made = answer.created();
    let me = with(&world, &made, "GET /v1/auth/me").send().await.ok();
    assert_eq!(
        me,
        json!({ "subject": "arena", "name": null, "org": "default", "role": "game-server", "games": null })
    );
    with(&world, &made, "PUT /v1/players/p-1").send().await.created();
    let report = || json!({ "outcomes": [outcome("o-1", "p-1", 12)] });
    let told = with(&world, &made, "POST /v1/outcomes").json(&report()).send().await.accepted();
    assert_eq!(told["accepted"], 1);
    // Another key of the same server has the same outcomes.
    let next = make(&world, &json!({ "subject": "arena" })).send().await.created();
    let told = with(&world, &next, "POST /v1/outcomes").json(&report()).send().await.accepted();
    assert_eq!(told["duplicates"], 1);
    with(&world, &made, "GET /v1/campaigns").refused(403, "wrong_role", "role is game-server").await;
}

#[tokio::test]
async fn it_is_shown_once_and_kept_nowhere() {
    let world = World::new().await;
    let body = json!({ "subject": "arena" });
    let request = || make(&world, &body).header("idempotency-key", "again");
    let made = request().send().await.created();
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with("lrk_") && key.ends_with(made["ends_with"].as_str().unwrap()), "{made}");
    let again = request().send().await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    let again = again.created();
    assert_eq!((&again["id"], &again["key"]), (&made["id"], &json!(null)));
    let listed = world.call(Role::Auditor, "GET /v1/api-keys").send().await.ok();
    assert_eq!(listed["items"][0]["id"], made["id"]);
    assert!(listed["items"][0].get("key").is_none());
    nowhere_in_the_database(&world, key).await;
}

#[tokio::test]
async fn it_is_for_its_games_only() {
    let world = World::new().await;
    world.player("p-1").await;
    let made = make(&world, &json!({ "subject": "arena", "games": ["chess"] })).send().await.created();
    let mut chess = outcome("o-2", "p-1", 12);
    chess["game"] = json!("chess");
    let report = json!({ "outcomes": [outcome("o-1", "p-1", 12), chess] });
    let told = with(&world, &made, "POST /v1/outcomes").json(&report).send().await.accepted();
    assert_eq!(told["results"][0]["code"], "game_not_allowed");
    assert_eq!((&told["rejected"], &told["accepted"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn it_is_revoked_at_once_and_by_its_organisation() {
    let world = World::new().await;
    let made = make(&world, &json!({ "subject": "arena" })).send().await.created();
    let revoke = format!("DELETE /v1/api-keys/{}", made["id"].as_str().unwrap());
    let foreign = world.anonymous(&revoke).by(Role::Manager, "other", "caller");
    foreign.refused(404, "not_found", "API key").await;
    with(&world, &made, "GET /v1/auth/me").send().await.ok();
    assert_eq!(world.call(Role::Manager, &revoke).send().await.status, 204);
    with(&world, &made, "GET /v1/auth/me").refused(401, "unauthorized", "revoked").await;
    let listed = world.call(Role::Manager, "GET /v1/api-keys").send().await.ok();
    assert_eq!(listed["items"][0]["revoked_by"], "caller");
    let before = world.contents().await;
    world.clock.advance(TimeDelta::hours(1));
    assert_eq!(world.call(Role::Manager, &revoke).send().await.status, 204);
    assert_eq!(world.contents().await, before);
}

#[tokio::test]
async fn it_ends_when_it_was_to_end() {
    let world = World::new().await;
    let ends = world.clock.now() + TimeDelta::hours(1);
    let made = make(&world, &json!({ "subject": "arena", "expires_at": ends })).send().await.created();
    with(&world, &made, "GET /v1/auth/me").send().await.ok();
    world.clock.advance(TimeDelta::hours(1));
    with(&world, &made, "GET /v1/auth/me").refused(401, "unauthorized", "over or revoked").await;
}

#[rstest]
#[case(json!({ "subject": "" }), "subject")]
#[case(json!({ "subject": "  " }), "subject")]
#[case(json!({ "subject": "a\nb" }), "subject")]
#[case(json!({ "subject": "x".repeat(129) }), "subject")]
#[case(json!({ "subject": "a", "games": [] }), "games")]
#[case(json!({ "subject": "a", "games": [""] }), "games")]
#[case(json!({ "subject": "a", "games": vec!["g"; 101] }), "games")]
#[case(json!({ "subject": "a", "expires_at": "2025-12-31T00:00:00Z" }), "has passed")]
#[tokio::test]
async fn what_cannot_be_is_refused(#[case] body: Value, #[case] advice: &'static str) {
    let world = World::new().await;
    make(&world, &body).refused(422, "invalid_api_key", advice).await;
}
