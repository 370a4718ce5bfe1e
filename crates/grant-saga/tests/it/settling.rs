//! What the chain said of a batch: paid, refused, reverted; the place stays the same through all of it.

use alloy::primitives::U256;
use laurel_chain::{BlockRef, ChainNode, VaultLog, decode_vault_logs};
use laurel_events::{
    Amount, BlockchainTxConfirmed, BlockchainTxMined, BlockchainTxReorged, BlockchainTxReverted,
    BlockchainTxSubmitted, BudgetPosted, Event, EventKind, NewEvent, PaidSegment, SettledSegment, Sighting,
};
use laurel_grant_saga::Progress;
use laurel_ledger::{Context, append};

use crate::{
    batching::submitted,
    world::{LIFETIME, World, amount_of, drain},
};

/// What the watcher would say of a batch, from the newest block.
pub(crate) async fn sighting(world: &World, batch: &BlockchainTxSubmitted, transition: u64) -> Sighting {
    let block = world.node.block(BlockRef::Latest).await.unwrap().unwrap();
    Sighting {
        chain_id: batch.chain_id,
        vault: batch.vault,
        transition,
        tx: batch.tx,
        batch: Some(batch.batch),
        block_number: block.header.number,
        block_hash: block.hash,
    }
}

/// Tells the saga, as the watcher's transaction does.
pub(crate) async fn tell(world: &mut World, event: impl Into<NewEvent>) {
    let mut conn = world.pool().acquire().await.unwrap();
    append(&mut conn, &Context::at(world.now()), &[event.into()]).await.unwrap();
    drop(conn);
    drain(&mut world.settlements).await;
    drain(&mut world.grants).await;
}

/// The final word on a mined batch, with what its receipt says.
pub(crate) async fn confirmed(
    world: &World,
    batch: &BlockchainTxSubmitted,
    transition: u64,
) -> BlockchainTxConfirmed {
    let mut sighting = sighting(world, batch, transition).await;
    let receipt = loop {
        let receipts = world.node.receipts(sighting.block_hash).await.unwrap().unwrap();
        if let Some(receipt) = receipts.into_iter().find(|receipt| receipt.tx == batch.tx) {
            break receipt;
        }
        let before = BlockRef::Number(sighting.block_number.checked_sub(1).expect("it is in a block"));
        let block = world.node.block(before).await.unwrap().unwrap();
        (sighting.block_number, sighting.block_hash) = (block.header.number, block.hash);
    };
    let logs = decode_vault_logs(batch.vault, receipt.receipt.logs()).unwrap();
    let segments = logs
        .into_iter()
        .filter_map(|(index, log)| match log {
            VaultLog::Settled { campaign, first_seq, total, words_hash, paid, .. } => Some(SettledSegment {
                log_index: u32::try_from(index).unwrap(),
                campaign: campaign.into(),
                first_seq,
                count: u32::try_from(paid.iter().map(|word: &U256| word.count_ones()).sum::<usize>())
                    .unwrap(),
                total,
                words_hash,
                paid,
            }),
            _ => None,
        })
        .collect();
    let effective_gas_price = Amount::from(receipt.effective_gas_price);
    BlockchainTxConfirmed { sighting, gas_used: receipt.gas_used, effective_gas_price, segments }
}

/// The same for a batch in no block: the test says which of its first places were paid.
pub(crate) async fn paid_only(
    world: &World,
    batch: &BlockchainTxSubmitted,
    paid: u64,
) -> BlockchainTxConfirmed {
    let segment = &batch.segments[0];
    let settled = SettledSegment {
        log_index: 0,
        campaign: segment.campaign,
        first_seq: segment.first_seq,
        count: paid.count_ones(),
        total: segment.total,
        words_hash: segment.words_hash,
        paid: vec![U256::from(paid)],
    };
    BlockchainTxConfirmed {
        sighting: sighting(world, batch, 1).await,
        gas_used: 100_000,
        effective_gas_price: Amount::from(1_u64),
        segments: vec![settled],
    }
}

