//! What a campaign did not pay goes back once the vault has released it and nothing is held any more, and comes again if the chain
//! takes that back.

use alloy_primitives::B256;
use laurel_campaign::{
    By, CampaignError, CampaignState, Move, close_campaign, find_campaign, list_versions, request_funding,
};
use laurel_events::{
    Amount, CampaignId, CampaignReleaseUndone, CampaignReleased, EventKind, TokenGrantFailed, VoidProof,
};
use laurel_ledger::{TransferFilter, list_transfers};

use crate::world::{ORG, World, definition, funding, outcome, settle::confirmed};

fn release_of(campaign: CampaignId, spent: u64, released: u64) -> CampaignReleased {
    let capped = funding(campaign, 1);
    CampaignReleased {
        campaign,
        chain_id: capped.chain_id,
        vault: capped.vault,
        spent: Amount::from(spent),
        released: Amount::from(released),
        tx: B256::repeat_byte(8),
        block_number: 40,
        log_index: 0,
    }
}

async fn close(world: &World, campaign: CampaignId) -> Result<CampaignState, CampaignError> {
    let mut tx = world.pool().begin().await.unwrap();
    let closed = close_campaign(&mut tx, &world.context(), ORG, campaign, By::somebody("ada"), true).await?;
    tx.commit().await.unwrap();
    Ok(closed.state)
}

async fn state(world: &World, campaign: CampaignId) -> CampaignState {
    let mut conn = world.pool().acquire().await.unwrap();
    find_campaign(&mut conn, campaign).await.unwrap().unwrap().state
}

async fn returned(world: &World) -> i64 {
    world.number("SELECT sum(returned)::bigint FROM accounts").await
}

/// Two grants of 10 of 1,000: one is paid, one is held.
async fn one_paid_one_held(world: &mut World) -> CampaignId {
    let campaign = world.campaign(&definition(), 1_000).await;
    world.decide_all(&[outcome(1), outcome(2)]).await;
    let settled = world.batch(1, campaign, &[0]).await;
    world.confirm(confirmed(Some(1), vec![settled])).await;
    assert_eq!(world.money(campaign).await, (980, 10, 10));
    campaign
}

async fn fail_the_other(world: &mut World, campaign: CampaignId, tx: B256) {
    let proof = VoidProof::Released { seq: 1, tx };
    let failed = TokenGrantFailed { proof, ..world.failure(campaign, 1).await };
    world.append(&[failed.into()]).await;
    world.keep_books().await;
}

#[tokio::test]
async fn what_is_left_is_given_back_once_nothing_is_held() {
    let mut world = World::new().await;
    let campaign = one_paid_one_held(&mut world).await;
    assert!(matches!(close(&world, campaign).await, Err(CampaignError::State(_))), "it is not over");
    world.transition(campaign, Move::End).await;
    for _ in 0..2 {
        assert_eq!(close(&world, campaign).await.unwrap(), CampaignState::Closing);
    }
    assert_eq!(world.number("SELECT count(*) FROM closings").await, 1);
    let released = release_of(campaign, 10, 990);
    world.append(&[released.clone().into()]).await;
    world.keep_books().await;
    assert_eq!((state(&world, campaign).await, returned(&world).await), (CampaignState::Closing, 0));
    fail_the_other(&mut world, campaign, released.tx).await;
    assert_eq!((state(&world, campaign).await, returned(&world).await), (CampaignState::Closed, 990));
    assert_eq!(world.money(campaign).await, (0, 0, 10));
    world.audit().await;
    // Told again, it is given back once.
    world.append(&[released.into()]).await;
    world.keep_books().await;
    assert_eq!(returned(&world).await, 990);
    assert_eq!(world.events(EventKind::BudgetReturned).await.len(), 1);
    let mut conn = world.pool().acquire().await.unwrap();
    let versions = list_versions(&mut conn, campaign, None, 10).await.unwrap();
    let life: Vec<(&str, &str)> = versions.iter().rev().map(|v| (v.state.as_str(), v.by.as_str())).collect();
    assert_eq!(life[2..], [("ended", "manager"), ("closing", "ada"), ("closed", "laurel")]);
    let page = list_transfers(&mut conn, campaign, &TransferFilter::default(), 10).await.unwrap();
    let last = page.transfers.last().unwrap();
    assert_eq!((last.kind, last.debit, last.credit), ("return", "available", "returned"));
    assert_eq!(
        (last.amount, last.reference.as_str()),
        (Amount::from(990_u64), B256::repeat_byte(8).to_string().as_str())
    );
    let behind = TransferFilter { after: Some(last.cursor), ..TransferFilter::default() };
    assert_eq!(list_transfers(&mut conn, campaign, &behind, 10).await.unwrap().transfers, []);
    drop(conn);
    assert!(matches!(close(&world, campaign).await, Err(CampaignError::State(_))), "it is closed");
    world.finish().await;
}

