//! The same request sent again changes nothing and gets the same answer.

use std::{collections::BTreeMap, sync::Arc};

use chrono::TimeDelta;
use laurel_api::Role;
use laurel_events::OrgId;
use laurel_ledger::{ANSWER_LIFETIME, IdempotencyScope, lock_idempotency_key};
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    call::Call,
    world::{CHAIN, World, address, definition},
};

/// A request that creates something: what, and with which body.
async fn creating(world: &World, what: &str) -> (String, Value, Role) {
    match what {
        "campaign" => ("POST /v1/campaigns".to_owned(), definition(), Role::Manager),
        "funding" => {
            let id = world.campaign().await;
            (format!("POST /v1/campaigns/{id}/fund"), json!({ "cap": "100" }), Role::Manager)
        }
        "challenge" => {
            world.player("p-1").await;
            let ask = json!({ "address": address("wallet"), "chain_id": CHAIN });
            ("POST /v1/players/p-1/wallet/challenge".to_owned(), ask, Role::GameServer)
        }
        "clone" => {
            let id = world.campaign().await;
            (format!("POST /v1/campaigns/{id}/clone"), json!({ "name": "Once more" }), Role::Manager)
        }
        "listed" => {
            world.player("p-1").await;
            let id = world.campaign().await;
            (format!("POST /v1/campaigns/{id}/players"), json!({ "allow": ["p-1"] }), Role::Manager)
        }
        "api key" => ("POST /v1/api-keys".to_owned(), json!({ "subject": "arena" }), Role::Manager),
        what => panic!("{what}"),
    }
}

fn keyed<'w>(world: &'w World, (line, body, role): &(String, Value, Role), key: &str) -> Call<'w> {
    world.call(*role, line).json(body).header("idempotency-key", key)
}

#[rstest]
#[tokio::test]
async fn the_second_answer_is_the_first(#[values("campaign", "funding", "challenge")] what: &str) {
    let world = World::new().await;
    let request = creating(&world, what).await;
    let first = keyed(&world, &request, "k-1").send().await;
    assert!(first.status.is_success());
    assert_eq!(first.header("idempotency-replayed"), None);
    let before = world.contents().await;
    // Later, and with the quotes that a structured field has.
    world.clock.advance(TimeDelta::minutes(5));
    let second = keyed(&world, &request, "\"k-1\"").send().await;
    assert_eq!(second.header("idempotency-replayed"), Some("true"));
    assert_eq!((second.status, &second.bytes), (first.status, &first.bytes));
    for header in ["etag", "content-type"] {
        assert_eq!(second.header(header), first.header(header));
    }
    assert_eq!(world.contents().await, before);
}

#[rstest]
#[tokio::test]
async fn what_creates_needs_a_key(#[values("campaign", "funding", "challenge")] what: &str) {
    let world = World::new().await;
    let request = creating(&world, what).await;
    let without = keyed(&world, &request, "x").without("idempotency-key");
    without.refused(400, "idempotency_key_missing", "send an idempotency-key header").await;
}

#[rstest]
#[tokio::test]
async fn another_request_under_the_key_is_refused(#[values("campaign", "funding", "challenge")] what: &str) {
    let world = World::new().await;
    let request = creating(&world, what).await;
    keyed(&world, &request, "k-1").send().await;
    let mut other = request.clone();
    match what {
        "campaign" => other.1["name"] = json!("Another"),
        "funding" => other.1["cap"] = json!("200"),
        _ => other.1["address"] = json!(address("another")),
    }
    let second = keyed(&world, &other, "k-1");
    second.refused(422, "idempotency_key_reused", "take a new key").await;
    assert!(keyed(&world, &other, "k-2").send().await.status.is_success());
}

#[rstest]
#[tokio::test]
async fn while_the_first_is_answered_the_second_waits(
    #[values("campaign", "funding", "challenge")] what: &str,
) {
    let world = World::new().await;
    let request = creating(&world, what).await;
    let mut tx = world.pool().begin().await.unwrap();
    let role = if what == "challenge" { "game-server" } else { "manager" };
    let scope = IdempotencyScope { org: OrgId(1), role, subject: "caller", key: "k-1" };
    assert!(lock_idempotency_key(&mut tx, scope).await.unwrap());
    let second = keyed(&world, &request, "k-1");
    second.refused(409, "request_in_progress", "send it again in a moment").await;
    // A request that dies leaves nothing behind.
    tx.rollback().await.unwrap();
    let third = keyed(&world, &request, "k-1").send().await;
    assert!(third.status.is_success());
    assert_eq!(third.header("idempotency-replayed"), None);
}

/// How many rows each table has.
async fn counts(world: &World) -> BTreeMap<String, i64> {
    world.contents().await.into_iter().map(|(table, (rows, _))| (table, rows)).collect()
}

/// What one request adds to each table, in a world of its own.
async fn added_by_one(what: &str) -> BTreeMap<String, i64> {
    let world = World::new().await;
    let request = creating(&world, what).await;
    let before = counts(&world).await;
    assert!(keyed(&world, &request, "k-1").send().await.status.is_success());
    added(&before, &counts(&world).await)
}

