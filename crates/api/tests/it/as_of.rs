//! What was so at a moment.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use laurel_api::Role;
use laurel_events::Clock;
use serde_json::{Value, json};

use crate::world::{World, outcome};

/// Lets time pass, and tells when that was.
fn pass(world: &World) -> DateTime<Utc> {
    world.clock.advance(TimeDelta::minutes(1));
    world.clock.now()
}

async fn at(world: &World, path: &str, as_of: DateTime<Utc>) -> Value {
    let as_of = as_of.to_rfc3339_opts(SecondsFormat::Micros, true);
    world.call(Role::Auditor, &format!("GET {path}?as_of={as_of}")).send().await.ok()
}

#[tokio::test]
async fn a_budget() {
    let world = World::new().await;
    world.player("p-1").await;
    let before = world.clock.now();
    pass(&world);
    let campaign = world.active_campaign(100).await;
    let funded = world.clock.now();
    let granted = pass(&world);
    world.post_outcomes(&[outcome("o-1", "p-1", 12)]).await;
    world.decide().await;
    let path = format!("/v1/campaigns/{campaign}/budget");
    let told = |budget: Value| {
        ["funded", "available", "reserved", "paid", "grants"].map(|field| budget[field].clone())
    };
    let none = at(&world, &path, before).await;
    assert_eq!((&none["event_id"], &none["funded"]), (&Value::Null, &json!("0")));
    assert_eq!(
        told(at(&world, &path, funded).await),
        [json!("100"), json!("100"), json!("0"), json!("0"), json!(0)]
    );
    let after = at(&world, &path, granted).await;
    assert_eq!(told(after.clone()), [json!("100"), json!("95"), json!("5"), json!("0"), json!(1)]);
    pass(&world);
    let now = world.call(Role::Manager, &format!("GET {path}")).send().await.ok();
    assert_eq!((&now["event_id"], &now["recorded_at"]), (&after["event_id"], &after["recorded_at"]));
}

#[tokio::test]
async fn a_campaign() {
    let world = World::new().await;
    let before = world.clock.now();
    let drafted = pass(&world);
    let campaign = world.funded_campaign(100).await;
    let path = format!("/v1/campaigns/{campaign}");
    let named = pass(&world);
    let change = json!({ "name": "Quiz day" });
    world.call(Role::Manager, &format!("PATCH {path}")).json(&change).send().await.ok();
    let begun = pass(&world);
    world.call(Role::Manager, &format!("POST {path}/activate")).send().await.ok();
    for (moment, name, state, version) in [
        (drafted, "Quiz night", "draft", 1),
        (named, "Quiz day", "draft", 2),
        (begun, "Quiz day", "active", 3),
    ] {
        let was = at(&world, &path, moment).await;
        assert_eq!(
            (&was["name"], &was["state"], &was["version"]),
            (&json!(name), &json!(state), &json!(version))
        );
    }
    let too_early = world.call(Role::Auditor, &format!("GET {path}?as_of={}", before.format("%FT%TZ")));
    too_early.refused(404, "not_found", "campaign at that moment").await;
}

#[tokio::test]
async fn a_grant() {
    let world = World::new().await;
    world.player("p-1").await;
    let campaign = world.active_campaign(100).await;
    let before = world.clock.now();
    let granted = pass(&world);
    world.post_outcomes(&[outcome("o-1", "p-1", 12)]).await;
    world.decide().await;
    let path = format!("/v1/grants/{campaign}-0");
    let was = at(&world, &path, granted).await;
    assert_eq!((&was["state"], &was["since"]), (&json!("requested"), &json!(granted)));
    assert_eq!(was["timeline"].as_array().unwrap().len(), 2);
    let too_early = world.call(Role::Auditor, &format!("GET {path}?as_of={}", before.format("%FT%TZ")));
    too_early.refused(404, "not_found", "grant at that moment").await;
}

#[tokio::test]
async fn what_is_no_moment_is_refused() {
    let world = World::new().await;
    let campaign = world.campaign().await;
    for moment in ["yesterday", "2026-01-01", "2026-13-01T00:00:00Z", "", "1735689600"] {
        let line = format!("GET /v1/campaigns/{campaign}/budget?as_of={moment}");
        world.call(Role::Auditor, &line).refused(400, "invalid_query", "").await;
    }
}
