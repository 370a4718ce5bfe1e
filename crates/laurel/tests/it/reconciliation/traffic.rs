//! What is under way is no difference.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use laurel_events::{Clock, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    process::output,
    rest::Rest,
    world::{REWARD, World, free_port},
};

const OUTCOMES: u64 = 3_000;
const PLAYERS: u64 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_found_while_grants_are_decided_sent_and_posted() {
    let world = World::start().await;
    let port = free_port();
    let serving = world.start_all(port);
    let rest = Rest::new(&format!("http://127.0.0.1:{port}"));
    let caps = json!({ "grants_per_player": 10_000, "grants_per_player_per_day": 10_000 });
    let campaign = world.campaign_with(&rest, "1000000000", caps).await;
    for number in 0..PLAYERS {
        rest.player(&format!("player-{number}"), world.chain_id).await;
    }
    let done = Arc::new(AtomicBool::new(false));
    let traffic = tokio::spawn({
        let (rest, done, at) = (rest.clone(), done.clone(), SystemClock.now());
        async move {
            for part in (0..OUTCOMES).collect::<Vec<_>>().chunks(20) {
                let outcomes: Vec<Value> = part
                    .iter()
                    .map(|number| {
                        json!({ "outcome_id": format!("match-{number}"), "game": "quiz", "score": 60,
                                "player_id": format!("player-{}", number % PLAYERS), "occurred_at": at })
                    })
                    .collect();
                rest.must(Method::POST, "/outcomes", Some(json!({ "outcomes": outcomes }))).await;
            }
            let paid = (OUTCOMES * REWARD).to_string();
            let statistics = format!("/campaigns/{campaign}/statistics");
            rest.until(&statistics, |statistics| statistics["paid"] == *paid).await;
            done.store(true, Ordering::Release);
        }
    });
    let mut places = Vec::new();
    while !done.load(Ordering::Acquire) {
        let audit = output(world.laurel(port, &["audit", "reconcile", "--json"])).await;
        let report: Value = serde_json::from_slice(&audit.stdout)
            .unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&audit.stderr)));
        assert_eq!(audit.status.code(), Some(0), "{report:#}");
        places.push(report["places"].as_u64().unwrap());
    }
    traffic.await.unwrap();
    world.assert_reconciled(port).await;
    places.dedup();
    assert!(places.len() > 2, "it was compared while things moved: {places:?}");
    assert_eq!(serving.terminate().await, Some(0));
}
