//! A chain that nobody answers for.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use laurel_chain::{ChainNode, HttpNode};
use laurel_chain_watcher::{Finality, Watcher, WatcherError};
use laurel_devnet::testing::{Line, LineState};
use laurel_events::alert;
use laurel_ledger::LedgerError;
use tokio::{task::yield_now, time::timeout};

use crate::{
    chain::{CHAIN_ID, Chain},
    endpoints::endpoints,
    recorded::{Branch, Recorded},
    world::{World, catch_up},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// More than a lease lasts.
const LEASE_OVER: TimeDelta = TimeDelta::seconds(3);

fn replica(world: &World, holder: &str, node: Arc<dyn ChainNode>) -> Watcher {
    world.replica(holder, node, Finality::Finalized, world.clock.clone())
}

fn over(line: &Line) -> Arc<dyn ChainNode> {
    Arc::new(HttpNode::new(line.url()).unwrap())
}

async fn alerts(world: &World) -> Vec<(String, String)> {
    sqlx::query_as("SELECT code, about FROM alerts").fetch_all(world.pool()).await.unwrap()
}

async fn told(world: &World) -> Vec<String> {
    sqlx::query_scalar("SELECT kind FROM journal WHERE kind LIKE 'OperatorAlert%' ORDER BY part, position")
        .fetch_all(world.pool())
        .await
        .unwrap()
}

fn not_followed() -> Vec<(String, String)> {
    vec![("chain_not_followed".to_owned(), format!("chain:{CHAIN_ID}"))]
}

/// With a node that hangs, the lease goes from one replica to the other with every question.
#[tokio::test]
async fn a_chain_that_is_silent_for_long_is_told_of_until_it_answers() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    let line = Line::to(chain.rpc_url()).await.unwrap();
    let one = replica(&world, "one", over(&line));
    let two = replica(&world, "two", over(&line));
    catch_up(&one).await;
    line.set(LineState::Cut);
    for replica in [&one, &two].into_iter().cycle().take(20) {
        replica.step().await.unwrap_err();
        assert!(alerts(&world).await.is_empty(), "nodes are restarted");
        world.clock.advance(LEASE_OVER);
    }
    for replica in [&one, &two] {
        replica.step().await.unwrap_err();
        assert_eq!(alerts(&world).await, not_followed());
        world.clock.advance(LEASE_OVER);
    }
    assert!(alert::STATES.contains(&alert::CHAIN_NOT_FOLLOWED), "nobody would be told again");
    line.set(LineState::Good);
    // Whoever is started meanwhile did not raise it.
    catch_up(&replica(&world, "three", over(&line))).await;
    assert!(alerts(&world).await.is_empty());
    assert_eq!(told(&world).await, ["OperatorAlertRaised", "OperatorAlertCleared"]);
}

/// A node that answers every question, and never the last one of a step in time.
#[tokio::test]
async fn a_chain_whose_steps_take_too_long_is_told_of() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    catch_up(&replica(&world, "before", Arc::new(chain.node.clone()))).await;
    world.settle(&chain, 0, 3).await;
    chain.mine(1).await;
    world.clock.advance(LEASE_OVER);
    let node = Recorded::gated(Branch::of(&chain).await);
    let slow = replica(&world, "slow", node.clone()).giving_up_after(Duration::from_secs(3));
    let step = tokio::spawn(async move { slow.step().await });
    timeout(PATIENCE, node.gate().reached.acquire()).await.expect("it asks").unwrap().forget();
    world.clock.advance(TimeDelta::minutes(10));
    let given_up = step.await.unwrap().unwrap_err();
    assert!(matches!(given_up, WatcherError::Ledger(LedgerError::Unanswered { .. })), "{given_up:?}");
    assert_eq!(alerts(&world).await, not_followed());
    catch_up(&replica(&world, "slow", Arc::new(chain.node.clone()))).await;
    assert!(alerts(&world).await.is_empty());
}

