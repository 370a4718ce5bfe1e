//! Laurel pays while its endpoints come and go.

use laurel_devnet::testing::{Line, LineState};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    process::Running,
    rest::Rest,
    world::{REWARD, World, free_port},
};

#[tokio::test]
async fn grants_are_paid_while_endpoints_come_and_go() {
    let world = World::start().await;
    let url = world.anvil.as_ref().unwrap().rpc_url().to_owned();
    let lines = [Line::to(&url).await.unwrap(), Line::to(&url).await.unwrap(), Line::to(&url).await.unwrap()];
    let (port, ops) = (free_port(), free_port());
    let mut command = world.laurel(port, &["all"]);
    command.env("LAUREL_OPS__BIND", format!("127.0.0.1:{ops}"));
    let urls = lines.iter().map(Line::url).collect::<Vec<_>>();
    command.env("LAUREL_CHAINS__0__RPC_URLS", json!(urls).to_string());
    let running = Running::start(command, &world.folder.path().join("endpoints.log"));
    let rest = Rest::new(&format!("http://127.0.0.1:{port}"));
    let campaign = world.campaign(&rest, "1000000").await;
    let wallet = rest.player("alice", world.chain_id).await;
    let now = laurel_events::Clock::now(&laurel_events::SystemClock);
    let troubles = [
        (LineState::Good, LineState::Good),
        // The one that is asked first.
        (LineState::Cut, LineState::Good),
        (LineState::Good, LineState::Hung),
    ];
    for (round, (first, second)) in (1..).zip(troubles) {
        lines[0].set(first);
        lines[1].set(second);
        let outcomes: Vec<Value> = (0..5)
            .map(|number| {
                json!({ "outcome_id": format!("m{round}-{number}"), "game": "quiz", "player_id": "alice", "score": 50,
                        "occurred_at": now })
            })
            .collect();
        rest.must(Method::POST, "/outcomes", Some(json!({ "outcomes": outcomes }))).await;
        let paid = (round * 5 * REWARD).to_string();
        rest.until(&format!("/campaigns/{campaign}/statistics"), |statistics| statistics["paid"] == *paid)
            .await;
    }
    assert_eq!(world.balance(wallet).await, alloy::primitives::U256::from(15 * REWARD));
    let alerts = rest.must(Method::GET, "/alerts", None).await;
    assert_eq!(alerts["items"], json!([]), "nobody has to do anything");
    let ready = reqwest::get(format!("http://127.0.0.1:{ops}/readyz")).await.unwrap();
    assert!(ready.status().is_success());
    assert!(ready.text().await.unwrap().contains("endpoints are left alone"));
    assert_eq!(running.terminate().await, Some(0));
    world.assert_books_balance(port).await;
}
