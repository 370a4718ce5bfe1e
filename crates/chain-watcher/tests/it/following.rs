//! Settlements are told when they are mined, and again when their block is final.

use std::sync::Arc;

use laurel_chain::ChainNode;
use laurel_events::{Amount, Event};

use crate::{
    chain::{AMOUNT, CAMPAIGN, CHAIN_ID, Chain, segment},
    journal,
    world::{World, catch_up},
};

#[tokio::test]
async fn a_settlement_is_mined_and_then_confirmed_with_what_it_paid() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    let watcher = world.watcher(Arc::new(chain.node.clone()));
    let (batch, signed) = world.settle(&chain, 250, 10).await;
    catch_up(&watcher).await;
    assert_eq!(journal::story(world.pool()).await, [], "it is in no block yet");

    chain.mine(1).await;
    let block = chain.head().await;
    catch_up(&watcher).await;
    let events = journal::events(world.pool()).await;
    let Some(Event::BlockchainTxMined(mined)) = events.last() else { panic!("{events:?}") };
    let sighting = &mined.sighting;
    assert_eq!((sighting.chain_id, sighting.vault), (CHAIN_ID, chain.vault));
    assert_eq!((sighting.tx, sighting.batch), (signed.hash, Some(batch)));
    assert_eq!((sighting.block_number, sighting.block_hash), (block.header.number, block.hash));

    // Two blocks on top make it final, and not one.
    chain.mine(1).await;
    catch_up(&watcher).await;
    assert_eq!(journal::story(world.pool()).await, [("BlockchainTxMined", block.header.number)]);
    chain.mine(1).await;
    catch_up(&watcher).await;
    let events = journal::events(world.pool()).await;
    let Some(Event::BlockchainTxConfirmed(confirmed)) = events.last() else { panic!("{events:?}") };
    assert_eq!((confirmed.sighting.tx, confirmed.sighting.batch), (signed.hash, Some(batch)));
    assert_eq!(confirmed.sighting.block_hash, block.hash);
    assert!(confirmed.sighting.transition > sighting.transition);
    assert!(confirmed.gas_used > 21_000, "{confirmed:?}");
    let [paid] = confirmed.segments.as_slice() else { panic!("{confirmed:?}") };
    assert_eq!((paid.campaign.on_chain(), paid.first_seq, paid.count), (CAMPAIGN, 250, 10));
    assert_eq!(paid.total, Amount::from(10 * AMOUNT));
    assert_eq!(paid.words_hash, segment(250, 10).words_hash());
    let mask = laurel_chain::PaidMask::new(paid.first_seq, paid.paid.clone());
    assert!(mask.seqs().eq(250..260), "over the edge of a bitmap word");

    // Nothing more comes of it.
    chain.mine(5).await;
    catch_up(&watcher).await;
    let told = ["BlockchainTxMined", "BlockchainTxConfirmed"].map(|kind| (kind, block.header.number));
    assert_eq!(journal::story(world.pool()).await, told);
}

/// The nonce is used and nothing is paid: the same as if the settlement had failed.
#[tokio::test]
async fn an_empty_transaction_in_the_place_of_a_settlement_ends_it_unpaid() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    let watcher = world.watcher(Arc::new(chain.node.clone()));
    let (batch, settlement) = world.settle(&chain, 0, 10).await;
    let empty = chain.empty_in_the_place_of(&settlement).await;
    world.submit_empty(batch, &empty).await;
    chain.node.send(empty.raw.clone()).await.unwrap();
    chain.mine(3).await;
    catch_up(&watcher).await;
    let events = journal::events(world.pool()).await;
    let [.., Event::BlockchainTxMined(mined), Event::BlockchainTxReverted(reverted)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((mined.sighting.tx, mined.sighting.batch), (empty.hash, Some(batch)));
    assert_eq!((reverted.sighting.tx, reverted.sighting.batch), (empty.hash, Some(batch)));
    assert_eq!(reverted.gas_used, 21_000);
}

#[tokio::test]
async fn a_settlement_that_reverts_is_told_when_it_is_final() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    let watcher = world.watcher(Arc::new(chain.node.clone()));
    let signed = chain.expired_settlement().await;
    let batch = world.submit(&signed).await;
    laurel_chain::ChainNode::send(&chain.node, signed.raw.clone()).await.unwrap();
    chain.mine(3).await;
    catch_up(&watcher).await;
    let events = journal::events(world.pool()).await;
    let Some(Event::BlockchainTxReverted(reverted)) = events.last() else { panic!("{events:?}") };
    assert_eq!((reverted.sighting.tx, reverted.sighting.batch), (signed.hash, Some(batch)));
    assert!(reverted.gas_used > 21_000);
    assert_eq!(events.iter().filter(|event| journal::sighting(event).is_some()).count(), 2, "{events:?}");
}

#[tokio::test]
async fn a_settlement_that_we_never_signed_is_told_without_a_batch() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    let watcher = world.watcher(Arc::new(chain.node.clone()));
    let signed = chain.settlement(0, 3).await;
    laurel_chain::ChainNode::send(&chain.node, signed.raw.clone()).await.unwrap();
    chain.mine(3).await;
    catch_up(&watcher).await;
    let events = journal::events(world.pool()).await;
    let Some(Event::BlockchainTxConfirmed(confirmed)) = events.last() else { panic!("{events:?}") };
    assert_eq!((confirmed.sighting.tx, confirmed.sighting.batch), (signed.hash, None));
    assert_eq!(confirmed.segments[0].total, Amount::from(3 * AMOUNT));
}

/// What tells two segments of one settlement apart: each has its own log.
#[tokio::test]
async fn segments_that_begin_at_one_seq_are_told_by_their_logs() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    let watcher = world.watcher(Arc::new(chain.node.clone()));
    // Something else of the vault stands before it in the block: indexes count in the block, not in the receipt.
    chain.open(11, 500).await;
    let signed = chain.settlement_of_one_seq_twice(500).await;
    laurel_chain::ChainNode::send(&chain.node, signed.raw.clone()).await.unwrap();
    chain.mine(1).await;
    let block = chain.head().await;
    chain.mine(2).await;
    catch_up(&watcher).await;
    let events = journal::events(world.pool()).await;
    let confirmed = events.iter().find_map(|event| match event {
        Event::BlockchainTxConfirmed(confirmed) => Some(confirmed),
        _ => None,
    });
    let told: Vec<(u64, u32, u32)> = confirmed
        .unwrap()
        .segments
        .iter()
        .map(|segment| (segment.first_seq, segment.count, segment.log_index))
        .collect();
    let receipts = laurel_chain::ChainNode::receipts(&chain.node, block.hash).await.unwrap().unwrap();
    let mut logged = Vec::new();
    let mut before = 0;
    for receipt in &receipts {
        for (index, log) in laurel_chain::decode_vault_logs(chain.vault, receipt.receipt.logs()).unwrap() {
            if let laurel_chain::VaultLog::Settled { first_seq, .. } = log {
                logged.push((first_seq, 1, u32::try_from(before + index).unwrap()));
            }
        }
        before += receipt.receipt.logs().len();
    }
    assert_eq!(told, logged);
    assert_eq!(told.len(), 2);
    assert_ne!(told[0].2, told[1].2);
}
