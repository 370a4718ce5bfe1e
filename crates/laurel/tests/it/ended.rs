//! A campaign that its manager pauses and ends, whose budget is used up, or that the vault's owner closes, with grants
//! under way.

use laurel_chain::RewardVault;
use laurel_events::{Clock, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    process::{Running, output},
    rest::Rest,
    world::{REWARD, World, free_port},
};

/// `CLOSE_DELAY` of the vault.
const CLOSE_DELAY_S: u64 = 86_400;

/// Laurel at work with one campaign.
struct Stage {
    world: World,
    port: u16,
    running: Running,
    rest: Rest,
    campaign: String,
}

impl Stage {
    async fn set(budget: &str) -> Self {
        let world = World::start().await;
        let port = free_port();
        let running = world.start_all(port);
        let rest = Rest::new(&format!("http://127.0.0.1:{port}"));
        let campaign = world.campaign(&rest, budget).await;
        Self { world, port, running, rest, campaign }
    }
}

async fn win(rest: &Rest, player: &str, outcome: &str) {
    let outcome = json!({
        "outcome_id": outcome, "game": "quiz", "player_id": player, "score": 90,
        "occurred_at": SystemClock.now(),
    });
    rest.must(Method::POST, "/outcomes", Some(json!({ "outcomes": [outcome] }))).await;
}

/// Before, it is paused. Either way who waits for a wallet is paid, and nothing is granted any more.
#[tokio::test]
async fn what_was_granted_is_paid_after_its_campaign_was_ended() {
    let Stage { world, port, running, rest, campaign } = Stage::set("1000000").await;
    for name in ["alice", "bob"] {
        rest.player(name, world.chain_id).await;
    }
    for name in ["late", "later"] {
        rest.register(name).await;
    }
    for (player, outcome) in [("alice", "one"), ("late", "two"), ("bob", "three"), ("later", "four")] {
        win(&rest, player, outcome).await;
    }
    let reserved = (4 * REWARD).to_string();
    let statistics = format!("/campaigns/{campaign}/statistics");
    let held = |of: &Value| -> bool {
        let amount = |field: &str| of[field].as_str().unwrap().parse::<u64>().unwrap();
        (amount("reserved") + amount("paid")).to_string() == reserved
    };
    rest.until(&statistics, held).await;
    // Paused, it pays what is under way, and declines what comes.
    let paused = rest.must(Method::POST, &format!("/campaigns/{campaign}/pause"), None).await;
    assert_eq!(paused["state"], "paused", "{paused}");
    rest.link("late", world.chain_id).await;
    rest.until(&statistics, |of| of["paid"] == *(3 * REWARD).to_string()).await;
    win(&rest, "alice", "while-paused").await;
    rest.until(&statistics, |of| of["declined"]["campaign_paused"] == 1).await;
    rest.must(Method::POST, &format!("/campaigns/{campaign}/resume"), None).await;
    let ended = rest.must(Method::POST, &format!("/campaigns/{campaign}/end"), None).await;
    assert_eq!(ended["state"], "ended", "{ended}");
    win(&rest, "bob", "too-late").await;
    rest.link("later", world.chain_id).await;
    rest.until(&statistics, |of| of["paid"] == *(4 * REWARD).to_string()).await;
    let grants = rest.must(Method::GET, &statistics, None).await["grants"].clone();
    assert_eq!(grants, 4, "nothing was granted after the end");
    assert_eq!(running.terminate().await, Some(0));
    world.assert_books_balance(port).await;
}

#[tokio::test]
async fn the_last_of_a_budget_is_paid_to_those_who_wait_for_it() {
    let Stage { world, port, running, rest, campaign } = Stage::set(&(2 * REWARD).to_string()).await;
    rest.player("alice", world.chain_id).await;
    rest.register("late").await;
    for (player, outcome) in [("late", "one"), ("alice", "two"), ("alice", "three")] {
        win(&rest, player, outcome).await;
    }
    let statistics = format!("/campaigns/{campaign}/statistics");
    let emptied = |of: &Value| of["available"] == "0" && of["declined"]["budget_exhausted"] == 1;
    rest.until(&statistics, emptied).await;
    rest.link("late", world.chain_id).await;
    rest.until(&statistics, |of| of["paid"] == *(2 * REWARD).to_string()).await;
    assert_eq!(running.terminate().await, Some(0));
    world.assert_books_balance(port).await;
}

/// The vault pays nothing of it any more: whoever has a wallet only then gets nothing, and the hold is given back.
#[tokio::test]
async fn what_waits_when_the_vault_has_released_its_campaign_is_compensated() {
    let Stage { world, port, running, rest, campaign } = Stage::set("1000000").await;
    rest.player("alice", world.chain_id).await;
    rest.register("late").await;
    for (player, outcome) in [("alice", "one"), ("late", "two")] {
        win(&rest, player, outcome).await;
    }
    let statistics = format!("/campaigns/{campaign}/statistics");
    let waits = |of: &Value| of["paid"] == *REWARD.to_string() && of["reserved"] == *REWARD.to_string();
    rest.until(&statistics, waits).await;
    let id: u64 = campaign.parse().unwrap();
    world.owner_calls(RewardVault::closeCall { campaign: id }).await;
    world.warp(CLOSE_DELAY_S + 1).await;
    world.owner_calls(RewardVault::releaseCall { campaign: id }).await;
    // The books are first, what counts steps comes after them.
    let released = rest.until(&statistics, |of| of["compensated"] == 1).await;
    assert_eq!(
        (&released["paid"], &released["reserved"]),
        (&json!(REWARD.to_string()), &json!("0")),
        "{released}"
    );
    assert_eq!(
        (&released["available"], &released["returned"]),
        (&json!("0"), &json!("999000")),
        "{released}"
    );
    let closed = rest.must(Method::GET, &format!("/campaigns/{campaign}"), None).await;
    assert_eq!((&closed["state"], &closed["state_reason"]), (&json!("closed"), &json!("campaign_released")));
    assert_eq!(running.terminate().await, Some(0));
    world.assert_books_balance(port).await;
    world.assert_reconciled(port).await;
    // Had the books forgotten it, a reconciliation would say so.
    let forget = "ALTER TABLE returns DISABLE TRIGGER USER; DELETE FROM returns;
                  UPDATE accounts SET available = returned, returned = 0";
    sqlx::raw_sql(forget).execute(world.database.pool()).await.unwrap();
    let audit = output(world.laurel(port, &["audit", "reconcile"])).await;
    assert_eq!(audit.status.code(), Some(1));
    let printed = String::from_utf8_lossy(&audit.stdout);
    assert_eq!(printed.matches("_differs").count() + printed.matches("_missing").count(), 1, "{printed}");
    assert!(printed.contains("return_missing"), "{printed}");
}
