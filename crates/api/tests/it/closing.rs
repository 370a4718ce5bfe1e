//! How a campaign comes to its end.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use laurel_api::Role;
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    token_node::TokenNode,
    world::{Setup, World},
};

/// How long anything may take that should happen.
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn only_what_is_over_is_closed_and_asking_again_changes_nothing() {
    let world = World::new().await;
    let id = world.active_campaign(100).await;
    let close = || world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/close"));
    let progress = || world.call(Role::Auditor, &format!("GET /v1/campaigns/{id}/close"));
    close().refused(409, "wrong_state", "a campaign that is active cannot be closed").await;
    progress().refused(404, "not_found", "nobody has asked for it").await;
    world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/end")).send().await.ok();
    let asked = close().json(&json!({ "reason": "the season is over" })).send().await.accepted();
    assert_eq!((&asked["state"], &asked["returned"]), (&json!("closing"), &json!("0")));
    assert_eq!(asked["call"], Value::Null, "the treasury does it");
    assert_eq!(close().send().await.accepted(), asked);
    assert_eq!(progress().send().await.ok(), asked);
    assert_eq!(world.rows("closings").await, 1);
    let history = world.call(Role::Auditor, &format!("GET /v1/campaigns/{id}/history")).send().await.ok();
    let last = &history["items"][0];
    assert_eq!((&last["state"], &last["by"]), (&json!("closing"), &json!("caller")));
    assert_eq!(last["reason"], "the season is over");
}

/// A node that hangs holds neither a connection nor a lock.
#[rstest]
#[case::a_cap("fund", json!({ "cap": "200" }))]
#[case::a_closing("close", json!({}))]
#[tokio::test]
async fn nothing_is_held_while_a_node_is_asked(#[case] action: &str, #[case] body: Value) {
    let node = Arc::<TokenNode>::default();
    let world = World::of(Setup { treasury: false, node: node.clone(), ..Setup::default() }).await;
    let id = world.active_campaign(100).await;
    if action == "close" {
        world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/end")).send().await.ok();
    }
    let (before, hangs) = (node.calls.load(Ordering::Relaxed), node.hangs.lock().await);
    let asked = world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/{action}")).json(&body).send();
    let pool = &world.state.pool;
    let held = async {
        let all_are_back = async {
            while node.calls.load(Ordering::Relaxed) == before || pool.num_idle() < pool.size() as usize {
                tokio::task::yield_now().await;
            }
        };
        let all_are_back = tokio::time::timeout(PATIENCE, all_are_back).await;
        drop(hangs);
        all_are_back.expect("no connection is held")
    };
    let (answer, ()) = tokio::join!(asked, held);
    answer.is_problem(503, "unavailable", "nothing was changed");
}

#[tokio::test]
async fn what_the_treasury_does_is_shown() {
    let world = World::new().await;
    let id = world.active_campaign(100).await;
    world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/end")).send().await.ok();
    world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/close")).send().await.accepted();
    let sql = "UPDATE closings SET step = 'release', tx = decode(repeat('07', 32), 'hex'), sent_at = requested_at,
                   closes_at = requested_at, withdrawn = 90, withdrawn_at = requested_at,
                   withdrawn_tx = decode(repeat('08', 32), 'hex'), failures = 1, error = 'no', retry_at = requested_at";
    sqlx::query(sql).execute(world.pool()).await.unwrap();
    let shown = world.call(Role::Auditor, &format!("GET /v1/campaigns/{id}/close")).send().await.ok();
    let hash = |byte: &str| format!("0x{}", byte.repeat(32));
    assert_eq!(shown["transaction"]["step"], "release");
    assert_eq!(shown["transaction"]["tx"], hash("07"));
    assert_eq!((&shown["withdrawn"], &shown["withdrawn_tx"]), (&json!("90"), &json!(hash("08"))));
    assert_eq!(shown["error"], "no");
    assert!(shown["closes_at"].is_string());
}

#[tokio::test]
async fn the_transaction_that_brings_a_cap_is_shown() {
    let world = World::new().await;
    let id = world.campaign().await;
    let fund = |cap: &str| {
        let request = world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/fund"));
        request.json(&json!({ "cap": cap }))
    };
    let shown = async || {
        world.call(Role::Manager, &format!("GET /v1/campaigns/{id}")).send().await.ok()["funding"]["transaction"].clone()
    };
    fund("100").send().await.accepted();
    assert_eq!(shown().await, Value::Null);
    let sql = "UPDATE funding_requests SET step = 'cap', tx = decode(repeat('07', 32), 'hex'), sent_at = requested_at";
    sqlx::query(sql).execute(world.pool()).await.unwrap();
    assert_eq!(shown().await["tx"], format!("0x{}", "07".repeat(32)));
    // It was for another cap.
    fund("200").send().await.accepted();
    assert_eq!(shown().await, Value::Null);
}
