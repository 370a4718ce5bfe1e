//! `laurel lanes` while everything runs: a lane is added, the others are retired, and payments go on.

use alloy::primitives::U256;
use laurel_chain::RewardVault;
use laurel_devnet::dev_keys::DEV_KEYS;
use laurel_events::{Clock, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    process::{Running, output},
    rest::Rest,
    world::{REWARD, World, free_port},
};

/// The development account that is added, and where its key is.
const ADDED: usize = 3;
const SOURCE: (&str, &str) = ("LAUREL_LANE_ADDED", "env:LAUREL_LANE_ADDED");

/// What `laurel lanes` answers; its exit code, and what it printed.
async fn lanes(world: &World, port: u16, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let mut command = world.laurel(port, &["lanes", "--json"]);
    command.args(arguments).env(SOURCE.0, DEV_KEYS[ADDED].secret);
    let answer = output(command).await;
    let printed = serde_json::from_slice(&answer.stdout).unwrap_or(Value::Null);
    (answer.status.code(), printed, String::from_utf8(answer.stderr).unwrap())
}

async fn win(rest: &Rest, outcome: &str) {
    let outcome = json!({
        "outcome_id": outcome, "game": "quiz", "player_id": "player", "score": 90, "occurred_at": SystemClock.now(),
    });
    rest.must(Method::POST, "/outcomes", Some(json!({ "outcomes": [outcome] }))).await;
}

#[tokio::test]
async fn a_lane_is_added_and_others_are_retired_while_everything_runs() {
    let world = World::start().await;
    let port = free_port();
    let mut serving = world.laurel(port, &["all"]);
    serving.env(SOURCE.0, DEV_KEYS[ADDED].secret);
    let serving = Running::start(serving, &world.folder.path().join("laurel.log"));
    let rest = Rest::new(&format!("http://127.0.0.1:{port}"));
    let campaign = world.campaign(&rest, "100000").await;
    let wallet = rest.player("player", world.chain_id).await;

    let (code, _, said) = lanes(&world, port, &["add", SOURCE.1]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("setOperator"), "it is no operator yet: {said}");
    let operator = DEV_KEYS[ADDED].address.parse().unwrap();
    world.owner_calls(RewardVault::setOperatorCall { operator, allowed: true }).await;
    let (code, added, said) = lanes(&world, port, &["add", SOURCE.1]).await;
    assert_eq!((code, &added["state"]), (Some(0), &json!("active")), "{said}");
    let (code, _, said) = lanes(&world, port, &["add", SOURCE.1]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("is lane 3 already"), "{said}");
    for id in ["1", "2"] {
        let (code, retired, said) = lanes(&world, port, &["retire", id]).await;
        assert_eq!((code, &retired["state"]), (Some(0), &json!("retired")), "{said}");
    }
    win(&rest, "first").await;
    let paid = |times: u64| U256::from(times * REWARD).to_string();
    let statistics = format!("/campaigns/{campaign}/statistics");
    rest.until(&statistics, |statistics| statistics["paid"] == *paid(1)).await;
    let transactions = rest.must(Method::GET, "/transactions", None).await;
    let from: Vec<&Value> = transactions["items"].as_array().unwrap().iter().map(|tx| &tx["from"]).collect();
    assert_eq!(from, [DEV_KEYS[ADDED].address], "only the added lane signs");

    let (code, resumed, said) = lanes(&world, port, &["resume", "1"]).await;
    assert_eq!((code, &resumed["state"]), (Some(0), &json!("active")), "{said}");
    lanes(&world, port, &["retire", "3"]).await;
    win(&rest, "second").await;
    rest.until(&statistics, |statistics| statistics["paid"] == *paid(2)).await;
    assert_eq!(world.balance(wallet).await, U256::from(2 * REWARD));
    let (_, listed, _) = lanes(&world, port, &["list"]).await;
    let states: Vec<&Value> = listed["items"].as_array().unwrap().iter().map(|lane| &lane["state"]).collect();
    assert_eq!(states, ["active", "retired", "retired"]);
    let (code, _, said) = lanes(&world, port, &["retire", "9"]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("there is no lane 9"), "{said}");
    assert_eq!(serving.terminate().await, Some(0));
    world.assert_books_balance(port).await;
}
