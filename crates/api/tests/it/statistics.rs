//! Statistics: kept for a moment, told apart by their tag, and told as they change.

use std::time::Duration;

use axum::body::BodyDataStream;
use chrono::{DurationRound, TimeDelta};
use futures::StreamExt;
use laurel_api::{Role, follow_statistics};
use laurel_events::{Clock, EventKind};
use serde_json::{Value, json};

use crate::world::{Setup, World};

/// Far longer than anything is kept.
const SEEN_WITHIN: Duration = Duration::from_secs(20);

async fn until(mut seen: impl AsyncFnMut() -> bool) {
    let seeing = async {
        while !seen().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SEEN_WITHIN, seeing).await.expect("it is seen in time");
}

#[tokio::test]
async fn who_has_it_is_not_sent_it_again_until_it_changes() {
    let world = World::new().await;
    let id = world.funded_campaign(100).await;
    let path = format!("GET /v1/campaigns/{id}/statistics");
    let first = world.call(Role::Manager, &path).send().await;
    let tag = first.header("etag").unwrap().to_owned();
    assert_eq!(first.ok()["funded"], "100");
    assert_eq!(first.header("cache-control"), Some("private, no-cache"));
    let ask = async || world.call(Role::Auditor, &path).header("if-none-match", &tag).send().await;
    let again = ask().await;
    assert_eq!((again.status.as_u16(), again.bytes.len(), again.header("etag")), (304, 0, Some(&*tag)));
    sqlx::query("UPDATE accounts SET funded = 150, available = 150").execute(world.pool()).await.unwrap();
    until(async || ask().await.status == 200).await;
    assert_eq!(ask().await.ok()["funded"], "150");
}

/// Another organisation's is not seen, however fresh it is.
#[tokio::test]
async fn what_is_kept_is_shown_to_nobody_else() {
    let world = World::new().await;
    let id = world.funded_campaign(100).await;
    for path in ["statistics", "statistics/live", "statistics/hours"] {
        let line = format!("GET /v1/campaigns/{id}/{path}");
        world.call(Role::Manager, &format!("GET /v1/campaigns/{id}/statistics")).send().await.ok();
        let other = world.call(Role::Manager, &line).by(Role::Manager, "other", "caller").send().await;
        assert_eq!(other.status, 404, "{path}");
    }
}

#[tokio::test]
async fn states_rates_hours_forecast_and_notices_are_told() {
    let world = World::new().await;
    let id = world.funded_campaign(1_000).await;
    let hour = world.clock.now().duration_trunc(TimeDelta::hours(1)).unwrap();
    let since = hour.to_rfc3339();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "UPDATE accounts SET available = 400, reserved = 100, paid = 500, grants = 6;
         INSERT INTO campaign_stats SELECT {id}, f.fact, f.count
         FROM (VALUES ('TokenGrantRequested', 6), ('TokenGrantStarted', 5), ('TokenGrantCompleted', 3), ('TokenGrantFailed', 1),
                      ('BudgetReleased', 1), ('players', 8), ('winners', 4), ('RewardDeclined/rule_not_met', 9)) AS f (fact, count);
         INSERT INTO campaign_hours VALUES ({id}, '{since}', 6, 600, 9, 1, 100, 3, 500);
         INSERT INTO budget_notices VALUES ({id}, 50, 1000, '{since}');"
    )))
    .execute(world.pool())
    .await
    .unwrap();
    world.clock.advance(hour + TimeDelta::hours(2) - world.clock.now());
    let stats = world.call(Role::Manager, &format!("GET /v1/campaigns/{id}/statistics")).send().await.ok();
    assert_eq!(stats["states"], json!({ "requested": 1, "queued": 1, "completed": 3, "compensated": 1 }));
    assert_eq!((&stats["players"], &stats["winners"]), (&json!(8), &json!(4)));
    assert_eq!((&stats["participation_rate"], &stats["success_rate"]), (&json!(0.5), &json!(0.75)));
    assert_eq!(stats["hours"][0]["paid_amount"], "500");
    // 500 in two hours, and 400 are left.
    assert_eq!(stats["forecast"]["per_hour"], "250");
    assert_eq!(stats["forecast"]["budget_ends_at"], json!(hour + TimeDelta::hours(3)));
    assert_eq!(stats["notices"][0]["percent"], 50);
    let hours = world
        .call(Role::Auditor, &format!("GET /v1/campaigns/{id}/statistics/hours?limit=1"))
        .send()
        .await
        .ok();
    assert_eq!(hours["items"][0], stats["hours"][0]);
    let next = hours["next"].as_str().unwrap();
    let line = format!("GET /v1/campaigns/{id}/statistics/hours?cursor={next}");
    assert_eq!(world.call(Role::Auditor, &line).send().await.ok(), json!({ "items": [], "next": null }));
    for cursor in ["x", "-1", "99999999999999"] {
        let line = format!("GET /v1/campaigns/{id}/statistics/hours?cursor={cursor}");
        world.call(Role::Auditor, &line).refused(400, "invalid_cursor", "unchanged").await;
    }
}

