//! TransactionHistoryView: every transaction that was signed.

use alloy_primitives::{Address, B256};
use laurel_events::{CampaignId, GrantId};
use laurel_views::{
    TransactionFilter, TransactionKind, TransactionTotals, TransactionView, find_transaction,
    grants_of_transaction, list_transactions, transaction_totals,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use sqlx::PgConnection;

use crate::world::{Batch, CHAIN, ORG, TOKEN, World, batch_of, tx_of};

#[tokio::test]
async fn every_attempt_is_there_and_the_outbid_one_is_replaced() {
    let world = World::new().await;
    let campaign = world.campaign(7, ORG, TOKEN).await;
    world.batch(Batch { id: 2, campaign, first_seq: 0, count: 3, state: "submitted", posted: false }).await;
    world.attempt(3, 2, 200).await;
    let mut conn = world.pool().acquire().await.unwrap();
    let states = |found: Vec<laurel_views::TransactionView>| -> Vec<(B256, String)> {
        found.into_iter().map(|transaction| (transaction.tx, transaction.state)).collect()
    };
    let pending = states(
        list_transactions(&mut conn, ORG, &TransactionFilter::default(), 10).await.unwrap().transactions,
    );
    assert_eq!(pending, [(tx_of(2), "submitted".to_owned()), (tx_of(3), "submitted".to_owned())]);
    sqlx::query(
        "UPDATE batches SET state = 'confirmed', mined_tx = $1, block_number = 12, gas_used = 100000,
                        effective_gas_price = 7",
    )
    .bind(tx_of(3).as_slice())
    .execute(world.pool())
    .await
    .unwrap();
    let done = states(
        list_transactions(&mut conn, ORG, &TransactionFilter::default(), 10).await.unwrap().transactions,
    );
    assert_eq!(done, [(tx_of(2), "replaced".to_owned()), (tx_of(3), "confirmed".to_owned())]);

    let found = find_transaction(&mut conn, ORG, tx_of(3)).await.unwrap().unwrap();
    assert_eq!((found.batch, found.chain_id, found.nonce, found.grants), (batch_of(2), CHAIN, 0, 3));
    assert_eq!(
        (found.gas_limit, found.max_fee_per_gas.to_string(), found.block),
        (21_000, "200".to_owned(), Some(12))
    );
    assert_eq!(
        (found.gas_used, found.effective_gas_price.map(|price| price.to_string())),
        (Some(100_000), Some("7".to_owned()))
    );
    let outbid = find_transaction(&mut conn, ORG, tx_of(2)).await.unwrap().unwrap();
    assert_eq!((outbid.block, outbid.gas_used), (None, None), "the block has the other attempt");
    assert!(find_transaction(&mut conn, ORG, tx_of(9)).await.unwrap().is_none());
}

#[tokio::test]
async fn an_organisation_sees_its_own_transactions_and_of_shared_ones_its_own_grants() {
    let world = World::new().await;
    let own = world.campaign(7, ORG, TOKEN).await;
    let foreign = world.campaign(8, world.other, TOKEN).await;
    for campaign in [own, own, foreign] {
        world.grant(campaign, 1, 5).await;
    }
    world.run(own, 0, &[0, 1], true).await;
    world.run(foreign, 0, &[0], true).await;
    world
        .batch(Batch { id: 1, campaign: foreign, first_seq: 0, count: 1, state: "submitted", posted: false })
        .await;
    world
        .batch(Batch { id: 2, campaign: own, first_seq: 0, count: 2, state: "submitted", posted: false })
        .await;
    let shared =
        Batch { id: 2, campaign: foreign, first_seq: 0, count: 1, state: "submitted", posted: false };
    world.segment(&shared).await;

    let mut conn = world.pool().acquire().await.unwrap();
    let listed =
        list_transactions(&mut conn, ORG, &TransactionFilter::default(), 10).await.unwrap().transactions;
    assert_eq!(listed.iter().map(|found| found.tx).collect::<Vec<_>>(), [tx_of(2)]);
    assert!(find_transaction(&mut conn, ORG, tx_of(1)).await.unwrap().is_none());
    let others = list_transactions(&mut conn, world.other, &TransactionFilter::default(), 10)
        .await
        .unwrap()
        .transactions;
    assert_eq!(others.len(), 2);
    let after_first = TransactionFilter { after: Some(others[0].attempt), ..TransactionFilter::default() };
    let after = list_transactions(&mut conn, world.other, &after_first, 10).await.unwrap().transactions;
    assert_eq!(after, others[1..]);
    let grants = grants_of_transaction(&mut conn, ORG, batch_of(2)).await.unwrap();
    assert_eq!(grants, [0, 1].map(|number| GrantId { campaign: own, number }));
    let grants = grants_of_transaction(&mut conn, world.other, batch_of(2)).await.unwrap();
    assert_eq!(grants, [GrantId { campaign: foreign, number: 0 }]);
}

const OTHER_TOKEN: Address = Address::repeat_byte(8);

/// How many combinations are asked for.
const QUESTIONS: u64 = 200;

/// Batches of two campaigns in several blocks, some of which were outbid.
async fn world_with_attempts() -> World {
    let world = World::new().await;
    for (campaign, token) in [(7, TOKEN), (8, OTHER_TOKEN)] {
        world.campaign(campaign, ORG, token).await;
    }
    for at in 0..8_u32 {
        world.pass();
        let (campaign, id) = (CampaignId::from(7 + u64::from(at % 2)), u128::from(at) * 10 + 1);
        let first_seq = i64::from(at) * 2;
        let state = ["confirmed", "mined", "submitted", "reverted"][at as usize % 4];
        world.batch(Batch { id, campaign, first_seq, count: 2, state, posted: false }).await;
        if at % 3 == 0 {
            world.pass();
            world.attempt(id + 1, id, 200).await;
            // The later one was mined.
            sqlx::query("UPDATE batches SET mined_tx = $2 WHERE id = $1 AND mined_tx IS NOT NULL")
                .bind(batch_of(id).uuid())
                .bind(tx_of(id + 1).as_slice())
                .execute(world.pool())
                .await
                .unwrap();
        }
    }
    let placed =
        "UPDATE batches SET block_number = nonce + 10, gas_used = 1000, effective_gas_price = nonce + 1
                  WHERE state IN ('confirmed', 'reverted')";
    sqlx::query(placed).execute(world.pool()).await.unwrap();
    world
}

async fn all(conn: &mut PgConnection, filter: TransactionFilter<'_>, limit: i64) -> Vec<TransactionView> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = list_transactions(conn, ORG, &TransactionFilter { after, ..filter }, limit).await.unwrap();
        assert!(page.transactions.len() as i64 <= limit);
        found.extend(page.transactions);
        if page.next.is_none() {
            return found;
        }
        after = page.next;
    }
}

