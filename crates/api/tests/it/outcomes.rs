//! Outcomes are recorded once, whoever sends them how often.

use std::{collections::BTreeMap, time::Duration};

use laurel_api::Role;
use laurel_events::{EventId, OrgId, OutcomeKey, Partition};
use laurel_ledger::{Place, RecordedOutcome, insert_outcomes};
use serde_json::{Value, json};

use crate::world::{READ_CONNECTIONS, World, outcome};

/// How often each outcome stands in the journal.
async fn journaled(world: &World) -> BTreeMap<String, usize> {
    let payloads: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT payload FROM journal WHERE kind = 'GameOutcomeRecorded'")
            .fetch_all(world.pool())
            .await
            .unwrap();
    let mut found = BTreeMap::new();
    for payload in payloads {
        let text = String::from_utf8(payload).unwrap();
        for part in text.split("\"outcome_id\":\"").skip(1) {
            *found.entry(part.split('"').next().unwrap().to_owned()).or_default() += 1;
        }
    }
    found
}

fn numbered(range: std::ops::Range<u32>) -> Vec<Value> {
    range.map(|n| outcome(&format!("o-{n}"), &format!("p-{}", n % 7), 12)).collect()
}

async fn players(world: &World) {
    for n in 0..7 {
        world.player(&format!("p-{n}")).await;
    }
}

