//! Money moves once, never below zero, and never for another amount.

use alloy_primitives::B256;
use laurel_events::{Amount, BatchId, GrantId, VoidProof};
use laurel_ledger::{
    Balances, LedgerError, Posting, Written, find_balances, fund, hold, lock_accounts, post, void,
};
use uuid::Uuid;

use crate::world::{database, funded_campaign, funding, hold_of, now};

fn posting(campaign: laurel_events::CampaignId, grants: u32, amount: u64) -> Posting {
    Posting {
        batch: BatchId::from(Uuid::from_u128(1)),
        campaign,
        grants,
        amount: Amount::from(amount),
        tx: B256::repeat_byte(4),
    }
}

#[tokio::test]
async fn a_hold_is_posted_or_voided_and_the_books_add_up() {
    let database = database().await;
    let campaign = funded_campaign(database.pool(), 7, 100).await;
    let mut tx = database.pool().begin().await.unwrap();
    let holds = [hold_of(campaign, 0, 30), hold_of(campaign, 1, 20), hold_of(campaign, 2, 5)];
    hold(&mut tx, now(), &holds).await.unwrap();
    assert_eq!(post(&mut tx, now(), &posting(campaign, 2, 50)).await.unwrap(), Written::Created);
    let grant = GrantId { campaign, number: 2 };
    void(&mut tx, now(), grant, Amount::from(5_u64), &VoidProof::NeverQueued).await.unwrap();
    let balances = find_balances(&mut tx, campaign).await.unwrap().unwrap();
    let expected = Balances {
        funded: Amount::from(100_u64),
        available: Amount::from(50_u64),
        reserved: Amount::ZERO,
        paid: Amount::from(50_u64),
        returned: Amount::ZERO,
        overdrawn: Amount::ZERO,
        grants: 3,
        declines: 0,
    };
    assert_eq!(balances, expected);
}

#[tokio::test]
async fn a_transfer_written_twice_moves_money_once() {
    let database = database().await;
    let campaign = funded_campaign(database.pool(), 7, 100).await;
    let mut tx = database.pool().begin().await.unwrap();
    hold(&mut tx, now(), &[hold_of(campaign, 0, 30), hold_of(campaign, 1, 20)]).await.unwrap();
    let grant = GrantId { campaign, number: 1 };
    let proof = VoidProof::NeverQueued;
    for expected in [Written::Created, Written::Exists, Written::Exists] {
        assert_eq!(post(&mut tx, now(), &posting(campaign, 1, 30)).await.unwrap(), expected);
        assert_eq!(void(&mut tx, now(), grant, Amount::from(20_u64), &proof).await.unwrap(), expected);
    }
    assert_eq!(fund(&mut tx, now(), &funding(campaign, 100, 0)).await.unwrap(), None);
    let balances = find_balances(&mut tx, campaign).await.unwrap().unwrap();
    assert_eq!((balances.paid, balances.available), (Amount::from(30_u64), Amount::from(70_u64)));
}

#[tokio::test]
async fn a_transfer_with_other_content_is_an_error() {
    let database = database().await;
    let campaign = funded_campaign(database.pool(), 7, 100).await;
    let mut tx = database.pool().begin().await.unwrap();
    hold(&mut tx, now(), &[hold_of(campaign, 0, 30), hold_of(campaign, 1, 20)]).await.unwrap();
    post(&mut tx, now(), &posting(campaign, 1, 30)).await.unwrap();
    let other = post(&mut tx, now(), &posting(campaign, 1, 31)).await;
    assert!(matches!(other, Err(LedgerError::ExistsDifferent { field: "amount", .. })), "{other:?}");
    let mut moved = posting(campaign, 1, 30);
    moved.tx = B256::repeat_byte(5);
    let other = post(&mut tx, now(), &moved).await;
    assert!(matches!(other, Err(LedgerError::ExistsDifferent { field: "tx", .. })), "{other:?}");
    let other = fund(&mut tx, now(), &funding(campaign, 101, 0)).await;
    assert!(matches!(other, Err(LedgerError::ExistsDifferent { field: "cap", .. })), "{other:?}");
}

#[tokio::test]
async fn no_balance_falls_below_zero() {
    let database = database().await;
    let pool = database.pool();
    let campaign = funded_campaign(pool, 7, 100).await;
    let mut tx = pool.begin().await.unwrap();
    assert!(hold(&mut tx, now(), &[hold_of(campaign, 0, 101)]).await.is_err());
    drop(tx);
    let mut tx = pool.begin().await.unwrap();
    hold(&mut tx, now(), &[hold_of(campaign, 0, 100)]).await.unwrap();
    assert!(post(&mut tx, now(), &posting(campaign, 1, 101)).await.is_err());
    drop(tx);
    let mut tx = pool.begin().await.unwrap();
    let grant = GrantId { campaign, number: 0 };
    assert!(void(&mut tx, now(), grant, Amount::from(1_u64), &VoidProof::NeverQueued).await.is_err());
}

#[tokio::test]
async fn an_outcome_is_granted_once_by_a_campaign() {
    let database = database().await;
    let campaign = funded_campaign(database.pool(), 7, 100).await;
    let mut tx = database.pool().begin().await.unwrap();
    hold(&mut tx, now(), &[hold_of(campaign, 0, 1)]).await.unwrap();
    let mut again = hold_of(campaign, 1, 1);
    again.cause = hold_of(campaign, 0, 1).cause;
    assert!(hold(&mut tx, now(), &[again]).await.is_err());
}

#[tokio::test]
async fn a_cap_only_rises() {
    let database = database().await;
    let campaign = funded_campaign(database.pool(), 7, 100).await;
    let mut tx = database.pool().begin().await.unwrap();
    fund(&mut tx, now(), &funding(campaign, 150, 1)).await.unwrap();
    fund(&mut tx, now(), &funding(campaign, 120, 2)).await.unwrap();
    let balances = find_balances(&mut tx, campaign).await.unwrap().unwrap();
    assert_eq!((balances.funded, balances.available), (Amount::from(150_u64), Amount::from(150_u64)));
}

#[tokio::test]
async fn books_are_locked_for_one_at_a_time() {
    let database = database().await;
    let pool = database.pool();
    let campaign = funded_campaign(pool, 7, 100).await;
    let mut first = pool.begin().await.unwrap();
    lock_accounts(&mut first, &[campaign]).await.unwrap();
    let mut second = pool.begin().await.unwrap();
    sqlx::query("SET LOCAL lock_timeout = '50ms'").execute(&mut *second).await.unwrap();
    let refused = lock_accounts(&mut second, &[campaign]).await.unwrap_err();
    assert!(refused.is_infrastructure(), "{refused:?}");
}