async fn states(world: &World) -> Vec<(String, i64)> {
    sqlx::query_as("SELECT state, transition FROM batches ORDER BY nonce")
        .fetch_all(world.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_paid_batch_completes_its_grants_once_the_books_have_it() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let grants = world.queue(campaign, 3).await;
    let mut driver = world.driver(1, "a").await;
    driver.step().await.unwrap();
    let batch = submitted(&world).await.remove(0);
    let confirmed = confirmed(&world, &batch, 2).await;
    let mined = BlockchainTxMined { sighting: Sighting { transition: 1, ..confirmed.sighting.clone() } };
    tell(&mut world, mined).await;
    tell(&mut world, confirmed.clone()).await;
    assert_eq!(states(&world).await, [("confirmed".to_owned(), 2)]);
    assert_eq!(world.events(&[EventKind::TokenGrantCompleted]).await.len(), 0, "the books come first");
    tell(&mut world, posted(&batch, &confirmed)).await;
    let mut completed: Vec<_> = world
        .events(&[EventKind::TokenGrantCompleted])
        .await
        .into_iter()
        .map(|envelope| match envelope.event {
            Event::TokenGrantCompleted(completed) => (completed.grant, completed.batch),
            _ => panic!("not asked for"),
        })
        .collect();
    completed.sort_unstable();
    assert_eq!(completed, grants.iter().map(|grant| (*grant, batch.batch)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_block_that_goes_away_takes_its_state_along_and_old_news_changes_nothing() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    world.queue(campaign, 1).await;
    world.driver(1, "a").await.step().await.unwrap();
    let batch = submitted(&world).await.remove(0);
    let at = |sighting: &Sighting, transition| Sighting { transition, ..sighting.clone() };
    let seen = sighting(&world, &batch, 0).await;
    tell(&mut world, BlockchainTxMined { sighting: at(&seen, 1) }).await;
    assert_eq!(states(&world).await, [("mined".to_owned(), 1)]);
    tell(&mut world, BlockchainTxReorged { sighting: at(&seen, 2) }).await;
    assert_eq!(states(&world).await, [("submitted".to_owned(), 2)]);
    tell(&mut world, BlockchainTxMined { sighting: at(&seen, 1) }).await;
    assert_eq!(states(&world).await, [("submitted".to_owned(), 2)], "news of before are old");
    tell(&mut world, BlockchainTxMined { sighting: at(&seen, 3) }).await;
    assert_eq!(states(&world).await, [("mined".to_owned(), 3)]);
}

#[tokio::test]
async fn a_settlement_that_expired_goes_again_with_the_same_places() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let (player, wallet) = world.player_with_wallet().await;
    let grant = world.request(campaign, &[player]).await[0];
    drain(&mut world.grants).await;
    world.control.pause_mining().await.unwrap();
    let mut driver = world.driver(1, "a").await;
    driver.step().await.unwrap();
    world.control.warp(LIFETIME.as_secs() + 60).await.unwrap();
    world.control.mine(1).await.unwrap();
    assert_eq!(world.balance(wallet).await, 0, "the vault refuses what is past its deadline");
    let first = submitted(&world).await.remove(0);
    let reverted = BlockchainTxReverted {
        sighting: sighting(&world, &first, 1).await,
        gas_used: 30_000,
        effective_gas_price: Amount::from(1_u128),
    };
    tell(&mut world, reverted.clone()).await;
    tell(&mut world, reverted).await;
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    assert_eq!(driver.step().await.unwrap(), Progress::Idle, "told twice, queued once");
    world.control.mine(1).await.unwrap();
    let batches = submitted(&world).await;
    assert_eq!(batches.len(), 2);
    assert_eq!(batches[1].segments, batches[0].segments, "same place, same word");
    assert_eq!(world.balance(wallet).await, u128::try_from(amount_of(grant).units()).unwrap());
}

/// A settlement that succeeded has a log of each of its segments: one without is a contradiction, no refusal of everybody.
#[tokio::test]
async fn a_confirmation_without_our_segment_halts() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    world.queue(campaign, 2).await;
    world.driver(1, "a").await.step().await.unwrap();
    let batch = submitted(&world).await.remove(0);
    let whole = confirmed(&world, &batch, 1).await;
    let other_words = SettledSegment { words_hash: batch.tx, ..whole.segments[0].clone() };
    let lies = [Vec::new(), vec![other_words]];
    for segments in lies {
        let mut tx = world.pool().begin().await.unwrap();
        let confirmed = BlockchainTxConfirmed { segments, ..whole.clone() };
        append(&mut tx, &Context::at(world.now()), &[confirmed.into()]).await.unwrap();
        tx.commit().await.unwrap();
        let mut halted = false;
        for _ in 0..3 {
            halted |= world.settlements.round().await.is_err();
        }
        assert!(halted);
        assert_eq!(states(&world).await, [("submitted".to_owned(), 0)]);
    }
}

#[tokio::test]
async fn of_a_partly_paid_batch_only_the_paid_grants_are_complete() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let grants = world.queue(campaign, 3).await;
    world.control.pause_mining().await.unwrap();
    world.driver(1, "a").await.step().await.unwrap();
    let batch = submitted(&world).await.remove(0);
    let confirmed = paid_only(&world, &batch, 0b101).await;
    tell(&mut world, confirmed.clone()).await;
    tell(&mut world, posted(&batch, &confirmed)).await;
    let completed: Vec<_> = world
        .events(&[EventKind::TokenGrantCompleted])
        .await
        .into_iter()
        .filter_map(|envelope| match envelope.event {
            Event::TokenGrantCompleted(completed) => Some(completed.grant),
            _ => None,
        })
        .collect();
    assert_eq!(completed, [grants[0], grants[2]]);
}

pub(crate) fn posted(batch: &BlockchainTxSubmitted, confirmed: &BlockchainTxConfirmed) -> BudgetPosted {
    let segment = &confirmed.segments[0];
    BudgetPosted {
        campaign: segment.campaign,
        batch: batch.batch,
        grants: segment.count,
        amount: segment.total,
        tx: batch.tx,
        segments: vec![PaidSegment { first_seq: segment.first_seq, paid: segment.paid.clone() }],
    }
}