/// The next event of a stream, its id and its data.
async fn event(stream: &mut BodyDataStream) -> (String, Value) {
    loop {
        let frame = tokio::time::timeout(SEEN_WITHIN, stream.next()).await.unwrap().unwrap().unwrap();
        let text = String::from_utf8(frame.to_vec()).unwrap();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        // Between events there is silence, which is told as well.
        let (Some(id), Some(data)) = (field("id: "), field("data: ")) else { continue };
        assert_eq!(field("event: ").as_deref(), Some("statistics"));
        return (id, serde_json::from_str(&data).unwrap());
    }
}

#[tokio::test]
async fn what_changes_is_told_to_those_who_watch() {
    let world = World::of(Setup::default()).await;
    let id = world.funded_campaign(100).await;
    let live = format!("GET /v1/campaigns/{id}/statistics/live");
    let answer = world.call(Role::Manager, &live).begin().await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut stream = answer.into_body().into_data_stream();
    let (first, told) = event(&mut stream).await;
    assert_eq!(told["funded"], "100");
    sqlx::query("UPDATE accounts SET funded = 150, available = 150").execute(world.pool()).await.unwrap();
    let (second, told) = event(&mut stream).await;
    assert_eq!(told["funded"], "150");
    assert_ne!(first, second);
    // Who comes again is told what they have not seen.
    let again = world.call(Role::Manager, &live).header("last-event-id", &second).begin().await;
    let mut again = again.into_body().into_data_stream();
    sqlx::query("UPDATE accounts SET funded = 170, available = 170").execute(world.pool()).await.unwrap();
    for stream in [&mut stream, &mut again] {
        assert_eq!(event(stream).await.1["funded"], "170");
    }
    // And nobody is kept when nothing is served any more.
    world.shutdown.cancel();
    let ended = async { while stream.next().await.is_some() {} };
    tokio::time::timeout(SEEN_WITHIN, ended).await.unwrap();
}

#[tokio::test]
async fn what_is_committed_anywhere_is_seen_at_once() {
    let world = World::new().await;
    let id = world.funded_campaign(100).await;
    let path = format!("GET /v1/campaigns/{id}/statistics");
    let following = tokio::spawn(follow_statistics(world.state.clone()));
    let mut changes = world.state.statistics_changes();
    world.call(Role::Manager, &path).send().await.ok();
    // It has to listen first.
    until(async || {
        world.wakes.committed([EventKind::CampaignFunded]).await;
        changes.has_changed().unwrap()
    })
    .await;
    changes.mark_unchanged();
    sqlx::query("UPDATE accounts SET funded = 150, available = 150").execute(world.pool()).await.unwrap();
    world.wakes.committed([EventKind::CampaignFunded]).await;
    tokio::time::timeout(SEEN_WITHIN, changes.changed()).await.unwrap().unwrap();
    assert_eq!(world.call(Role::Manager, &path).send().await.ok()["funded"], "150");
    world.shutdown.cancel();
    following.await.unwrap();
}
