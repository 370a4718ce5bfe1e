//! Finality only grows, and two truths about a final block stop everything.

use std::sync::Arc;

use laurel_chain::ChainError;
use laurel_chain_watcher::{Finality, ReconcileError, WatcherError};
use laurel_events::Event;

use crate::{
    chain::Chain,
    journal,
    recorded::{Branch, Recorded},
    world::{World, catch_up, try_catch_up},
};

/// The chain is halted, an alert says why, and nothing goes on.
pub(crate) async fn assert_halted(world: &World, node: Arc<Recorded>) {
    let position = world.position().await;
    let reason = position.halted.clone().unwrap();
    let before = journal::events(world.pool()).await;
    let alerts: Vec<_> = before
        .iter()
        .filter_map(|event| match event {
            Event::OperatorAlertRaised(alert) => {
                Some((alert.code.as_str(), alert.about.as_str(), &alert.detail))
            }
            _ => None,
        })
        .collect();
    assert_eq!(alerts, [("chain_halted", "chain:31337", &reason)]);
    let raised: i64 = sqlx::query_scalar("SELECT count(*) FROM alerts WHERE code = 'chain_halted'")
        .fetch_one(world.pool())
        .await
        .unwrap();
    assert_eq!(raised, 1);
    // Also for a process that starts afterwards, with a node that is all right again.
    node.change(|script| (script.finalized, script.latest) = (None, None));
    let error = try_catch_up(&world.watcher(node)).await.unwrap_err();
    assert!(matches!(&error, WatcherError::Halted(said) if *said == reason), "{error:?}");
    assert_eq!(journal::events(world.pool()).await, before);
    assert_eq!(world.position().await, position);
}

#[tokio::test]
async fn a_depth_makes_blocks_final_where_there_is_no_tag() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    let node = Arc::new(chain.node.clone());
    let watcher = world.replica("replica", node, Finality::Depth { depth: 4 }, world.clock.clone());
    world.settle(&chain, 0, 3).await;
    chain.mine(1).await;
    let number = chain.head().await.header.number;
    for confirmations in 1..=4 {
        chain.mine(1).await;
        catch_up(&watcher).await;
        let confirmed = (confirmations == 4).then_some(("BlockchainTxConfirmed", number));
        assert_eq!(journal::story(world.pool()).await.get(1).copied(), confirmed, "{confirmations}");
        assert_eq!(world.position().await.last_final, Some(number + confirmations - 4));
    }
}

#[tokio::test]
async fn finality_never_decreases() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    world.settle(&chain, 0, 3).await;
    chain.mine(6).await;
    let branch = Branch::of(&chain).await;
    let node = Recorded::new(branch.clone());
    let watcher = world.watcher(node.clone());
    catch_up(&watcher).await;
    let (position, told) = (world.position().await, journal::events(world.pool()).await);
    let last_final = position.last_final.unwrap();
    for number in [last_final - 1, last_final - 3, 0, last_final] {
        node.change(|script| script.finalized = branch.block(number).cloned());
        catch_up(&watcher).await;
        assert_eq!(world.position().await, position);
        assert_eq!(journal::events(world.pool()).await, told);
    }
}

#[tokio::test]
async fn a_reorganisation_of_final_blocks_halts_the_chain() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    let watcher = world.watcher(Arc::new(chain.node.clone()));
    world.settle(&chain, 0, 3).await;
    chain.mine(6).await;
    catch_up(&watcher).await;
    // Two blocks deeper than what is final.
    chain.control.reorg(4).await.unwrap();
    world.settle(&chain, 3, 3).await;
    chain.mine(4).await;
    let error = try_catch_up(&watcher).await.unwrap_err();
    let deep = matches!(error, WatcherError::Reconcile(ReconcileError::DeeperThanFinal { .. }));
    assert!(deep, "{error:?}");
    assert_halted(&world, Recorded::new(Branch::of(&chain).await)).await;
}

/// A branch, and another that leaves it four blocks before the head.
pub(crate) async fn two_branches(chain: &Chain) -> (Branch, Branch) {
    chain.mine(8).await;
    let ours = Branch::of(chain).await;
    chain.control.reorg(4).await.unwrap();
    (ours, Branch::of(chain).await)
}

