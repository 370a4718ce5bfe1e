//! What a node says is refused where it can be checked and is not true.

use laurel_chain::{ChainError, TxReceipt};
use laurel_chain_watcher::WatcherError;

use crate::{
    chain::Chain,
    journal,
    recorded::{Branch, Recorded},
    world::{World, catch_up, try_catch_up},
};

#[tokio::test]
async fn receipts_that_are_not_the_blocks_are_refused() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    world.settle(&chain, 0, 3).await;
    chain.mine(1).await;
    let block = chain.head().await;
    chain.mine(3).await;
    let other = chain.settlement(3, 3).await;
    laurel_chain::ChainNode::send(&chain.node, other.raw.clone()).await.unwrap();
    chain.mine(1).await;
    let honest = Branch::of(&chain).await;
    let stolen = honest.receipts[&honest.head().hash].clone();
    let node = Recorded::new(honest.to(block.header.number - 1));
    let watcher = world.watcher(node.clone());
    catch_up(&watcher).await;
    let position = world.position().await;

    let lies: [(&str, Option<Vec<TxReceipt>>); 4] = [
        ("no receipts", None),
        ("an empty list", Some(Vec::new())),
        ("another block's", Some(stolen.clone())),
        (
            "another block's under this transaction's hash",
            Some(vec![TxReceipt { tx: block.transactions[0], ..stolen[0].clone() }]),
        ),
    ];
    for (what, receipts) in lies {
        let mut lying = honest.clone();
        match receipts {
            Some(receipts) => lying.receipts.insert(block.hash, receipts),
            None => lying.receipts.remove(&block.hash),
        };
        node.follow(&lying);
        let error = try_catch_up(&watcher).await.unwrap_err();
        assert!(matches!(error, WatcherError::Chain(ChainError::Untrue(_))), "{what}: {error:?}");
        assert_eq!(world.position().await, position, "{what}: nothing of it was taken");
        assert_eq!(journal::story(world.pool()).await, [], "{what}");
    }

    node.follow(&honest);
    catch_up(&watcher).await;
    let number = block.header.number;
    let told = ["BlockchainTxMined", "BlockchainTxConfirmed"].map(|kind| (kind, number));
    assert_eq!(journal::story(world.pool()).await, told);
}

#[tokio::test]
async fn blocks_that_do_not_follow_each_other_are_refused() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    chain.mine(8).await;
    let honest = Branch::of(&chain).await;
    let node = Recorded::new(honest.to(honest.head().header.number - 4));
    let watcher = world.watcher(node.clone());
    catch_up(&watcher).await;
    let position = world.position().await;
    let mut torn = honest.clone();
    let last = torn.blocks.len() - 1;
    torn.blocks[last - 1].hash = alloy::primitives::B256::repeat_byte(1);
    node.follow(&torn);
    node.change(|script| script.finalized = honest.block(position.last_final.unwrap()).cloned());
    try_catch_up(&watcher).await.unwrap_err();
    assert_eq!(world.position().await, position);
}

/// The header covers which transaction a receipt belongs to: a node that exchanges two hashes, in its list and in its
/// receipts alike, would have our payment be a stranger's.
#[tokio::test]
async fn exchanged_transaction_hashes_are_refused() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    world.settle(&chain, 0, 3).await;
    chain.own(Some(chain.token), Vec::new()).await;
    chain.open(11, 500).await;
    chain.mine(1).await;
    let block = chain.head().await;
    assert!(block.transactions.len() > 1);
    chain.mine(6).await;
    let mut lying = Branch::of(&chain).await;
    let at = usize::try_from(block.header.number).unwrap();
    lying.blocks[at].transactions.swap(0, 1);
    let receipts = lying.receipts.get_mut(&block.hash).unwrap();
    (receipts[0].tx, receipts[1].tx) = (receipts[1].tx, receipts[0].tx);
    let watcher = world.watcher(Recorded::new(lying));
    assert!(try_catch_up(&watcher).await.is_err());
}