#[tokio::test]
async fn a_release_that_the_chain_takes_back_opens_it_again() {
    let mut world = World::new().await;
    let campaign = one_paid_one_held(&mut world).await;
    world.transition(campaign, Move::End).await;
    close(&world, campaign).await.unwrap();
    let released = release_of(campaign, 10, 990);
    world.append(&[released.clone().into()]).await;
    fail_the_other(&mut world, campaign, released.tx).await;
    for _ in 0..2 {
        world.append(&[CampaignReleaseUndone { undone: released.clone() }.into()]).await;
        world.keep_books().await;
        assert_eq!((state(&world, campaign).await, returned(&world).await), (CampaignState::Closing, 0));
        assert_eq!(world.money(campaign).await, (980, 10, 10), "and what it had proven is held again");
        world.audit().await;
    }
    assert_eq!(world.events(EventKind::BudgetReclaimed).await.len(), 1);
    // In another block of the other fork.
    let again = CampaignReleased { tx: B256::repeat_byte(9), block_number: 41, ..released };
    world.append(&[again.clone().into()]).await;
    fail_the_other(&mut world, campaign, again.tx).await;
    assert_eq!((state(&world, campaign).await, returned(&world).await), (CampaignState::Closed, 990));
    assert_eq!(world.number("SELECT count(*) FROM returns").await, 3);
    world.finish().await;
}

/// It is not the treasury's, as far as the books can say whose it is.
#[tokio::test]
async fn what_was_paid_without_a_hold_is_not_given_back() {
    let mut world = World::new().await;
    let campaign = world.campaign(&definition(), 1_000).await;
    world.decide(outcome(1)).await;
    let settled = world.batch(1, campaign, &[0]).await;
    world.confirm(confirmed(None, vec![settled])).await;
    let failed = TokenGrantFailed { proof: VoidProof::NeverQueued, ..world.failure(campaign, 0).await };
    world.append(&[failed.into(), release_of(campaign, 10, 990).into()]).await;
    world.keep_books().await;
    assert_eq!((state(&world, campaign).await, returned(&world).await), (CampaignState::Closed, 990));
    assert_eq!(world.money(campaign).await, (10, 0, 0));
    world.finish().await;
}

#[tokio::test]
async fn one_without_money_is_closed_at_once_and_is_given_none() {
    let world = World::new().await;
    let id = world.draft(ORG, &definition()).await;
    world.transition(id, Move::End).await;
    assert_eq!(close(&world, id).await.unwrap(), CampaignState::Closed);
    assert_eq!(world.number("SELECT count(*) FROM closings").await, 0);
    let mut conn = world.pool().acquire().await.unwrap();
    let funded = request_funding(&mut conn, &world.context(), ORG, id, Amount::from(5_u64), "ada").await;
    assert!(matches!(funded, Err(CampaignError::Ended)), "{funded:?}");
}

/// The cap was on its way when it was closed without one.
#[tokio::test]
async fn a_cap_that_comes_to_a_closed_campaign_goes_back_as_well() {
    let mut world = World::new().await;
    let id = world.draft(ORG, &definition()).await;
    world.transition(id, Move::End).await;
    close(&world, id).await.unwrap();
    world.fund(id, 70).await;
    assert_eq!(close(&world, id).await.unwrap(), CampaignState::Closing);
    world.append(&[release_of(id, 0, 70).into()]).await;
    world.keep_books().await;
    assert_eq!((state(&world, id).await, returned(&world).await), (CampaignState::Closed, 70));
    world.finish().await;
}
