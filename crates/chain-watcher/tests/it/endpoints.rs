//! A chain that is followed by way of several endpoints.

use std::sync::Arc;

use alloy::primitives::B256;
use chrono::TimeDelta;
use laurel_chain::{ChainError, ChainNode, Endpoint, EndpointMetrics, Endpoints, EndpointsParts, HttpNode};
use laurel_chain_watcher::{ReconcileError, Watcher, WatcherError};
use laurel_devnet::testing::{Line, LineState};
use prometheus::Registry;

use crate::{
    chain::{CHAIN_ID, Chain},
    finality::{assert_halted, two_branches},
    journal,
    recorded::{Branch, Recorded},
    world::{World, catch_up, try_catch_up},
};

/// The nodes as endpoints of one chain, identified.
pub(crate) async fn endpoints(
    world: &World,
    nodes: Vec<Arc<dyn ChainNode>>,
    final_quorum: usize,
) -> Arc<Endpoints> {
    let endpoint = |node| Endpoint { host: "127.0.0.1".to_owned(), node };
    let endpoints = Endpoints::new(EndpointsParts {
        chain_id: CHAIN_ID,
        endpoints: nodes.into_iter().map(endpoint).collect(),
        final_quorum,
        clock: world.clock.clone(),
        seed: 7,
        metrics: EndpointMetrics::register(&Registry::new()).unwrap(),
    });
    endpoints.identify(None).await.unwrap();
    Arc::new(endpoints)
}

fn states(endpoints: &Endpoints) -> Vec<&'static str> {
    endpoints.status().iter().map(|endpoint| endpoint.state.as_str()).collect()
}

/// Catches up, however often what is read comes from two nodes.
async fn catch_up_at_last(watcher: &Watcher) {
    for _ in 0..10 {
        match try_catch_up(watcher).await {
            Ok(()) => return,
            Err(WatcherError::Halted(reason)) => panic!("halted: {reason}"),
            Err(_) => {}
        }
    }
    catch_up(watcher).await;
}

#[tokio::test]
async fn a_failover_is_no_reorganisation() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    let lines = [
        Line::to(chain.rpc_url()).await.unwrap(),
        Line::to(chain.rpc_url()).await.unwrap(),
        Line::to(chain.rpc_url()).await.unwrap(),
    ];
    let nodes = lines.iter().map(|line| Arc::new(HttpNode::new(line.url()).unwrap()) as Arc<dyn ChainNode>);
    let all = endpoints(&world, nodes.collect(), 2).await;
    let watcher = world.watcher(all.clone());
    let mut blocks = Vec::new();
    for (round, line) in lines.iter().enumerate() {
        world.settle(&chain, 10 * round as u64, 3).await;
        chain.mine(1).await;
        blocks.push(chain.head().await.header.number);
        catch_up(&watcher).await;
        line.set(LineState::Cut);
        chain.mine(3).await;
        world.clock.advance(TimeDelta::seconds(2));
        catch_up(&watcher).await;
        let position = world.position().await;
        assert_eq!(position.head_hash, Some(chain.head().await.hash), "{round}");
        assert_eq!(position.last_final, Some(chain.head().await.header.number - 2), "{round}");
        line.set(LineState::Good);
        world.clock.advance(TimeDelta::seconds(5));
        all.tend().await;
        assert_eq!(states(&all), ["closed"; 3]);
    }
    let told = blocks
        .iter()
        .flat_map(|block| ["BlockchainTxMined", "BlockchainTxConfirmed"].map(|kind| (kind, *block)));
    assert_eq!(journal::story(world.pool()).await, told.collect::<Vec<_>>());
    assert_eq!(world.position().await.halted, None);
}

#[tokio::test]
async fn a_liar_that_was_believed_is_outvoted_when_blocks_become_final() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    let (ours, other) = two_branches(&chain).await;
    let head = ours.head().header.number;
    let nodes = [Recorded::new(other.clone()), Recorded::new(ours.clone()), Recorded::new(ours.clone())];
    // So far, final is what both branches have.
    nodes.iter().for_each(|node| node.change(|script| script.finalized = ours.block(head - 4).cloned()));
    let all = endpoints(&world, nodes.iter().map(|node| node.clone() as _).collect(), 2).await;
    let watcher = world.watcher(all.clone());
    catch_up(&watcher).await;
    let position = world.position().await;
    assert_eq!((position.head_hash, position.last_final), (Some(other.head().hash), Some(head - 4)));

    nodes.iter().for_each(|node| node.change(|script| script.finalized = None));
    world.clock.advance(TimeDelta::seconds(2));
    catch_up_at_last(&watcher).await;
    let position = world.position().await;
    assert_eq!((position.head_hash, position.last_final), (Some(ours.head().hash), Some(head - 2)));
    assert_eq!(position.halted, None);
    assert_eq!(states(&all), ["open", "closed", "closed"]);
}

