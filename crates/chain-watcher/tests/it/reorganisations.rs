//! What a reorganisation takes back is told, and what it brings again is told anew.

use std::{collections::BTreeSet, sync::Arc};

use laurel_chain::{ChainError, ChainNode};
use laurel_chain_watcher::WatcherError;

use crate::{
    chain::Chain,
    journal,
    recorded::{Branch, Recorded},
    world::{World, catch_up, try_catch_up},
};

async fn transitions(world: &World) -> Vec<u64> {
    let events = journal::events(world.pool()).await;
    events.iter().filter_map(|event| Some(journal::sighting(event)?.transition)).collect()
}

#[tokio::test]
async fn a_settlement_that_is_dropped_and_mined_again_is_three_facts() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    let watcher = world.watcher(Arc::new(chain.node.clone()));
    let (_, signed) = world.settle(&chain, 0, 3).await;
    chain.mine(1).await;
    let first = chain.head().await;
    catch_up(&watcher).await;

    chain.control.reorg(1).await.unwrap();
    chain.mine(1).await;
    catch_up(&watcher).await;
    let number = first.header.number;
    let dropped = [("BlockchainTxMined", number), ("BlockchainTxReorged", number)];
    assert_eq!(journal::story(world.pool()).await, dropped);

    // Anvil forgets what it drops, so the same bytes are sent again.
    chain.node.send(signed.raw.clone()).await.unwrap();
    chain.mine(1).await;
    let second = chain.head().await.header.number;
    catch_up(&watcher).await;
    chain.mine(2).await;
    catch_up(&watcher).await;
    let story = journal::story(world.pool()).await;
    assert_eq!(story[..2], dropped);
    assert_eq!(story[2..], [("BlockchainTxMined", second), ("BlockchainTxConfirmed", second)]);
    let transitions = transitions(&world).await;
    assert_eq!(transitions.iter().collect::<BTreeSet<_>>().len(), 4, "each has its own: {transitions:?}");
    let events = journal::events(world.pool()).await;
    assert!(events.iter().filter_map(journal::sighting).all(|sighting| sighting.tx == signed.hash));
    assert_eq!(world.position().await.head_hash, Some(chain.head().await.hash));
}

#[tokio::test]
async fn a_reorganisation_while_nobody_watched_shows_only_what_is_true_now() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    let watcher = world.watcher(Arc::new(chain.node.clone()));
    catch_up(&watcher).await;
    let (_, signed) = world.settle(&chain, 0, 3).await;
    chain.mine(1).await;
    chain.control.reorg(1).await.unwrap();
    chain.node.send(signed.raw.clone()).await.unwrap();
    chain.mine(3).await;
    let number = chain.head().await.header.number - 2;
    catch_up(&watcher).await;
    let told = ["BlockchainTxMined", "BlockchainTxConfirmed"].map(|kind| (kind, number));
    assert_eq!(journal::story(world.pool()).await, told);
}

#[tokio::test]
async fn a_head_that_flips_and_flips_back_is_three_facts() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    world.settle(&chain, 0, 3).await;
    chain.mine(1).await;
    let first = Branch::of(&chain).await;
    chain.control.reorg(1).await.unwrap();
    let second = Branch::of(&chain).await;
    let number = first.head().header.number;
    assert_eq!(second.head().header.number, number);
    assert_ne!(second.head().hash, first.head().hash);

    let node = Recorded::new(first.clone());
    let watcher = world.watcher(node.clone());
    for branch in [&first, &second, &first] {
        node.follow(branch);
        catch_up(&watcher).await;
        assert_eq!(world.position().await.head_hash, Some(branch.head().hash));
    }
    let kinds = ["BlockchainTxMined", "BlockchainTxReorged", "BlockchainTxMined"];
    assert_eq!(journal::story(world.pool()).await, kinds.map(|kind| (kind, number)));
    let transitions = transitions(&world).await;
    assert!(transitions.is_sorted_by(|one, next| one < next), "{transitions:?}");
}

#[tokio::test]
async fn blocks_are_taken_back_one_by_one_the_newest_first() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    let watcher = world.watcher(Arc::new(chain.node.clone()));
    for first_seq in [0, 3] {
        world.settle(&chain, first_seq, 3).await;
        chain.mine(1).await;
    }
    let head = chain.head().await.header.number;
    catch_up(&watcher).await;
    chain.control.reorg(2).await.unwrap();
    catch_up(&watcher).await;
    let story = journal::story(world.pool()).await;
    let mined = [head - 1, head].map(|number| ("BlockchainTxMined", number));
    let reorged = [head, head - 1].map(|number| ("BlockchainTxReorged", number));
    assert_eq!(story, [mined, reorged].concat());
    let transitions = transitions(&world).await;
    assert!(transitions.is_sorted_by(|one, next| one < next), "{transitions:?}");
}

#[tokio::test]
async fn the_vaults_own_deployment_may_be_reorganised() {
    let chain = Chain::new().await;
    let world = World::new(&chain).await;
    let watcher = world.watcher(Arc::new(chain.node.clone()));
    // The vault is in the head block, so the block before it is not final yet.
    catch_up(&watcher).await;
    chain.control.reorg(2).await.unwrap();
    chain.mine(1).await;
    catch_up(&watcher).await;
    assert_eq!(world.position().await.head_hash, Some(chain.head().await.hash));
}

/// A node that has replaced blocks and does not find the new ones by their numbers, as some of several nodes behind one
/// address do not: what was replaced does not become final because the new final block is above it.
#[tokio::test]
async fn what_was_replaced_is_not_final_while_the_new_blocks_are_not_found() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    world.settle(&chain, 0, 3).await;
    chain.mine(1).await;
    let settled = chain.head().await.header.number;
    let node = Recorded::new(Branch::of(&chain).await);
    let watcher = world.watcher(node.clone());
    catch_up(&watcher).await;
    chain.control.reorg(1).await.unwrap();
    chain.mine(6).await;
    let honest = Branch::of(&chain).await;
    node.follow(&honest.to(settled - 1));
    node.change(|script| {
        script.latest = Some(honest.head().clone());
        script.finalized = honest.block(settled + 2).cloned();
    });
    let error = try_catch_up(&watcher).await.unwrap_err();
    assert!(matches!(error, WatcherError::Chain(ChainError::Untrue(_))), "{error:?}");
    assert_eq!(journal::story(world.pool()).await, [("BlockchainTxMined", settled)]);

    node.change(|script| (script.latest, script.finalized) = (None, None));
    node.follow(&honest);
    catch_up(&watcher).await;
    let dropped = [("BlockchainTxMined", settled), ("BlockchainTxReorged", settled)];
    assert_eq!(journal::story(world.pool()).await, dropped);
}

#[tokio::test]
async fn a_head_that_was_replaced_while_the_node_was_asked_does_not_become_final() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    world.settle(&chain, 0, 3).await;
    chain.mine(1).await;
    let before = Branch::of(&chain).await;
    let settled = before.head().header.number;
    let node = Recorded::new(before.clone());
    let watcher = world.watcher(node.clone());
    catch_up(&watcher).await;
    chain.control.reorg(1).await.unwrap();
    chain.mine(6).await;
    let after = Branch::of(&chain).await;
    node.follow(&after);
    node.change(|script| {
        script.latest = Some(before.head().clone());
        script.finalized = after.block(settled + 2).cloned();
    });
    catch_up(&watcher).await;
    let dropped = [("BlockchainTxMined", settled), ("BlockchainTxReorged", settled)];
    assert_eq!(journal::story(world.pool()).await, dropped);
}