/// One of them, or none of them.
fn maybe<T: Copy>(rng: &mut StdRng, values: &[T]) -> Option<T> {
    let at = rng.random_range(0..values.len() * 3);
    values.get(at).copied()
}

#[tokio::test]
async fn any_question_is_answered_as_if_every_transaction_was_looked_at() {
    let world = world_with_attempts().await;
    let mut conn = world.pool().acquire().await.unwrap();
    let every = all(&mut conn, TransactionFilter::default(), 100).await;
    assert_eq!(every.len(), 11);
    // Batches are of one campaign and the other in turn.
    let campaign_of = |found: &TransactionView| CampaignId::from(7 + found.nonce % 2);
    let times: Vec<_> = every.iter().map(|found| found.signed_at).collect();
    let states: Vec<&str> = every.iter().map(|found| found.state.as_str()).collect();
    let mut answers = 0;
    for seed in 0..QUESTIONS {
        let rng = &mut StdRng::seed_from_u64(seed);
        let filter = TransactionFilter {
            campaign: maybe(rng, &[7_u64, 8, 9].map(CampaignId::from)),
            token: maybe(rng, &[TOKEN, OTHER_TOKEN]),
            chain_id: maybe(rng, &[CHAIN, CHAIN, 1]),
            state: maybe(rng, &states),
            from: maybe(rng, &[every[0].from, Address::ZERO]),
            replacement: maybe(rng, &[true, false]),
            signed: (maybe(rng, &times), maybe(rng, &times)),
            blocks: (maybe(rng, &[10, 11, 13]), maybe(rng, &[10, 13, 17])),
            batches: None,
            after: None,
        };
        let wanted = |found: &&TransactionView| {
            filter.campaign.is_none_or(|campaign| campaign == campaign_of(found))
                && filter.token.is_none_or(|token| (token == TOKEN) == found.nonce.is_multiple_of(2))
                && filter.chain_id.is_none_or(|chain| chain == found.chain_id)
                && filter.state.is_none_or(|state| state == found.state)
                && filter.from.is_none_or(|from| from == found.from)
                && filter.replacement.is_none_or(|replacement| replacement == (found.number > 0))
                && filter.signed.0.is_none_or(|from| found.signed_at >= from)
                && filter.signed.1.is_none_or(|until| found.signed_at < until)
                && (filter.blocks.0.is_none() || found.block >= filter.blocks.0)
                && (filter.blocks.1.is_none()
                    || found.block.is_some_and(|block| Some(block) <= filter.blocks.1))
        };
        let expected: Vec<TransactionView> = every.iter().filter(wanted).cloned().collect();
        answers += expected.len();
        let limit = [1, 3, 100][rng.random_range(0..3)];
        assert_eq!(all(&mut conn, filter, limit).await, expected, "{seed}, {limit} a page: {filter:?}");
    }
    assert!(answers > 100, "{answers}: the questions had few answers");
}

