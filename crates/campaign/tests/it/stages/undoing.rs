//! What the chain took back is taken back in the books, by entries of their own, and can be booked again.

use alloy_primitives::{Address, B256, U256};
use laurel_campaign::Caps;
use laurel_events::{
    BlockchainTxConfirmed, BlockchainTxUndone, CampaignFundingUndone, CampaignId, EventKind,
    GrantsCancelUndone, GrantsCancelled, TokenGrantFailed, VoidProof,
};

use crate::world::{World, definition, funding, outcome, settle::confirmed};

fn undone(confirmed: &BlockchainTxConfirmed) -> BlockchainTxUndone {
    BlockchainTxUndone { sighting: confirmed.sighting.clone(), segments: confirmed.segments.clone() }
}

async fn halted(world: &World) -> i64 {
    world.number("SELECT count(*) FROM queues WHERE halted = 'budget_short'").await
}

#[tokio::test]
async fn a_posting_is_undone_once_and_posted_again() {
    let mut world = World::new().await;
    let campaign = world.campaign(&definition(), 1_000).await;
    world.decide_all(&[outcome(1), outcome(1)]).await;
    let settled = world.batch(1, campaign, &[0, 1]).await;
    let confirmed = confirmed(Some(1), vec![settled]);
    world.confirm(confirmed.clone()).await;
    assert_eq!(world.money(campaign).await, (980, 0, 20));
    for _ in 0..2 {
        world.append(&[undone(&confirmed).into()]).await;
        world.keep_books().await;
        assert_eq!(world.money(campaign).await, (980, 20, 0));
        world.audit().await;
    }
    assert_eq!(world.events(EventKind::BudgetUnposted).await.len(), 1);
    // Another attempt pays, in another block.
    let mut other = confirmed.clone();
    (other.sighting.tx, other.sighting.block_number) = (B256::repeat_byte(9), 13);
    world.confirm(other.clone()).await;
    assert_eq!(world.money(campaign).await, (980, 0, 20));
    assert_eq!(world.events(EventKind::BudgetPosted).await.len(), 2);
    // What is said of the first attempt concerns nobody any more.
    world.append(&[undone(&confirmed).into()]).await;
    world.keep_books().await;
    assert_eq!(world.money(campaign).await, (980, 0, 20));
    assert_eq!(world.number("SELECT count(*) FROM postings").await, 3);
    world.finish().await;
}

#[tokio::test]
async fn what_a_stranger_paid_leaves_suspense_and_comes_back() {
    let mut world = World::new().await;
    let campaign = world.campaign(&definition(), 1_000).await;
    world.decide(outcome(1)).await;
    let settled = world.batch(1, campaign, &[0]).await;
    let stranger = confirmed(None, vec![settled]);
    let open = "SELECT coalesce(sum(open), 0)::bigint FROM open_suspense";
    for _ in 0..2 {
        world.confirm(stranger.clone()).await;
        assert_eq!(world.number(open).await, 10);
        world.append(&[undone(&stranger).into()]).await;
        world.keep_books().await;
        assert_eq!(world.number(open).await, 0);
    }
    assert_eq!(world.number("SELECT sum(amount)::bigint FROM suspense").await, 0);
    assert_eq!(world.number("SELECT count(*) FROM suspense").await, 4);
    world.finish().await;
}

#[tokio::test]
async fn a_cap_is_taken_back_as_far_as_nothing_is_held_of_it() {
    let mut world = World::new().await;
    let campaign = world.campaign(&definition(), 1).await;
    let capped = funding(campaign, 100);
    world.append(&[capped.clone().into()]).await;
    world.keep_books().await;
    world.decide_all(&[outcome(1), outcome(1), outcome(1)]).await;
    for _ in 0..2 {
        world.append(&[CampaignFundingUndone { undone: capped.clone() }.into()]).await;
        world.keep_books().await;
    }
    assert_eq!(world.money(campaign).await, (0, 30, 0));
    assert_eq!(halted(&world).await, 1);
    assert_eq!(world.decide(outcome(1)).await, ["budget_exhausted"]);
    world.audit().await;
    // Less than what grants stand on does not end it.
    world.fund(campaign, 20).await;
    assert_eq!((world.money(campaign).await, halted(&world).await), ((0, 30, 0), 1));
    // The same transaction at the same place of another block.
    world.append(&[capped.into()]).await;
    world.keep_books().await;
    assert_eq!(world.money(campaign).await, (70, 30, 0));
    assert_eq!(halted(&world).await, 0);
    assert_eq!(world.number("SELECT count(*) FROM alerts WHERE code = 'budget_short'").await, 0);
    world.finish().await;
}

async fn cancel_one(world: &mut World, campaign: CampaignId) -> GrantsCancelled {
    let capped = funding(campaign, 1);
    let cancelled = GrantsCancelled {
        campaign,
        chain_id: capped.chain_id,
        vault: capped.vault,
        word: 0,
        mask: U256::from(1),
        tx: B256::repeat_byte(7),
        block_number: 20,
        log_index: 0,
    };
    let proof = VoidProof::Cancelled { seq: 0, tx: cancelled.tx };
    let failed = TokenGrantFailed { proof, ..world.failure(campaign, 0).await };
    world.append(&[failed.into()]).await;
    world.keep_books().await;
    cancelled
}

