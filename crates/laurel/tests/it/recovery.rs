//! A database that was restored to an older moment: nothing is paid twice, nothing is lost.

use std::{collections::BTreeMap, time::Duration};

use alloy::primitives::{Address, U256};
use chrono::{DateTime, Utc};
use laurel_events::{Clock, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    histories::assert_histories,
    process::Running,
    rest::Rest,
    world::{REWARD, World, free_port},
};

const PLAYERS: usize = 20;
/// So many of them link their wallets only after the moment to which the database is restored.
const NEW_PLAYERS: usize = 5;
const OUTCOMES: usize = 600;
/// How many outcomes there are before that moment.
const BEFORE: usize = 250;
const PATIENCE: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_restored_to_an_older_moment_pays_nothing_twice_and_loses_nothing() {
    let mut world = World::start().await;
    let began = SystemClock.now();
    let story = Story { began };
    let port = free_port();
    let replica = world.start_all(port);
    let rest = Rest::new(&format!("http://127.0.0.1:{port}"));
    let campaign = world.campaign(&rest, "1000000000").await;
    for player in 0..PLAYERS - NEW_PLAYERS {
        rest.player(&name(player), world.chain_id).await;
    }
    for player in PLAYERS - NEW_PLAYERS..PLAYERS {
        rest.register(&name(player)).await;
    }
    story.report(&rest, 0..BEFORE).await;
    // In the middle of it: some are queued, some signed, some in blocks.
    rest.until(&format!("/campaigns/{campaign}/statistics"), |statistics| statistics["paid"] != "0").await;
    replica.kill_9().await;
    let backup = world.database.copy().await;

    let replica = world.start_all(port);
    for player in PLAYERS - NEW_PLAYERS..PLAYERS {
        rest.link(&name(player), world.chain_id).await;
    }
    story.report(&rest, 0..OUTCOMES).await;
    story.until_all_paid(&rest, &campaign).await;
    replica.kill_9().await;

    let lost = std::mem::replace(&mut world.database, backup);
    let port = free_port();
    let replica = world.start_all(port);
    let rest = Rest::new(&format!("http://127.0.0.1:{port}"));
    // Game servers that were told nothing send again at once, before anybody knows what the chain has paid.
    story.report(&rest, 0..OUTCOMES).await;
    let alerts = alerts(&rest).await;
    assert!(alerts.contains(&"quarantine".to_owned()), "{alerts:?}");
    let recovery = start_recovery(&world, port);
    until_noted(&world).await;
    world.let_deadlines_pass().await;
    let recovered = timeout(PATIENCE, recovery.ended()).await.expect("it recovers in time");
    assert_eq!(recovered, Some(0), "everything is explained");
    for player in PLAYERS - NEW_PLAYERS..PLAYERS {
        rest.link(&name(player), world.chain_id).await;
    }
    story.until_all_paid(&rest, &campaign).await;
    story.assert_wallets(&world).await;
    world.assert_books_balance(port).await;
    assert_eq!(self::alerts(&rest).await, Vec::<String>::new());
    let orphans: i64 = count(&world, "SELECT count(*) FROM orphans WHERE number IS NULL").await;
    assert_eq!(orphans, 0);
    let adopted: i64 = count(&world, "SELECT coalesce(sum(grants), 0)::bigint FROM batches WHERE adopted").await;
    assert!(adopted > 100, "{adopted} grants were adopted");
    assert_histories(world.database.pool()).await;
    assert_eq!(replica.terminate().await, Some(0));
    drop(lost);
}

fn start_recovery(world: &World, port: u16) -> Running {
    Running::start(world.laurel(port, &["recover"]), &world.folder.path().join("recover.log"))
}

/// Waits until it is noted how long what was signed before may settle: from the chain's time then on.
async fn until_noted(world: &World) {
    let noted = async {
        while count(world, "SELECT count(*) FROM quarantine_chains").await == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, noted).await.expect("the recovery begins");
}

/// The codes of the alerts that are raised.
async fn alerts(rest: &Rest) -> Vec<String> {
    let alerts = rest.must(Method::GET, "/alerts", None).await;
    let items = alerts["items"].as_array().unwrap();
    items.iter().map(|alert| alert["code"].as_str().unwrap().to_owned()).collect()
}

async fn count(world: &World, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(world.database.pool()).await.unwrap()
}

/// What players earn in these stories.
struct Story {
    began: DateTime<Utc>,
}

impl Story {
    async fn report(&self, rest: &Rest, which: std::ops::Range<usize>) {
        let all: Vec<Value> = which.map(|number| self.outcome(number)).collect();
        for some in all.chunks(100) {
            let answer = rest.must(Method::POST, "/outcomes", Some(json!({ "outcomes": some }))).await;
            let taken = answer["accepted"].as_u64().unwrap() + answer["duplicates"].as_u64().unwrap();
            assert_eq!(taken, some.len() as u64, "{answer}");
        }
    }

    fn outcome(&self, number: usize) -> Value {
        json!({
            "outcome_id": format!("match-{number}"), "game": "quiz", "player_id": name(number % PLAYERS),
            "score": score(number), "occurred_at": self.began,
        })
    }

    async fn until_all_paid(&self, rest: &Rest, campaign: &str) {
        let granted: u64 = earned().values().sum();
        let all = U256::from(granted * REWARD).to_string();
        let statistics = rest
            .until(&format!("/campaigns/{campaign}/statistics"), |statistics| statistics["paid"] == *all)
            .await;
        assert_eq!(statistics["reserved"], "0");
    }

    /// Every wallet has exactly what its player earned: the chain is asked, not our books.
    async fn assert_wallets(&self, world: &World) {
        for (player, grants) in earned() {
            assert_eq!(world.balance(wallet(player)).await, U256::from(grants * REWARD), "player {player}");
        }
    }
}

fn name(player: usize) -> String {
    format!("player-{player}")
}

fn wallet(player: usize) -> Address {
    Rest::wallet(&name(player))
}

const fn score(number: usize) -> usize {
    number * 7 % 101
}

/// How many grants each player earns.
fn earned() -> BTreeMap<usize, u64> {
    let mut earned = BTreeMap::new();
    for number in (0..OUTCOMES).filter(|number| score(*number) >= 50) {
        *earned.entry(number % PLAYERS).or_default() += 1;
    }
    earned
}