/// The one that is asked first has a block that follows nothing, or none, where all others have one: whatever else it says, its
/// chain cannot be followed, and so another one's is.
async fn is_followed_past_a_node(has_one: bool) {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    chain.mine(4).await;
    let before = Branch::of(&chain).await;
    chain.mine(4).await;
    let ours = Branch::of(&chain).await;
    let next = before.head().header.number + 1;
    let mut torn = if has_one { ours.clone() } else { before.clone() };
    if has_one {
        let block = &mut torn.blocks[usize::try_from(next).unwrap()];
        block.header.parent_hash = B256::repeat_byte(7);
        block.hash = block.header.hash_slow();
    }
    let nodes = [Recorded::new(before.clone()), Recorded::new(before.clone()), Recorded::new(before)];
    let all = endpoints(&world, nodes.iter().map(|node| node.clone() as _).collect(), 2).await;
    let watcher = world.watcher(all.clone());
    catch_up(&watcher).await;
    nodes[0].follow(&torn);
    nodes[1..].iter().for_each(|node| node.follow(&ours));
    nodes.iter().for_each(|node| {
        node.change(|script| {
            script.latest = Some(ours.head().clone());
            script.finalized = ours.block(next - 1).cloned();
        });
    });
    world.clock.advance(TimeDelta::seconds(2));
    catch_up_at_last(&watcher).await;
    let position = world.position().await;
    assert_eq!((position.head_hash, position.halted), (Some(ours.head().hash), None));
    assert_eq!(states(&all), ["open", "closed", "closed"]);
}

#[tokio::test]
async fn a_node_whose_blocks_do_not_follow_each_other_stops_nothing() {
    is_followed_past_a_node(true).await;
}

#[tokio::test]
async fn a_node_that_lacks_a_block_below_its_head_stops_nothing() {
    is_followed_past_a_node(false).await;
}

/// What stops payouts and pauses a vault is not one node's to make up; what others have as well is acted on at once.
#[tokio::test]
async fn a_strangers_settlement_that_one_node_tells_of_stops_nothing() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    // What settles is no lane's here.
    sqlx::query("DELETE FROM lanes").execute(world.pool()).await.unwrap();
    chain.mine(4).await;
    let before = Branch::of(&chain).await;
    let strangers = chain.settlement(3, 3).await;
    chain.node.send(strangers.raw.clone()).await.unwrap();
    chain.mine(1).await;
    let after = Branch::of(&chain).await;
    let nodes = [Recorded::new(after.clone()), Recorded::new(before.clone()), Recorded::new(before.clone())];
    nodes.iter().for_each(|node| node.change(|script| script.finalized = Some(before.head().clone())));
    let all = endpoints(&world, nodes.iter().map(|node| node.clone() as _).collect(), 2).await;
    let watcher = world.watcher(all.clone());
    catch_up_at_last(&watcher).await;
    let stops = async || {
        let stops: i64 =
            sqlx::query_scalar("SELECT count(*) FROM stops").fetch_one(world.pool()).await.unwrap();
        stops
    };
    assert_eq!((world.position().await.head_hash, stops().await), (Some(before.head().hash), 0));
    assert_eq!(states(&all), ["open", "closed", "closed"]);

    nodes[1..].iter().for_each(|node| node.follow(&after));
    world.clock.advance(TimeDelta::seconds(2));
    catch_up_at_last(&watcher).await;
    assert_eq!((world.position().await.head_hash, stops().await), (Some(after.head().hash), 1));
}

#[tokio::test]
async fn a_liar_that_is_asked_in_the_middle_of_a_step_halts_nothing() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    chain.mine(8).await;
    let short = Branch::of(&chain).await;
    chain.mine(3).await;
    let ours = Branch::of(&chain).await;
    // Deeper than what is final to us.
    chain.control.reorg(8).await.unwrap();
    let other = Branch::of(&chain).await;
    let nodes: Vec<Arc<Recorded>> = (0..4).map(|_| Recorded::new(short.clone())).collect();
    let all = endpoints(&world, nodes.iter().map(|node| node.clone() as _).collect(), 2).await;
    let watcher = world.watcher(all.clone());
    catch_up(&watcher).await;

    nodes.iter().for_each(|node| node.follow(&ours));
    nodes[1].follow(&other);
    // It tells its head and is silent then: the liar, which is next, is asked for the blocks.
    nodes[0].change(|script| script.answers = Some(1));
    let error = try_catch_up(&watcher).await.unwrap_err();
    assert!(matches!(error, WatcherError::Reconcile(ReconcileError::Torn { .. })), "{error:?}");
    catch_up(&watcher).await;
    let position = world.position().await;
    assert_eq!((position.head_hash, position.halted), (Some(ours.head().hash), None));
    assert_eq!(states(&all), ["open", "open", "closed", "closed"]);
}

#[tokio::test]
async fn endpoints_that_can_never_agree_halt_the_chain() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    let (ours, other) = two_branches(&chain).await;
    let head = ours.head().header.number;
    let nodes = [Recorded::new(ours.clone()), Recorded::new(other.clone())];
    nodes.iter().for_each(|node| node.change(|script| script.finalized = ours.block(head - 4).cloned()));
    let all = endpoints(&world, nodes.iter().map(|node| node.clone() as _).collect(), 2).await;
    let watcher = world.watcher(all);
    catch_up(&watcher).await;
    let before = world.position().await.last_final;
    nodes.iter().for_each(|node| node.change(|script| script.finalized = None));
    world.clock.advance(TimeDelta::seconds(2));
    let error = try_catch_up(&watcher).await.unwrap_err();
    let disagree =
        matches!(&error, WatcherError::Chain(ChainError::Disagreement { number, .. }) if *number == head - 2);
    assert!(disagree, "{error:?}");
    assert_eq!(world.position().await.last_final, before, "nothing became final");
    let [node, _] = nodes;
    assert_halted(&world, node).await;
}
