//! A campaign that its manager ends with grants under way.

use laurel_events::{Clock, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    rest::Rest,
    world::{REWARD, World, free_port},
};

/// Before, it is paused. What waits for a wallet is paid as well as what is under way, and nothing is granted any more.
#[tokio::test]
async fn what_was_granted_is_paid_after_its_campaign_was_ended() {
    let world = World::start().await;
    let port = free_port();
    let running = world.start_all(port);
    let rest = Rest::new(&format!("http://127.0.0.1:{port}"));
    let campaign = world.campaign(&rest, "1000000").await;
    for name in ["alice", "bob"] {
        rest.player(name, world.chain_id).await;
    }
    rest.register("late").await;
    let win = async |player: &str, outcome: &str| {
        let outcome = json!({
            "outcome_id": outcome, "game": "quiz", "player_id": player, "score": 90,
            "occurred_at": SystemClock.now(),
        });
        rest.must(Method::POST, "/outcomes", Some(json!({ "outcomes": [outcome] }))).await;
    };
    for (player, outcome) in [("alice", "one"), ("late", "two"), ("bob", "three")] {
        win(player, outcome).await;
    }
    let reserved = (3 * REWARD).to_string();
    let statistics = format!("/campaigns/{}/statistics", campaign);
    let held = |of: &Value| -> bool {
        let amount = |field: &str| of[field].as_str().unwrap().parse::<u64>().unwrap();
        (amount("reserved") + amount("paid")).to_string() == reserved
    };
    rest.until(&statistics, held).await;
    // Paused, it pays what is under way, and declines what comes.
    let paused = rest.must(Method::POST, &format!("/campaigns/{campaign}/pause"), None).await;
    assert_eq!(paused["state"], "paused", "{paused}");
    rest.until(&statistics, |of| of["paid"] == *(2 * REWARD).to_string()).await;
    win("alice", "while-paused").await;
    rest.until(&statistics, |of| of["declined"]["campaign_paused"] == 1).await;
    rest.must(Method::POST, &format!("/campaigns/{campaign}/resume"), None).await;
    let ended = rest.must(Method::POST, &format!("/campaigns/{}/end", campaign), None).await;
    assert_eq!(ended["state"], "ended", "{ended}");
    win("bob", "too-late").await;
    rest.until(&statistics, |of| of["paid"] == *(2 * REWARD).to_string()).await;
    rest.link("late", world.chain_id).await;
    rest.until(&statistics, |of| of["paid"] == *(3 * REWARD).to_string()).await;
    let grants = rest.must(Method::GET, &statistics, None).await["grants"].clone();
    assert_eq!(grants, 3, "nothing was granted after the end");
    assert_eq!(running.terminate().await, Some(0));
    world.assert_books_balance(port).await;
}