#[tokio::test]
async fn a_final_block_with_another_hash_halts_the_chain() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    world.settle(&chain, 0, 3).await;
    let (ours, other) = two_branches(&chain).await;
    let head = ours.head().header.number;
    let node = Recorded::new(ours.clone());
    // So far, final is what both branches have.
    node.change(|script| script.finalized = ours.block(head - 4).cloned());
    let watcher = world.watcher(node.clone());
    catch_up(&watcher).await;
    let last_final = world.position().await.last_final;
    assert_eq!(last_final, Some(head - 4));

    node.change(|script| script.finalized = other.block(head - 2).cloned());
    let error = try_catch_up(&watcher).await.unwrap_err();
    assert!(matches!(&error, WatcherError::Finality(conflict) if conflict.number == head - 2), "{error:?}");
    assert_eq!(world.position().await.last_final, last_final, "nothing became final");
    assert_halted(&world, node).await;
}

#[tokio::test]
async fn another_hash_for_the_last_final_block_halts_the_chain() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    let (ours, other) = two_branches(&chain).await;
    let node = Recorded::new(ours.clone());
    let watcher = world.watcher(node.clone());
    catch_up(&watcher).await;
    let last_final = world.position().await.last_final.unwrap();
    // The whole node has changed its mind, but still has our head for its head.
    node.change(|script| {
        script.branch = other.clone();
        script.latest = Some(ours.head().clone());
        script.finalized = other.block(last_final).cloned();
    });
    let error = try_catch_up(&watcher).await.unwrap_err();
    assert!(matches!(&error, WatcherError::Finality(conflict) if conflict.number == last_final), "{error:?}");
    assert_halted(&world, node).await;
}

#[tokio::test]
async fn a_chain_that_changes_while_it_is_read_is_read_again() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    let (ours, other) = two_branches(&chain).await;
    let head = ours.head().header.number;
    let node = Recorded::new(ours.clone());
    node.change(|script| script.finalized = ours.block(head - 4).cloned());
    let watcher = world.watcher(node.clone());
    catch_up(&watcher).await;
    // The head was asked for before the reorganisation, the final block after it.
    node.change(|script| {
        script.branch = other.clone();
        script.latest = Some(ours.head().clone());
        script.finalized = other.block(head - 2).cloned();
    });
    let error = try_catch_up(&watcher).await.unwrap_err();
    assert!(matches!(error, WatcherError::Reconcile(ReconcileError::Torn { .. })), "{error:?}");
    // A node that does not find the block that it calls final says nothing about whose is canonical.
    node.follow(&other.to(head - 3));
    let error = try_catch_up(&watcher).await.unwrap_err();
    assert!(matches!(error, WatcherError::Chain(ChainError::Untrue(_))), "{error:?}");
    node.follow(&other);
    node.change(|script| script.latest = None);
    catch_up(&watcher).await;
    let position = world.position().await;
    assert_eq!((position.head_hash, position.last_final), (Some(other.head().hash), Some(head - 2)));
    assert_eq!(position.halted, None);
}

#[tokio::test]
async fn a_node_that_lags_behind_what_is_final_is_not_followed() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    chain.mine(6).await;
    let branch = Branch::of(&chain).await;
    let node = Recorded::new(branch.clone());
    let watcher = world.watcher(node.clone());
    catch_up(&watcher).await;
    let position = world.position().await;
    let last_final = position.last_final.unwrap();
    node.follow(&branch.to(last_final - 1));
    let error = try_catch_up(&watcher).await.unwrap_err();
    assert!(matches!(error, WatcherError::Behind { .. }), "{error:?}");
    assert!(error.to_string().contains("check the node"), "{error}");
    assert_eq!(world.position().await, position, "it may catch up");
    // Behind our head, but not behind what is final, it only has nothing to say.
    node.follow(&branch.to(last_final + 1));
    catch_up(&watcher).await;
    assert_eq!(world.position().await, position);
}
