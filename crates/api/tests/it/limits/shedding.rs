//! More than the database can take.

use std::{collections::BTreeMap, time::Duration};

use axum::body::{Body, Bytes};
use futures::{future::join_all, stream};
use laurel_api::Role;
use serde_json::json;
use tokio::sync::oneshot;

use crate::world::{Setup, World, definition, outcome};

/// How many ask at the same time.
const CROWD: usize = 1_000;

/// How long the crowd may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many outcomes are reported meanwhile.
const REPORTS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_readers_is_shed_and_outcomes_are_taken() {
    let world = World::of(Setup { connections: 5, queue_max: 50, ..Setup::default() }).await;
    world.player("p-1").await;
    let reads = join_all((0..CROWD).map(|_| world.call(Role::Manager, "GET /v1/campaigns").send()));
    let reports = join_all((0..REPORTS).map(|number| {
        let report = json!({ "outcomes": [outcome(&format!("o-{number}"), "p-1", 12)] });
        world.call(Role::GameServer, "POST /v1/outcomes").json(&report).send()
    }));
    let (reads, reports) = tokio::join!(reads, reports);
    for report in reports {
        assert_eq!(report.accepted()["accepted"], 1);
    }
    let mut became: BTreeMap<u16, usize> = BTreeMap::new();
    for read in reads {
        *became.entry(read.status.as_u16()).or_default() += 1;
        if read.status != 200 {
            read.is_problem(503, "overloaded", "nothing was changed");
            assert_eq!(read.header("retry-after"), Some("1"));
        }
    }
    assert!(became[&200] >= 50 && became[&503] >= 100, "{became:?}");
    // It passes with the crowd.
    world.call(Role::Manager, "GET /v1/campaigns").send().await.ok();
}

/// Nobody is kept in memory without end: one body that comes slowly has all the room, until it is given up.
#[tokio::test]
async fn whoever_brings_a_body_for_which_there_is_no_room_is_shed() {
    let world =
        World::of(Setup { bodies_kib_max: 1024, queue_time: Duration::from_millis(20), ..Setup::default() })
            .await;
    let (listens, listened) = oneshot::channel();
    let never = stream::once(async {
        listens.send(()).unwrap();
        std::future::pending::<std::io::Result<Bytes>>().await
    });
    let change = || world.call(Role::Manager, "POST /v1/campaigns").json(&definition());
    let slow = world.call(Role::Manager, "POST /v1/campaigns").stream(Body::from_stream(never)).send();
    let other = async {
        listened.await.unwrap();
        // What has no body needs no room.
        world.call(Role::Manager, "GET /v1/campaigns").send().await.ok();
        change().send().await
    };
    let (slow, other) = tokio::join!(slow, other);
    other.is_problem(503, "overloaded", "nothing was changed");
    assert_eq!(other.header("retry-after"), Some("1"));
    slow.is_problem(408, "slow_body", "");
    change().send().await.created();
}

#[tokio::test]
async fn what_everybody_needs_is_never_shed() {
    let world = World::of(Setup { queue_max: 0, ..Setup::default() }).await;
    // All turns are taken by readers who wait for a connection that nobody gives back.
    let held = [world.read_pool.acquire().await.unwrap(), world.read_pool.acquire().await.unwrap()];
    let stuck = join_all((0..8).map(|_| world.call(Role::Manager, "GET /v1/campaigns").send()));
    let shed = world.state.limits.metrics.shed_total.with_label_values(&["read"]);
    let others = async {
        let all_are_there = async {
            while shed.get() < 4 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, all_are_there).await.expect("four find no place");
        for line in ["GET /openapi.json", "GET /docs", "GET /v1/auth/jwks"] {
            assert_eq!(world.anonymous(line).send().await.status, 200, "{line}");
        }
        world.player("p-1").await;
        drop(held);
    };
    let (answers, ()) = tokio::join!(stuck, others);
    let refused = answers.iter().filter(|answer| answer.status == 503).count();
    assert_eq!((refused, shed.get()), (4, 4));
}
