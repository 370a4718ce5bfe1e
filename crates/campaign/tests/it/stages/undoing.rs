//! What the chain took back is taken back in the books, by entries of their own, and can be booked again.

use alloy_primitives::{B256, U256};
use laurel_campaign::{Caps, acknowledge_alert};
use laurel_events::{
    Amount, BlockchainTxConfirmed, BlockchainTxUndone, CampaignFundingUndone, CampaignId,
    CampaignReleaseUndone, CampaignReleased, Clock as _, EventKind, GrantsCancelUndone, GrantsCancelled,
    TokenGrantFailed, VoidProof,
};
use laurel_ledger::{Context, list_alerts};

use crate::world::{World, definition, funding, outcome, settle::confirmed};

fn undone(confirmed: &BlockchainTxConfirmed) -> BlockchainTxUndone {
    BlockchainTxUndone { sighting: confirmed.sighting.clone(), segments: confirmed.segments.clone() }
}

async fn halted(world: &World) -> i64 {
    world.number("SELECT count(*) FROM queues WHERE 'budget_short' = ANY (halted)").await
}

async fn overdrawn(world: &World) -> i64 {
    world.number("SELECT sum(overdrawn)::bigint FROM accounts").await
}

async fn alerts(world: &World) -> i64 {
    world.number("SELECT count(*) FROM alerts WHERE code = 'budget_short'").await
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
    assert_eq!((world.money(campaign).await, overdrawn(&world).await), ((0, 30, 0), 29));
    assert_eq!((halted(&world).await, alerts(&world).await), (1, 1));
    assert_eq!(world.decide(outcome(1)).await, ["budget_exhausted"]);
    world.audit().await;
    // Less than what grants stand on does not end it.
    world.fund(campaign, 20).await;
    assert_eq!((world.money(campaign).await, overdrawn(&world).await), ((0, 30, 0), 10));
    assert_eq!(halted(&world).await, 1);
    // The same transaction at the same place of another block.
    world.append(&[capped.into()]).await;
    world.keep_books().await;
    assert_eq!(world.money(campaign).await, (70, 30, 0));
    assert_eq!((overdrawn(&world).await, halted(&world).await, alerts(&world).await), (0, 0, 0));
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
async fn overdraw(world: &mut World) -> CampaignId {
    let campaign = world.campaign(&definition(), 10).await;
    world.decide(outcome(1)).await;
    let cancelled = cancel_one(world, campaign).await;
    assert_eq!(world.decide(outcome(2)).await, ["granted 10"]);
    for _ in 0..2 {
        world.append(&[GrantsCancelUndone { undone: cancelled.clone() }.into()]).await;
        world.keep_books().await;
    }
    assert_eq!((world.money(campaign).await, overdrawn(world).await), ((0, 20, 0), 10));
    assert_eq!((halted(world).await, alerts(world).await), (1, 1));
    assert_eq!(world.events(EventKind::BudgetReheld).await.len(), 1);
    assert_eq!(world.decide(outcome(3)).await, ["budget_exhausted"]);
    world.audit().await;
    campaign
}

#[tokio::test]
async fn a_hold_for_which_there_is_no_money_waits_for_a_higher_cap() {
    let mut world = World::new().await;
    let campaign = overdraw(&mut world).await;
    // Too little ends it not.
    world.fund(campaign, 15).await;
    assert_eq!((world.money(campaign).await, overdrawn(&world).await), ((0, 20, 0), 5));
    assert_eq!((halted(&world).await, alerts(&world).await), (1, 1));
    world.audit().await;
    world.fund(campaign, 25).await;
    assert_eq!((world.money(campaign).await, overdrawn(&world).await), ((5, 20, 0), 0));
    assert_eq!((halted(&world).await, alerts(&world).await), (0, 0));
    world.fund(campaign, 40).await;
    assert_eq!(world.money(campaign).await, (20, 20, 0), "once");
    world.finish().await;
}

#[tokio::test]
async fn what_fails_again_covers_what_is_overdrawn() {
    let mut world = World::new().await;
    let campaign = overdraw(&mut world).await;
    cancel_one(&mut world, campaign).await;
    assert_eq!((world.money(campaign).await, overdrawn(&world).await), ((0, 10, 0), 0));
    assert_eq!((halted(&world).await, alerts(&world).await), (0, 0));
    assert_eq!(world.decide(outcome(4)).await, ["budget_exhausted"]);
    world.finish().await;
}

/// The chain has paid it on its new branch: both the one that was void before and the one that had its amount.
#[tokio::test]
async fn what_is_overdrawn_can_be_paid() {
    let mut world = World::new().await;
    let campaign = overdraw(&mut world).await;
    let settled = world.batch(1, campaign, &[0]).await;
    world.confirm(confirmed(Some(1), vec![settled])).await;
    assert_eq!((world.money(campaign).await, overdrawn(&world).await), ((0, 10, 10), 10));
    world.fund(campaign, 20).await;
    assert_eq!((world.money(campaign).await, overdrawn(&world).await), ((0, 10, 10), 0));
    assert_eq!(halted(&world).await, 0);
    world.finish().await;
}

/// An operator deals with the payment; that the campaign is overdrawn cannot be acknowledged.
#[tokio::test]
async fn a_queue_goes_on_when_nothing_halts_it_any_more() {
    let mut world = World::new().await;
    let campaign = overdraw(&mut world).await;
    let settled = world.batch(1, campaign, &[0]).await;
    world.confirm(confirmed(None, vec![settled])).await;
    let mut conn = world.pool().acquire().await.unwrap();
    let context = Context::at(world.clock.now());
    for alert in list_alerts(&mut conn, None, 100).await.unwrap() {
        let acknowledged = acknowledge_alert(&mut conn, &context, &alert.code, &alert.about).await;
        assert_eq!(acknowledged.is_ok(), alert.code != "budget_short", "{acknowledged:?}");
    }
    drop(conn);
    assert_eq!(halted(&world).await, 1);
    world.fund(campaign, 15).await;
    assert_eq!((halted(&world).await, alerts(&world).await), (1, 1));
    let settled = world.batch(2, campaign, &[1]).await;
    world.confirm(confirmed(None, vec![settled])).await;
    world.fund(campaign, 25).await;
    assert_eq!(halted(&world).await, 0);
    let waits = "SELECT count(*) FROM queues WHERE halted = ARRAY['payment_without_hold']";
    assert_eq!(world.number(waits).await, 1);
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

/// A campaign was released with more grants than holds are made again at once.
#[tokio::test]
async fn the_holds_of_a_release_that_is_gone_are_made_again_portion_by_portion() {
    const GRANTS: u64 = 3_403;
    let mut world = World::new().await;
    let campaign = world.campaign(&definition(), 10 * GRANTS).await;
    let outcomes: Vec<_> = (0..GRANTS).map(|number| outcome(number % 7)).collect();
    for some in outcomes.chunks(300) {
        world.decide_all(some).await;
    }
    let tx = B256::repeat_byte(8);
    let mut failures = Vec::new();
    for number in 0..GRANTS {
        let proof = VoidProof::Released { seq: number, tx };
        failures.push(TokenGrantFailed { proof, ..world.failure(campaign, number).await }.into());
    }
    world.append(&failures).await;
    world.keep_books().await;
    assert_eq!(world.money(campaign).await, (10 * GRANTS, 0, 0));
    let capped = funding(campaign, 1);
    let released = CampaignReleased {
        campaign,
        chain_id: capped.chain_id,
        vault: capped.vault,
        spent: Amount::ZERO,
        released: Amount::from(10 * GRANTS),
        tx,
        block_number: 9,
        log_index: 0,
    };
    // What burned places that nobody was given goes with it, and follows it.
    let burned = |tx: u8| {
        let tx = B256::repeat_byte(tx);
        let (word, mask, block_number, log_index) = (0, U256::from(1), 9, 0);
        let (chain_id, vault) = (capped.chain_id, capped.vault);
        GrantsCancelUndone {
            undone: GrantsCancelled { campaign, chain_id, vault, word, mask, tx, block_number, log_index },
        }
    };
    let release = CampaignReleaseUndone { undone: released };
    world.append(&[release.into(), burned(9).into(), burned(10).into()]).await;
    world.books_round().await.unwrap();
    assert_eq!(world.money(campaign).await, (10 * (GRANTS - 3_000), 10 * 3_000, 0), "a portion for each");
    assert_eq!(world.number("SELECT count(*) FROM reholdings").await, 3);
    world.keep_books().await;
    assert_eq!(world.money(campaign).await, (0, 10 * GRANTS, 0));
    assert_eq!(world.number("SELECT count(*) FROM reholdings").await, 0);
    assert_eq!(world.events(EventKind::BudgetReheld).await.len(), usize::try_from(GRANTS).unwrap());
    world.finish().await;
}
