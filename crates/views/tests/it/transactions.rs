//! TransactionHistoryView: every transaction that was signed.

use alloy_primitives::B256;
use laurel_events::GrantId;
use laurel_views::{TransactionFilter, find_transaction, grants_of_transaction, list_transactions};

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
    let pending = states(list_transactions(&mut conn, ORG, &TransactionFilter::default(), 10).await.unwrap());
    assert_eq!(pending, [(tx_of(2), "submitted".to_owned()), (tx_of(3), "submitted".to_owned())]);
    sqlx::query(
        "UPDATE batches SET state = 'confirmed', mined_tx = $1, block_number = 12, gas_used = 100000,
                        effective_gas_price = 7",
    )
    .bind(tx_of(3).as_slice())
    .execute(world.pool())
    .await
    .unwrap();
    let done = states(list_transactions(&mut conn, ORG, &TransactionFilter::default(), 10).await.unwrap());
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
    let listed = list_transactions(&mut conn, ORG, &TransactionFilter::default(), 10).await.unwrap();
    assert_eq!(listed.iter().map(|found| found.tx).collect::<Vec<_>>(), [tx_of(2)]);
    assert!(find_transaction(&mut conn, ORG, tx_of(1)).await.unwrap().is_none());
    let others = list_transactions(&mut conn, world.other, &TransactionFilter::default(), 10).await.unwrap();
    assert_eq!(others.len(), 2);
    let after_first = TransactionFilter { after: Some(others[0].attempt), ..TransactionFilter::default() };
    let after = list_transactions(&mut conn, world.other, &after_first, 10).await.unwrap();
    assert_eq!(after, others[1..]);
    let grants = grants_of_transaction(&mut conn, ORG, batch_of(2)).await.unwrap();
    assert_eq!(grants, [0, 1].map(|number| GrantId { campaign: own, number }));
    let grants = grants_of_transaction(&mut conn, world.other, batch_of(2)).await.unwrap();
    assert_eq!(grants, [GrantId { campaign: foreign, number: 0 }]);
}
