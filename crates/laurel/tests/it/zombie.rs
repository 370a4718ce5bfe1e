//! A replica was promoted while the old primary still takes writes: both sign with the same keys, and only the chain is between
//! them.

use std::{collections::BTreeMap, time::Duration};

use alloy::primitives::{Address, U256};
use laurel_events::{Clock, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    histories::assert_histories,
    process::Running,
    recovery::{alerts, reconciled, start_recovery, until_noted},
    rest::Rest,
    unrecovered::let_go_on,
    world::{REWARD, UNTOLD, World, free_port},
};

const OUTCOMES: u64 = 120;
const PATIENCE: Duration = Duration::from_secs(60);

/// What tells that somebody has seen what it did not sign.
const SEEN: [&str; 2] = ["unknown_settlement", "nonce_used_elsewhere"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_primaries_pay_every_place_once_and_whoever_is_behind_stops() {
    let mut world = World::start().await;
    let (one, rest) = started(&world, 600_000);
    let campaign = world.campaign(&rest, "100000000").await;
    rest.register("player").await;
    let now = SystemClock.now();
    let outcomes: Vec<Value> = (0..OUTCOMES)
        .map(|number| {
            json!({
                "outcome_id": format!("match-{number}"), "game": "quiz", "player_id": "player", "score": 90,
                "occurred_at": now,
            })
        })
        .collect();
    for some in outcomes.chunks(100) {
        rest.must(Method::POST, "/outcomes", Some(json!({ "outcomes": some }))).await;
    }
    let all = U256::from(OUTCOMES * REWARD);
    let statistics = format!("/campaigns/{campaign}/statistics");
    rest.until(&statistics, |statistics| statistics["reserved"] == *all.to_string()).await;
    assert_eq!(one.terminate().await, Some(0));

    let copy = world.database.copy().await;
    assert_eq!(sqlx::query(UNTOLD).execute(copy.pool()).await.unwrap().rows_affected(), 1);
    let (old, to_old) = started(&world, 600_000);
    world.database_url = copy.url().to_owned();
    // Other deadlines, so that not even equal batches are equal bytes.
    let (new, to_new) = started(&world, 500_000);
    let (wallet, _) =
        tokio::join!(to_old.link("player", world.chain_id), to_new.link("player", world.chain_id));
    let seen = async {
        while !(saw(&to_old).await || saw(&to_new).await) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, seen).await.expect("one of them sees what the other has done");
    assert_paid_at_most(&world, wallet, all).await;
    old.kill_9().await;
    new.kill_9().await;

    // The new one goes on alone.
    let old = std::mem::replace(&mut world.database, copy);
    let (replica, rest) = started(&world, 600_000);
    let port = rest.port();
    let recovery = start_recovery(&world, port);
    until_noted(world.database.pool()).await;
    world.let_deadlines_pass().await;
    let code = timeout(PATIENCE, recovery.ended()).await.expect("it recovers in time");
    let unknown = alerts(&rest).await.contains(&"unknown_settlement".to_owned());
    assert_eq!(code, Some(unknown.into()), "what was seen before the quarantine is for an operator");
    let_go_on(&world, port).await;
    let paid = rest.until(&statistics, |statistics| statistics["paid"] == *all.to_string()).await;
    assert_eq!(paid["reserved"], "0");
    assert_eq!(world.balance(wallet).await, all, "every place was paid, once");
    // What its own reconciliation may have told while the other one paid is taken back by one that looks at everything.
    assert_eq!(reconciled(&world, port).await, BTreeMap::new());
    assert_eq!(alerts(&rest).await, Vec::<String>::new());
    world.assert_books_balance(port).await;
    assert_histories(world.database.pool()).await;
    assert_eq!(replica.terminate().await, Some(0));
    drop(old);
}

/// `laurel all`, whose settlements live so long.
fn started(world: &World, lifetime_ms: u64) -> (Running, Rest) {
    let port = free_port();
    let mut command = world.laurel(port, &["all"]);
    command.env("LAUREL_CHAINS__0__SETTLEMENT_LIFETIME_MS", lifetime_ms.to_string());
    let running = Running::start(command, &world.folder.path().join(format!("laurel-{port}.log")));
    (running, Rest::new(&format!("http://127.0.0.1:{port}")))
}

async fn saw(rest: &Rest) -> bool {
    alerts(rest).await.iter().any(|code| SEEN.contains(&code.as_str()))
}

async fn assert_paid_at_most(world: &World, wallet: Address, all: U256) {
    let paid = world.balance(wallet).await;
    assert!(paid <= all && !paid.is_zero(), "{paid} of {all}");
}