#[tokio::test]
async fn totals_are_what_final_blocks_cost() {
    let world = world_with_attempts().await;
    let mut conn = world.pool().acquire().await.unwrap();
    let totals = transaction_totals(&mut conn, ORG, &TransactionFilter::default()).await.unwrap();
    // Nonces 0, 3, 4 and 7 are in final blocks, at 1,000 gas and their number and one a unit.
    let fees = laurel_events::Amount::from(1_000 * (1 + 4 + 5 + 8_u64));
    assert_eq!(totals, TransactionTotals { transactions: 11, paid_for: 4, gas_used: 4_000, fees });
    let replacements = TransactionFilter { replacement: Some(true), ..TransactionFilter::default() };
    let totals = transaction_totals(&mut conn, ORG, &replacements).await.unwrap();
    let fees = laurel_events::Amount::from(1_000 * (1 + 4_u64));
    assert_eq!(totals, TransactionTotals { transactions: 3, paid_for: 2, gas_used: 2_000, fees });
    let none = transaction_totals(&mut conn, world.other, &TransactionFilter::default()).await.unwrap();
    assert_eq!(none, TransactionTotals::default());
}

#[tokio::test]
async fn what_a_transaction_does_is_told() {
    let world = World::new().await;
    let campaign = world.campaign(7, ORG, TOKEN).await;
    for id in [1, 2] {
        world
            .batch(Batch { id, campaign, first_seq: id as i64, count: 1, state: "submitted", posted: false })
            .await;
    }
    sqlx::query("DELETE FROM segments WHERE batch = $1")
        .bind(batch_of(2).uuid())
        .execute(world.pool())
        .await
        .unwrap();
    sqlx::query("INSERT INTO cancels (batch, campaign, seq) VALUES ($1, 7, 5)")
        .bind(batch_of(2).uuid())
        .execute(world.pool())
        .await
        .unwrap();
    let mut conn = world.pool().acquire().await.unwrap();
    let kinds: Vec<TransactionKind> =
        all(&mut conn, TransactionFilter::default(), 10).await.iter().map(|found| found.kind).collect();
    assert_eq!(kinds, [TransactionKind::Settlement, TransactionKind::Cancel]);
}
