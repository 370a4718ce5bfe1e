//! What operators see and do.

use chrono::{DateTime, TimeDelta, Utc};
use laurel_api::Role;
use laurel_events::{CampaignId, Clock, GrantId, OperatorAlertRaised, TokenGrantHeld};
use laurel_ledger::{Context, append, raise_alert};
use serde_json::json;

use crate::world::{World, outcome};

/// Letters of stage `echo`: a dead one, and one that waits behind it.
async fn letters(world: &World) -> Vec<i64> {
    let now = world.clock.now();
    let grant = GrantId { campaign: CampaignId::from(7), number: 1 };
    let held = TokenGrantHeld { grant, reason: "no reason".to_owned() };
    let mut tx = world.pool().begin().await.unwrap();
    let ids = append(&mut tx, &Context::at(now), &[held.clone().into(), held.into()]).await.unwrap();
    let mut letters = Vec::new();
    for (event, state) in ids.into_iter().zip(["dead", "blocked"]) {
        let id = sqlx::query_scalar(
            "INSERT INTO dead_letters (stage, part, position, idx, kind, subject, state, attempts, error, created_at,
                                       updated_at)
             VALUES ('echo', $1, $2, $3, 'TokenGrantHeld', 'campaign:7', $4, 6, 'poison: no reason', $5, $5)
             RETURNING id",
        )
        .bind(event.partition.number())
        .bind(event.offset)
        .bind(event.index)
        .bind(state)
        .bind(now)
        .fetch_one(&mut *tx)
        .await
        .unwrap();
        letters.push(id);
    }
    tx.commit().await.unwrap();
    letters
}

#[tokio::test]
async fn dead_letters_are_listed_and_shown() {
    let world = World::new().await;
    let ids = letters(&world).await;
    let all = world.call(Role::Operator, "GET /v1/dead-letters").send().await.ok();
    let listed: Vec<i64> =
        all["items"].as_array().unwrap().iter().map(|letter| letter["id"].as_i64().unwrap()).collect();
    assert_eq!(listed, ids);
    let blocked = world.call(Role::Operator, "GET /v1/dead-letters?state=blocked").send().await.ok();
    assert_eq!(blocked["items"][0]["id"], ids[1]);
    assert_eq!(blocked["items"].as_array().unwrap().len(), 1);
    let page = world.call(Role::Operator, "GET /v1/dead-letters?limit=1").send().await.ok();
    assert_eq!(page["next"], ids[0].to_string());

    let one = world.call(Role::Operator, &format!("GET /v1/dead-letters/{}", ids[0])).send().await.ok();
    insta::assert_json_snapshot!("dead_letter", one, { ".event_id" => "[event]" });
    world.call(Role::Operator, "GET /v1/dead-letters/99").refused(404, "not_found", "dead letter").await;
    let bad = world.call(Role::Operator, "GET /v1/dead-letters?state=gone");
    bad.refused(400, "invalid_query", "state is one of retrying").await;
}

#[tokio::test]
async fn a_dead_letter_is_redriven_once() {
    let world = World::new().await;
    let ids = letters(&world).await;
    world.clock.advance(TimeDelta::minutes(1));
    let redrive = |id: i64| world.call(Role::Operator, &format!("POST /v1/dead-letters/{id}/redrive"));
    let redriven = redrive(ids[0]).header("idempotency-key", "k").send().await.accepted();
    assert_eq!((&redriven["state"], &redriven["attempts"]), (&json!("retrying"), &json!(0)));
    assert_eq!(redriven["due_at"], "2026-01-01T00:01:00Z");
    let again = redrive(ids[0]).header("idempotency-key", "k").send().await;
    assert_eq!((again.accepted(), again.header("idempotency-replayed")), (redriven, Some("true")));
    redrive(ids[0]).refused(409, "wrong_state", "only a dead letter can be redriven").await;
    redrive(ids[1]).refused(409, "wrong_state", "only a dead letter can be redriven").await;
    redrive(99).refused(404, "not_found", "dead letter").await;
}

