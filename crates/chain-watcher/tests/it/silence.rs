//! A chain that nobody answers for.

use std::sync::Arc;

use chrono::TimeDelta;
use laurel_chain::HttpNode;
use laurel_devnet::testing::{Line, LineState};

use crate::{
    chain::{CHAIN_ID, Chain},
    world::{World, catch_up},
};

async fn alerts(world: &World) -> Vec<(String, String)> {
    sqlx::query_as("SELECT code, about FROM alerts").fetch_all(world.pool()).await.unwrap()
}

async fn told(world: &World) -> Vec<String> {
    sqlx::query_scalar("SELECT kind FROM journal WHERE kind LIKE 'OperatorAlert%' ORDER BY part, position")
        .fetch_all(world.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_chain_that_is_silent_for_long_is_told_of_until_it_answers() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    let line = Line::to(chain.rpc_url()).await.unwrap();
    let watcher = || world.watcher(Arc::new(HttpNode::new(line.url()).unwrap()));
    let first = watcher();
    catch_up(&first).await;
    line.set(LineState::Cut);
    first.step().await.unwrap_err();
    world.clock.advance(TimeDelta::seconds(59));
    first.step().await.unwrap_err();
    assert!(alerts(&world).await.is_empty(), "nodes are restarted");
    world.clock.advance(TimeDelta::seconds(1));
    for _ in 0..2 {
        first.step().await.unwrap_err();
    }
    let about = format!("chain:{}", CHAIN_ID);
    assert_eq!(alerts(&world).await, [("chain_not_followed".to_owned(), about)]);
    // Whoever is started meanwhile did not raise it.
    let second = watcher();
    second.step().await.unwrap_err();
    line.set(LineState::Good);
    catch_up(&second).await;
    assert!(alerts(&world).await.is_empty());
    assert_eq!(told(&world).await, ["OperatorAlertRaised", "OperatorAlertCleared"]);
}
