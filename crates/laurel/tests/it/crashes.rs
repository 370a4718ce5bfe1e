//! kill -9 at any moment, the same outcomes from several clients: nothing is paid twice, nothing is lost.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use alloy::primitives::{Address, U256};
use chrono::{DateTime, Utc};
use laurel_events::{Clock, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{
    histories::assert_histories,
    rest::Rest,
    world::{REWARD, World, free_port},
};

const OUTCOMES: usize = 5_000;
const PLAYERS: usize = 40;
/// So many of them link their wallets only when all outcomes are in.
const LATE_PLAYERS: usize = 4;
const REQUEST_OUTCOMES: usize = 100;
const PATIENCE: Duration = Duration::from_secs(180);

/// After how many accepted outcomes everything is killed.
const KILLS: [usize; 3] = [600, 2_200, 4_100];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_three_times_during_5000_outcomes() {
    let port = free_port();
    survive(&[port]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_three_times_with_two_replicas() {
    survive(&[free_port(), free_port()]).await;
}

/// A client a replica posts the same outcomes; all replicas are killed three times meanwhile.
async fn survive(ports: &[u16]) {
    let world = World::start().await;
    let began = SystemClock.now();
    let mut replicas: Vec<_> = ports.iter().map(|port| world.start_all(*port)).collect();
    let clients: Vec<Rest> =
        ports.iter().map(|port| Rest::new(&format!("http://127.0.0.1:{port}"))).collect();
    let campaign = world.campaign(&clients[0], "1000000000").await;
    let mut wallets = Vec::with_capacity(PLAYERS);
    for number in 0..PLAYERS - LATE_PLAYERS {
        wallets.push(clients[0].player(&format!("player-{number}"), world.chain_id).await);
    }
    for number in PLAYERS - LATE_PLAYERS..PLAYERS {
        clients[0].register(&format!("player-{number}")).await;
    }
    let outcomes: Arc<Vec<Value>> = Arc::new((0..OUTCOMES).map(|number| outcome(number, began)).collect());
    let posted = Arc::new(AtomicUsize::new(0));
    let posting: Vec<_> = clients
        .iter()
        .map(|client| tokio::spawn(post_all(client.clone(), outcomes.clone(), posted.clone())))
        .collect();
    for kill_at in KILLS {
        wait_for(&posted, kill_at * clients.len()).await;
        for replica in std::mem::take(&mut replicas) {
            replica.kill_9().await;
        }
        replicas = ports.iter().map(|port| world.start_all(*port)).collect();
        // In the middle of everything: what is under way is no finding.
        world.assert_books_balance(ports[0]).await;
        world.assert_reconciled(ports[0]).await;
    }
    for posting in posting {
        timeout(PATIENCE, posting).await.expect("everything is posted in time").unwrap();
    }
    // However slow this machine is: most of what they won has to wait for a wallet by now.
    let expected = expected_by_player();
    let late: u64 = (PLAYERS - LATE_PLAYERS..PLAYERS).filter_map(|player| expected.get(&player)).sum();
    let granted: u64 = expected.values().sum();
    clients[0]
        .until(&format!("/campaigns/{campaign}/statistics"), |statistics| {
            statistics["grants"].as_u64() > Some(granted - late / 2)
        })
        .await;
    for number in PLAYERS - LATE_PLAYERS..PLAYERS {
        wallets.push(clients[0].link(&format!("player-{number}"), world.chain_id).await);
    }
    // Everything again, as a client does that was told nothing.
    post_all(clients[0].clone(), outcomes.clone(), posted).await;
    let all_paid = U256::from(granted * REWARD).to_string();
    let statistics = clients[0]
        .until(&format!("/campaigns/{campaign}/statistics"), |statistics| statistics["paid"] == *all_paid)
        .await;
    assert_eq!(statistics["reserved"], "0");
    let awaited = assert_histories(world.database.pool()).await;
    for replica in replicas {
        assert_eq!(replica.terminate().await, Some(0), "a graceful shutdown is no failure");
    }
    world.assert_books_balance(ports[0]).await;
    world.assert_reconciled(ports[0]).await;
    assert_paid(&world, &wallets, &expected).await;
    assert!(awaited as u64 > late / 2, "{awaited} of {late} awaited a wallet");
}

/// Every wallet has exactly what its player earned: the chain is asked, not our books.
async fn assert_paid(world: &World, wallets: &[Address], expected: &BTreeMap<usize, u64>) {
    for (player, wallet) in wallets.iter().enumerate() {
        let earned = U256::from(expected.get(&player).copied().unwrap_or(0) * REWARD);
        assert_eq!(world.balance(*wallet).await, earned, "player {player}");
    }
}

async fn post_all(client: Rest, outcomes: Arc<Vec<Value>>, posted: Arc<AtomicUsize>) {
    for some in outcomes.chunks(REQUEST_OUTCOMES) {
        let answer = client.must(Method::POST, "/outcomes", Some(json!({ "outcomes": some }))).await;
        let taken = answer["accepted"].as_u64().unwrap() + answer["duplicates"].as_u64().unwrap();
        assert_eq!(taken, some.len() as u64, "{answer}");
        posted.fetch_add(some.len(), Ordering::Relaxed);
    }
}

async fn wait_for(posted: &AtomicUsize, wanted: usize) {
    let waiting = async {
        while posted.load(Ordering::Relaxed) < wanted {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("outcomes are taken in time");
}

fn score(number: usize) -> usize {
    number * 7 % 101
}

fn player(number: usize) -> usize {
    number * 13 % PLAYERS
}

fn outcome(number: usize, at: DateTime<Utc>) -> Value {
    json!({
        "outcome_id": format!("match-{number}"), "game": "quiz", "player_id": format!("player-{}", player(number)),
        "score": score(number), "occurred_at": at,
    })
}

fn expected_by_player() -> BTreeMap<usize, u64> {
    let mut expected = BTreeMap::new();
    for number in (0..OUTCOMES).filter(|number| score(*number) >= 50) {
        *expected.entry(player(number)).or_default() += 1;
    }
    expected
}