/// The chain is well, and what it is compared with cannot be read.
#[tokio::test]
async fn a_chain_that_the_database_keeps_from_being_followed_is_told_of() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    let watcher = replica(&world, "one", Arc::new(chain.node.clone()));
    catch_up(&watcher).await;
    sqlx::query("ALTER TABLE blocks RENAME TO gone").execute(world.pool()).await.unwrap();
    for _ in 0..20 {
        let error = watcher.step().await.unwrap_err();
        assert!(matches!(error, WatcherError::Ledger(_)), "{error:?}");
        assert!(alerts(&world).await.is_empty());
        world.clock.advance(LEASE_OVER);
    }
    watcher.step().await.unwrap_err();
    assert_eq!(alerts(&world).await, not_followed());
    sqlx::query("ALTER TABLE gone RENAME TO blocks").execute(world.pool()).await.unwrap();
    catch_up(&watcher).await;
    assert!(alerts(&world).await.is_empty());
}

/// All answer, and one of the two that are needed for a quorum with what was final long ago.
#[tokio::test]
async fn a_chain_of_which_an_endpoint_stays_behind_is_told_of() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    let branch = Branch::of(&chain).await;
    let head = branch.head().header.number;
    let late = Recorded::new(branch.clone());
    late.change(|script| script.finalized = branch.block(head - 4).cloned());
    let node = endpoints(&world, vec![Recorded::new(branch.clone()), late.clone()], 2).await;
    let watcher = replica(&world, "one", node);
    let look = async |minutes: i64| {
        world.clock.advance(TimeDelta::minutes(minutes));
        catch_up(&watcher).await;
    };
    catch_up(&watcher).await;
    for _ in 0..16 {
        look(1).await;
    }
    assert!(alerts(&world).await.is_empty());
    look(1).await;
    assert_eq!(alerts(&world).await, not_followed());
    late.change(|script| script.finalized = None);
    look(1).await;
    assert!(alerts(&world).await.is_empty());
}

/// Its question was asked when nobody answered, and fails when somebody else has had an answer.
#[tokio::test]
async fn whoever_has_lost_the_lease_tells_nothing_of_the_chain() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    let line = Line::to(chain.rpc_url()).await.unwrap();
    let late = replica(&world, "late", over(&line));
    catch_up(&late).await;
    line.set(LineState::Cut);
    late.step().await.unwrap_err();
    line.set(LineState::Hung);
    world.clock.advance(TimeDelta::minutes(2));
    let hung = tokio::spawn(async move { late.step().await });
    let holder = async || -> (String, bool) {
        sqlx::query_as("SELECT holder, lease_until > $1 FROM leases WHERE name LIKE 'watcher:%'")
            .bind(laurel_events::Clock::now(&*world.clock))
            .fetch_one(world.pool())
            .await
            .unwrap()
    };
    timeout(PATIENCE, async {
        while holder().await != ("late".to_owned(), true) {
            yield_now().await;
        }
    })
    .await
    .expect("it asks");
    world.clock.advance(LEASE_OVER);
    let quick = replica(&world, "quick", Arc::new(chain.node.clone()));
    catch_up(&quick).await;
    line.set(LineState::Cut);
    hung.await.unwrap().unwrap_err();
    assert!(alerts(&world).await.is_empty());
    let since: Option<chrono::DateTime<chrono::Utc>> =
        sqlx::query_scalar("SELECT unfollowed_since FROM chains").fetch_one(world.pool()).await.unwrap();
    assert_eq!(since, None);
}

/// Blocks can be read, and nothing of them becomes final.
#[tokio::test]
async fn a_chain_whose_endpoints_are_too_few_is_told_of() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    let line = Line::to(chain.rpc_url()).await.unwrap();
    let good: Arc<dyn ChainNode> = Arc::new(chain.node.clone());
    let node = endpoints(&world, vec![good, over(&line), over(&line)], 2).await;
    let watcher = replica(&world, "one", node.clone());
    catch_up(&watcher).await;
    line.set(LineState::Cut);
    let look = async || {
        chain.mine(1).await;
        node.tend().await;
        catch_up(&watcher).await;
        world.clock.advance(LEASE_OVER);
    };
    for _ in 0..20 {
        look().await;
        assert!(alerts(&world).await.is_empty());
    }
    for _ in 0..2 {
        look().await;
    }
    assert_eq!(alerts(&world).await, not_followed());
    line.set(LineState::Good);
    // Endpoints that failed are left alone for a while.
    for _ in 0..3 {
        look().await;
    }
    assert!(alerts(&world).await.is_empty());
}