#[tokio::test]
async fn the_same_outcomes_posted_twice_are_recorded_once() {
    let world = World::new().await;
    players(&world).await;
    let outcomes = numbered(0..50);
    assert_eq!(world.post_outcomes(&outcomes).await["accepted"], 50);
    let before = world.contents().await;
    let again = world.post_outcomes(&outcomes).await;
    assert_eq!((&again["accepted"], &again["duplicates"]), (&json!(0), &json!(50)));
    assert_eq!(world.contents().await, before);
    let expected: BTreeMap<String, usize> = (0..50).map(|n| (format!("o-{n}"), 1)).collect();
    assert_eq!(journaled(&world).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_clients_at_once_with_overlapping_lists() {
    let world = World::new().await;
    players(&world).await;
    // Again and again, so that they meet in different places; one of them sends its list backwards.
    for round in 0..12 {
        let start = round * 1_000;
        let one = numbered(start..start + 60);
        let mut two = numbered(start + 30..start + 90);
        two.reverse();
        let (one, two) = tokio::join!(world.post_outcomes(&one), world.post_outcomes(&two));
        let sum = |field: &str| one[field].as_u64().unwrap() + two[field].as_u64().unwrap();
        assert_eq!((sum("accepted"), sum("duplicates")), (90, 30), "{one} {two}");
        assert_eq!((sum("conflicts"), sum("rejected")), (0, 0));
        for answer in [one, two] {
            let told = answer["results"].as_array().unwrap();
            let accepted = told.iter().filter(|result| result["status"] == "accepted").count();
            assert_eq!(accepted as u64, answer["accepted"].as_u64().unwrap());
        }
    }
    let journaled = journaled(&world).await;
    assert_eq!(journaled.len(), 12 * 90);
    assert!(journaled.values().all(|times| *times == 1));
    assert_eq!(world.rows("outcomes").await, 12 * 90);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_clients_at_once_with_the_same_list() {
    let world = World::new().await;
    players(&world).await;
    let outcomes = numbered(0..100);
    let answers = futures_of(&world, 8, &outcomes).await;
    let sum = |field: &str| answers.iter().map(|answer| answer[field].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("accepted"), sum("duplicates")), (100, 700));
    assert!(journaled(&world).await.values().all(|times| *times == 1));
}

async fn futures_of(world: &World, clients: usize, outcomes: &[Value]) -> Vec<Value> {
    let all = (0..clients).map(|_| world.post_outcomes(outcomes));
    futures::future::join_all(all).await
}

/// Two players whose events stand in different partitions.
async fn strangers(world: &World) -> [String; 2] {
    let mut first = None;
    for n in 0..100 {
        let name = format!("stranger-{n}");
        world.player(&name).await;
        let parts: Vec<i16> =
            sqlx::query_scalar("SELECT DISTINCT part FROM journal WHERE kind = 'PlayerRegistered'")
                .fetch_all(world.pool())
                .await
                .unwrap();
        let first = first.get_or_insert_with(|| name.clone()).clone();
        if parts.len() == 2 {
            return [first, name];
        }
    }
    panic!("a hundred players in one partition");
}

/// Waits until so many sessions of this database wait for a lock.
async fn sessions_wait(world: &World, count: i64) {
    let wait = async {
        loop {
            let waiting: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'",
            )
            .fetch_one(world.pool())
            .await
            .unwrap();
            if waiting == count {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap();
}

/// They meet in no partition, only in the ids, and each comes to them from the other end. A third one, which gives up,
/// holds the id in the middle until both are there.
#[tokio::test]
async fn two_clients_with_other_content_under_the_same_ids_do_not_deadlock() {
    let world = World::new().await;
    let [one, two] = strangers(&world).await;
    let of =
        |player: &str| -> Vec<Value> { (0..100).map(|n| outcome(&format!("o-{n}"), player, 12)).collect() };
    let (one, mut two) = (of(&one), of(&two));
    two.reverse();
    let mut third = world.pool().begin().await.unwrap();
    let held = RecordedOutcome {
        key: OutcomeKey::derive(OrgId(1), "caller", "o-50"),
        digest: [0; 32],
        place: Place(EventId { partition: Partition::new(0).unwrap(), offset: 0, index: 0 }),
    };
    insert_outcomes(&mut third, OrgId(1), &[held]).await.unwrap();
    let give_up = async {
        sessions_wait(&world, 2).await;
        third.rollback().await.unwrap();
    };
    let (first, second, ()) = tokio::join!(world.post_outcomes(&one), world.post_outcomes(&two), give_up);
    let sum = |field: &str| first[field].as_u64().unwrap() + second[field].as_u64().unwrap();
    assert_eq!((sum("accepted"), sum("conflicts")), (100, 100));
    assert_eq!(world.rows("outcomes").await, 100);
}

#[tokio::test]
async fn another_issuer_has_ids_of_its_own() {
    let world = World::new().await;
    world.player("p-1").await;
    world.post_outcomes(&[outcome("o-1", "p-1", 12)]).await;
    let body = json!({ "outcomes": [outcome("o-1", "p-1", 99)] });
    let request = world.anonymous("POST /v1/outcomes").by(Role::GameServer, "default", "another-server");
    assert_eq!(request.json(&body).send().await.accepted()["accepted"], 1);
}

#[tokio::test]
async fn an_outcome_is_pending_then_granted_or_declined() {
    let world = World::new().await;
    world.player("p-1").await;
    let campaign = world.active_campaign(100).await;
    world.post_outcomes(&[outcome("good", "p-1", 12), outcome("weak", "p-1", 9)]).await;
    let state =
        async |id: &str| world.call(Role::GameServer, &format!("GET /v1/outcomes/{id}")).send().await.ok();
    assert_eq!(state("good").await, json!({ "state": "pending", "grants": [], "declines": [] }));
    world.decide().await;
    let granted = json!({ "state": "granted", "grants": [format!("{campaign}-0")], "declines": [] });
    assert_eq!(state("good").await, granted);
    let reason = json!([{ "campaign_id": campaign, "reason": "rule_not_met" }]);
    assert_eq!(state("weak").await, json!({ "state": "declined", "grants": [], "declines": reason }));
    let by_auditor = world.call(Role::Auditor, "GET /v1/outcomes/good?issuer=caller").send().await.ok();
    assert_eq!(by_auditor, granted);
    world.call(Role::GameServer, "GET /v1/outcomes/o-2").refused(404, "not_found", "outcome").await;
}

/// It may yet be granted.
#[tokio::test]
async fn an_outcome_that_is_set_aside_is_pending() {
    let world = World::new().await;
    world.player("p-1").await;
    world.active_campaign(100).await;
    world.post_outcomes(&[outcome("weak", "p-1", 9)]).await;
    world.decide().await;
    for (letter, shown) in [("dead", "pending"), ("blocked", "pending"), ("redriven", "declined")] {
        sqlx::query(
            "INSERT INTO dead_letters (stage, part, position, idx, kind, subject, state, attempts, created_at, updated_at)
             SELECT 'campaign', part, position, idx, 'GameOutcomeRecorded', 'player', $1, 1, now(), now() FROM outcomes
             ON CONFLICT (stage, part, position, idx) DO UPDATE SET state = EXCLUDED.state",
        )
        .bind(letter)
        .execute(world.pool())
        .await
        .unwrap();
        let answer = world.call(Role::GameServer, "GET /v1/outcomes/weak").send().await.ok();
        assert_eq!(answer["state"], shown, "{letter}");
    }
}

#[tokio::test]
async fn the_journal_keeps_the_request_id() {
    let world = World::new().await;
    world.player("p-1").await;
    let body = json!({ "outcomes": [outcome("o-1", "p-1", 12)] });
    let request = world.call(Role::GameServer, "POST /v1/outcomes").json(&body);
    request.header("x-request-id", "match-77").send().await.accepted();
    let id: Option<String> =
        sqlx::query_scalar("SELECT request_id FROM journal WHERE kind = 'GameOutcomeRecorded'")
            .fetch_one(world.pool())
            .await
            .unwrap();
    assert_eq!(id.as_deref(), Some("match-77"));
}

#[tokio::test]
async fn readers_that_take_every_connection_of_theirs_do_not_stop_intake() {
    let world = World::new().await;
    world.player("p-1").await;
    let mut taken = Vec::new();
    for _ in 0..READ_CONNECTIONS {
        taken.push(world.read_pool.acquire().await.unwrap());
    }
    let list = world.call(Role::Auditor, "GET /v1/grants").send().await;
    list.is_problem(503, "unavailable", "try again in a moment");
    assert_eq!(world.post_outcomes(&[outcome("o-1", "p-1", 15)]).await["accepted"], 1);
    drop(taken);
    world.call(Role::Auditor, "GET /v1/grants").send().await.ok();
}
