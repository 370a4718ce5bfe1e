//! A database that says nothing any more, and one that is cut off, stop nothing for good.

use alloy::primitives::U256;
use laurel_devnet::testing::{Line, LineState};
use laurel_events::{Clock, SystemClock};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    process::Running,
    rest::Rest,
    world::{REWARD, World, free_port},
};

async fn readiness(ops: u16) -> StatusCode {
    reqwest::get(format!("http://127.0.0.1:{ops}/readyz")).await.unwrap().status()
}

async fn until_ready(ops: u16, wanted: StatusCode) {
    let waiting = async {
        while readiness(ops).await != wanted {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), waiting).await.expect("readiness follows");
}

#[tokio::test]
async fn what_was_accepted_is_paid_after_the_database_hung_and_was_cut_off() {
    let world = World::start().await;
    let line = Line::to_database(world.database.url()).await.unwrap();
    let (port, ops) = (free_port(), free_port());
    let mut command = world.laurel(port, &["all"]);
    command.env("LAUREL_OPS__BIND", format!("127.0.0.1:{ops}"));
    command.env("LAUREL_DATABASE__URL", line.url()).env("LAUREL_DATABASE__ANSWER_TIMEOUT_MS", "3000");
    let running = Running::start(command, &world.folder.path().join("hung.log"));
    let rest = Rest::new(&format!("http://127.0.0.1:{port}"));
    let campaign = world.campaign(&rest, "1000000").await;
    let wallet = rest.player("alice", world.chain_id).await;
    for (round, trouble) in (1..).zip([LineState::Hung, LineState::Cut]) {
        let win = json!({
            "outcome_id": format!("match-{round}"), "game": "quiz", "player_id": "alice", "score": 50,
            "occurred_at": SystemClock.now(),
        });
        rest.must(Method::POST, "/outcomes", Some(json!({ "outcomes": [win] }))).await;
        // In the middle of whatever the stages are doing with it.
        line.set(trouble);
        until_ready(ops, StatusCode::SERVICE_UNAVAILABLE).await;
        line.set(LineState::Good);
        until_ready(ops, StatusCode::OK).await;
        let paid = (round * REWARD).to_string();
        let statistics = format!("/campaigns/{campaign}/statistics");
        rest.until(&statistics, |statistics| statistics["paid"] == *paid).await;
    }
    assert_eq!(world.balance(wallet).await, U256::from(2 * REWARD));
    assert_eq!(running.terminate().await, Some(0));
    world.assert_books_balance(port).await;
}