#[tokio::test]
async fn a_void_whose_proof_is_gone_is_held_again() {
    let mut world = World::new().await;
    let caps = Caps { grants_per_player: Some(1), ..Caps::default() };
    let campaign = world.campaign(&laurel_campaign::Definition { caps, ..definition() }, 20).await;
    world.decide(outcome(1)).await;
    let cancelled = cancel_one(&mut world, campaign).await;
    assert_eq!(world.money(campaign).await, (20, 0, 0));
    assert_eq!(world.decide(outcome(1)).await, ["granted 10"], "the cap was given back");
    for _ in 0..2 {
        world.append(&[GrantsCancelUndone { undone: cancelled.clone() }.into()]).await;
        world.keep_books().await;
        assert_eq!(world.money(campaign).await, (0, 20, 0));
    }
    assert_eq!(world.events(EventKind::BudgetReheld).await.len(), 1);
    // And cancelled again.
    cancel_one(&mut world, campaign).await;
    assert_eq!(world.money(campaign).await, (10, 10, 0));
    world.finish().await;
}

/// A grant's hold was given back, another grant has the amount, and the proof of the first one is gone.
async fn owing(world: &mut World) -> (CampaignId, GrantsCancelled) {
    let campaign = world.campaign(&definition(), 10).await;
    world.decide(outcome(1)).await;
    let cancelled = cancel_one(world, campaign).await;
    assert_eq!(world.decide(outcome(2)).await, ["granted 10"]);
    world.append(&[GrantsCancelUndone { undone: cancelled.clone() }.into()]).await;
    world.keep_books().await;
    assert_eq!((world.money(campaign).await, halted(world).await), ((0, 10, 0), 1));
    assert_eq!(world.events(EventKind::BudgetReheld).await.len(), 0);
    (campaign, cancelled)
}

#[tokio::test]
async fn a_hold_for_which_there_is_no_money_is_made_when_there_is() {
    let mut world = World::new().await;
    let (campaign, _) = owing(&mut world).await;
    // Too little ends it not.
    world.fund(campaign, 15).await;
    assert_eq!((world.money(campaign).await, halted(&world).await), ((5, 10, 0), 1));
    world.fund(campaign, 25).await;
    assert_eq!((world.money(campaign).await, halted(&world).await), ((5, 20, 0), 0));
    assert_eq!(world.events(EventKind::BudgetReheld).await.len(), 1);
    assert_eq!(world.number("SELECT count(*) FROM alerts WHERE code = 'budget_short'").await, 0);
    world.fund(campaign, 40).await;
    assert_eq!(world.money(campaign).await, (20, 20, 0), "once");
    world.finish().await;
}

#[tokio::test]
async fn nothing_is_held_again_of_a_place_that_is_burned_again() {
    let mut world = World::new().await;
    let (campaign, cancelled) = owing(&mut world).await;
    let other_word = GrantsCancelled { word: 1, ..cancelled.clone() };
    let other_vault = GrantsCancelled { vault: Address::repeat_byte(9), ..cancelled.clone() };
    world.append(&[other_word.into(), other_vault.into()]).await;
    world.keep_books().await;
    assert_eq!(world.number("SELECT count(*) FROM owed_holds").await, 1);
    world.append(&[cancelled.into()]).await;
    world.fund(campaign, 40).await;
    assert_eq!((world.money(campaign).await, halted(&world).await), ((30, 10, 0), 0));
    assert_eq!(world.events(EventKind::BudgetReheld).await.len(), 0);
    world.finish().await;
}

#[tokio::test]
async fn a_counter_that_is_kept_since_counts_what_is_held_again() {
    let mut world = World::new().await;
    let campaign = world.campaign(&definition(), 20).await;
    world.decide(outcome(1)).await;
    let cancelled = cancel_one(&mut world, campaign).await;
    world.change(campaign, |definition| definition.caps.grants_per_player = Some(1)).await;
    assert_eq!(world.number("SELECT count(*) FROM counters").await, 0);
    world.append(&[GrantsCancelUndone { undone: cancelled }.into()]).await;
    world.keep_books().await;
    assert_eq!(world.money(campaign).await, (10, 10, 0));
    assert_eq!(world.number("SELECT sum(grants)::bigint FROM counters").await, 1);
    world.finish().await;
}

#[tokio::test]
async fn a_void_whose_money_is_granted_to_others_is_told() {
    let mut world = World::new().await;
    let campaign = world.campaign(&definition(), 10).await;
    world.decide(outcome(1)).await;
    let cancelled = cancel_one(&mut world, campaign).await;
    world.decide(outcome(2)).await;
    world.append(&[GrantsCancelUndone { undone: cancelled }.into()]).await;
    world.keep_books().await;
    assert_eq!(world.money(campaign).await, (0, 10, 0));
    assert_eq!(halted(&world).await, 1);
    assert_eq!(world.number("SELECT count(*) FROM alerts WHERE code = 'budget_short'").await, 1);
    world.finish().await;
}