#[tokio::test]
async fn all_dead_letters_of_a_stage_are_redriven_once() {
    let world = World::new().await;
    let ids = letters(&world).await;
    world.clock.advance(TimeDelta::minutes(1));
    let redrive = |query: &str| world.call(Role::Operator, &format!("POST /v1/dead-letters/redrive{query}"));
    let other = redrive("?stage=another").send().await.accepted();
    assert_eq!(other["ids"], json!([]));
    let keyed = |query: &str| redrive(query).header("idempotency-key", "all");
    let redriven = keyed("?stage=echo").send().await.accepted();
    assert_eq!(redriven["ids"], json!([ids[0]]), "the one behind it follows by itself");
    assert_eq!(
        keyed("?stage=echo").send().await.accepted(),
        redriven,
        "the same request has the same answer"
    );
    keyed("?stage=another").refused(422, "idempotency_key_reused", "another request").await;
    assert_eq!(redrive("").send().await.accepted()["ids"], json!([]));
    redrive("?stages=echo").refused(400, "invalid_query", "no parameter").await;
}

#[tokio::test]
async fn lanes_are_listed() {
    let world = World::new().await;
    let lanes = world.call(Role::Operator, "GET /v1/lanes").send().await.ok();
    insta::assert_json_snapshot!("lanes", lanes);
}

#[tokio::test]
async fn alerts_are_listed_page_by_page() {
    let world = World::new().await;
    let mut conn = world.pool().acquire().await.unwrap();
    for (code, about) in
        [("lane_parked", "lane:2"), ("lane_parked", "lane:1"), ("chain_halted", "chain:31337")]
    {
        let alert = OperatorAlertRaised {
            code: code.to_owned(),
            about: about.to_owned(),
            detail: "look at it".to_owned(),
        };
        raise_alert(&mut conn, world.clock.now(), alert).await.unwrap();
    }
    let first = world.call(Role::Operator, "GET /v1/alerts?limit=2").send().await.ok();
    insta::assert_json_snapshot!("alerts", first);
    let next = first["next"].as_str().unwrap().replace(' ', "%20");
    let second = world.call(Role::Operator, &format!("GET /v1/alerts?cursor={next}")).send().await.ok();
    assert_eq!(second["items"][0]["about"], "lane:2");
    assert_eq!(second["next"], json!(null));
    let bad = world.call(Role::Operator, "GET /v1/alerts?cursor=x");
    bad.refused(400, "invalid_cursor", "`next` of the page before").await;
}

#[tokio::test]
async fn the_views_tell_how_far_they_are_behind() {
    let world = World::new().await;
    world.player("p-1").await;
    let lag = async |view: &str| {
        let views = world.call(Role::Auditor, "GET /v1/views").send().await.ok();
        let views = views["items"].as_array().unwrap().clone();
        views.into_iter().find(|found| found["view"] == view).unwrap()
    };
    world.decide().await;
    let level = lag("campaign-stats").await;
    assert_eq!(
        (&level["rows_behind"], &level["lag_ms"], &level["behind_since"]),
        (&json!(0), &json!(0), &json!(null))
    );
    let since = world.clock.now();
    world.post_outcomes(&[outcome("o-1", "p-1", 12)]).await;
    world.clock.advance(TimeDelta::milliseconds(1_500));
    let behind = lag("campaign-stats").await;
    assert_eq!((&behind["rows_behind"], &behind["lag_ms"]), (&json!(1), &json!(1_500)));
    let told: DateTime<Utc> = behind["behind_since"].as_str().unwrap().parse().unwrap();
    assert_eq!(told, since);
    assert_eq!(lag("wallet-links").await["rows_behind"], json!(2), "nobody has run it");
}

/// A row that was archived tells nothing any more: the oldest one that is there does.
#[tokio::test]
async fn a_view_that_has_not_read_what_was_archived_is_behind_since_the_next_row() {
    let world = World::new().await;
    world.player("p-1").await;
    let registered = world.clock.now();
    world.clock.advance(TimeDelta::seconds(5));
    world.post_outcomes(&[outcome("o-1", "p-1", 12)]).await;
    sqlx::query("ALTER TABLE journal DISABLE TRIGGER journal_change").execute(world.pool()).await.unwrap();
    let archived = sqlx::query("DELETE FROM journal WHERE recorded_at = $1").bind(registered);
    assert_eq!(archived.execute(world.pool()).await.unwrap().rows_affected(), 1);
    world.clock.advance(TimeDelta::seconds(2));
    let views = world.call(Role::Auditor, "GET /v1/views").send().await.ok();
    let links =
        views["items"].as_array().unwrap().iter().find(|view| view["view"] == "wallet-links").unwrap();
    assert_eq!((&links["rows_behind"], &links["lag_ms"]), (&json!(2), &json!(2_000)));
}