fn added(before: &BTreeMap<String, i64>, after: &BTreeMap<String, i64>) -> BTreeMap<String, i64> {
    after.iter().map(|(table, rows)| (table.clone(), rows - before[table])).collect()
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_at_once_make_one(
    #[values("campaign", "clone", "funding", "listed", "api key", "challenge")] what: &str,
) {
    const AT_ONCE: usize = 100;
    let world = Arc::new(World::new().await);
    let request = creating(&world, what).await;
    let before = counts(&world).await;
    let calls = (0..AT_ONCE).map(|_| {
        let (world, request) = (world.clone(), request.clone());
        tokio::spawn(async move { keyed(&world, &request, "k-1").send().await })
    });
    let (mut first, mut replayed) = (0, Vec::new());
    for answer in futures::future::join_all(calls.collect::<Vec<_>>()).await {
        let answer = answer.unwrap();
        match (answer.status.as_u16(), answer.header("idempotency-replayed")) {
            (409, None) => answer.is_problem(409, "request_in_progress", "again"),
            (200..=202, None) => first += 1,
            (200..=202, Some("true")) => replayed.push(answer.bytes),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(first, 1, "{what}");
    let last = keyed(&world, &request, "k-1").send().await;
    assert_eq!(last.header("idempotency-replayed"), Some("true"), "{last:?}");
    assert!(replayed.iter().all(|bytes| *bytes == last.bytes));
    assert_eq!(added(&before, &counts(&world).await), added_by_one(what).await);
}

#[tokio::test]
async fn the_payload_is_what_it_says_not_how_it_is_spelled() {
    let world = World::new().await;
    let request = creating(&world, "campaign").await;
    keyed(&world, &request, "k-1").send().await.created();
    let spelled = serde_json::to_string_pretty(&request.1).unwrap();
    let again = keyed(&world, &request, "k-1").text(&spelled).send().await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
}

#[tokio::test]
async fn a_key_is_its_callers_own_and_of_one_route() {
    let world = World::new().await;
    let request = creating(&world, "campaign").await;
    keyed(&world, &request, "k-1").send().await.created();
    for (org, subject) in [("default", "another"), ("other", "caller")] {
        let answer = keyed(&world, &request, "k-1").by(Role::Manager, org, subject).send().await;
        answer.created();
        assert_eq!(answer.header("idempotency-replayed"), None);
    }
    let id = world.campaign().await;
    let fund = world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/fund"));
    let fund = fund.json(&json!({ "cap": "7" })).header("idempotency-key", "k-1");
    fund.refused(422, "idempotency_key_reused", "take a new key").await;
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_free() {
    let world = World::new().await;
    let (line, mut body, role) = creating(&world, "campaign").await;
    body["rule"] = json!("nonsense");
    let bad = keyed(&world, &(line.clone(), body, role), "k-1");
    bad.refused(422, "invalid_campaign", "rule:").await;
    keyed(&world, &(line, definition(), role), "k-1").send().await.created();
}

#[rstest]
#[case::empty("".to_owned())]
#[case::too_long("k".repeat(256))]
#[case::blanks("a b".to_owned())]
#[case::half_quoted("\"k".to_owned())]
#[tokio::test]
async fn a_key_is_plain_and_short(#[case] bad: String) {
    let world = World::new().await;
    let request = creating(&world, "campaign").await;
    let bad = keyed(&world, &request, &bad);
    bad.refused(400, "invalid_idempotency_key", "1 to 255 visible ASCII characters").await;
}

#[tokio::test]
async fn after_a_day_the_key_is_free_and_the_answer_swept() {
    let world = World::new().await;
    let request = creating(&world, "campaign").await;
    keyed(&world, &request, "k-1").send().await.created();
    keyed(&world, &request, "k-2").send().await.created();
    world.clock.advance(ANSWER_LIFETIME);
    let again = keyed(&world, &request, "k-1").send().await;
    again.created();
    assert_eq!(again.header("idempotency-replayed"), None);
    assert_eq!(world.rows("campaigns").await, 3);
    assert_eq!(world.rows("idempotency_keys").await, 1);
}

#[tokio::test]
async fn a_move_may_have_a_key() {
    let world = World::new().await;
    let id = world.funded_campaign(100).await;
    let activate = || world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/activate"));
    let first = activate().header("idempotency-key", "k-1").send().await;
    let again = activate().header("idempotency-key", "k-1").send().await;
    assert_eq!((first.ok(), again.header("etag")), (again.ok(), Some("\"2\"")));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    let other = activate().without("idempotency-key");
    other.refused(409, "wrong_state", "cannot be activated").await;
}

#[tokio::test]
async fn outcomes_need_no_key() {
    let world = World::new().await;
    world.player("p-1").await;
    let body = json!({ "outcomes": [crate::world::outcome("o-1", "p-1", 12)] });
    let request = world.call(Role::GameServer, "POST /v1/outcomes").json(&body).without("idempotency-key");
    assert_eq!(request.send().await.accepted()["accepted"], 1);
    assert_eq!(world.rows("idempotency_keys").await, 0);
}
