//! The chain took back what was final: batches and grants are under way again, each place is paid once.

use alloy::primitives::B256;
use laurel_events::{
    BlockchainTxConfirmed, BlockchainTxReverted, BlockchainTxSubmitted, BlockchainTxUndone, BudgetReheld,
    BudgetUnposted, CampaignId, EventKind, GrantId, GrantsCancelled, Sighting,
};
use laurel_grant_saga::{LaneDriver, Progress};

use crate::{
    batching::submitted,
    compensation::{both_revert_at_once, burned_by_owner, release_of},
    settling::{paid_only, posted, sighting, tell},
    world::{World, amount_of},
};

async fn count(world: &World, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(world.pool()).await.unwrap()
}

const REQUEUED: &str = "SELECT coalesce(sum(count), 0)::bigint FROM requeues";
const HELD: &str = "SELECT count(*) FROM exceptions WHERE state = 'held'";
const POSTED: &str = "SELECT count(*) FROM segments WHERE posted_at IS NOT NULL";

async fn states(world: &World) -> Vec<String> {
    sqlx::query_scalar("SELECT state FROM batches ORDER BY nonce").fetch_all(world.pool()).await.unwrap()
}

fn at(confirmed: &BlockchainTxConfirmed, transition: u64) -> BlockchainTxConfirmed {
    let sighting = Sighting { transition, ..confirmed.sighting.clone() };
    BlockchainTxConfirmed { sighting, ..confirmed.clone() }
}

async fn reverted(world: &World, batch: &BlockchainTxSubmitted, transition: u64) -> BlockchainTxReverted {
    let confirmed = paid_only(world, batch, 0).await;
    BlockchainTxReverted {
        sighting: sighting(world, batch, transition).await,
        gas_used: confirmed.gas_used,
        effective_gas_price: confirmed.effective_gas_price,
    }
}

async fn undo(
    world: &mut World,
    confirmed: &BlockchainTxConfirmed,
    batch: &BlockchainTxSubmitted,
    transition: u64,
) {
    let undone = BlockchainTxUndone {
        sighting: Sighting { transition, ..confirmed.sighting.clone() },
        segments: confirmed.segments.clone(),
    };
    tell(world, undone).await;
    let was = posted(batch, confirmed);
    if was.grants > 0 {
        let (campaign, batch, grants, amount) = (was.campaign, was.batch, was.grants, was.amount);
        tell(world, BudgetUnposted { campaign, batch, grants, amount, tx: was.tx, segments: was.segments })
            .await;
    }
}

/// Two grants whose first batch came to nothing and whose second one was paid.
async fn two_batches(world: &mut World) -> (CampaignId, BlockchainTxSubmitted, BlockchainTxSubmitted) {
    let campaign = world.campaign(7).await;
    world.queue(campaign, 2).await;
    // The chain is what the test says.
    world.control.pause_mining().await.unwrap();
    let mut driver = world.driver(1, "a").await;
    driver.step().await.unwrap();
    let first = submitted(world).await.remove(0);
    let nothing = reverted(world, &first, 1).await;
    tell(world, nothing).await;
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    let second = submitted(world).await.remove(1);
    assert_eq!(second.segments[0].first_seq, first.segments[0].first_seq);
    (campaign, first, second)
}

#[tokio::test]
async fn a_place_in_two_batches_is_paid_by_one_and_not_tried_again() {
    let mut world = World::new().await;
    let (_, first, second) = two_batches(&mut world).await;
    let by_second = at(&paid_only(&world, &second, 0b11).await, 2);
    tell(&mut world, by_second.clone()).await;
    tell(&mut world, posted(&second, &by_second)).await;
    assert_eq!(world.events(&[EventKind::TokenGrantCompleted]).await.len(), 2);

    undo(&mut world, &by_second, &second, 3).await;
    let nothing = paid_only(&world, &first, 0).await;
    let gone = BlockchainTxUndone {
        sighting: Sighting { transition: 4, ..nothing.sighting.clone() },
        segments: Vec::new(),
    };
    tell(&mut world, gone.clone()).await;
    tell(&mut world, gone).await;
    assert_eq!(states(&world).await, ["submitted", "submitted"]);
    assert_eq!(world.events(&[EventKind::TokenGrantReopened]).await.len(), 2);
    assert_eq!((count(&world, REQUEUED).await, count(&world, POSTED).await), (0, 0));

    // On the new branch the first batch's own transaction is mined and pays; the second one finds the bits set. Its word is
    // handled first.
    let by_nobody = at(&paid_only(&world, &second, 0).await, 6);
    tell(&mut world, by_nobody).await;
    assert_eq!(count(&world, REQUEUED).await, 0, "the first batch may yet pay them");
    let by_first = at(&paid_only(&world, &first, 0b11).await, 5);
    tell(&mut world, by_first.clone()).await;
    tell(&mut world, posted(&first, &by_first)).await;
    assert_eq!((count(&world, REQUEUED).await, count(&world, HELD).await), (0, 0));
    assert_eq!(
        world.events(&[EventKind::TokenGrantCompleted]).await.len(),
        4,
        "completed, reopened, completed"
    );
    let complete = "SELECT count(*) FROM grant_states WHERE state = 'completed' AND batch IS NOT NULL";
    assert_eq!(count(&world, complete).await, 2);
}

#[tokio::test]
async fn what_neither_batch_paid_goes_again_once() {
    let mut world = World::new().await;
    let (_, first, second) = two_batches(&mut world).await;
    let by_second = at(&paid_only(&world, &second, 0b11).await, 2);
    tell(&mut world, by_second.clone()).await;
    tell(&mut world, posted(&second, &by_second)).await;
    undo(&mut world, &by_second, &second, 3).await;
    let nothing = paid_only(&world, &first, 0).await;
    let gone = BlockchainTxUndone {
        sighting: Sighting { transition: 4, ..nothing.sighting.clone() },
        segments: Vec::new(),
    };
    tell(&mut world, gone).await;
    // The first one fails again, while the second is under way.
    let again = reverted(&world, &first, 5).await;
    tell(&mut world, again).await;
    assert_eq!(count(&world, REQUEUED).await, 0, "the second batch has them");
    // One of two is paid; the other one's recipient refuses.
    let half = at(&paid_only(&world, &second, 0b01).await, 6);
    tell(&mut world, half).await;
    assert_eq!((count(&world, REQUEUED).await, count(&world, HELD).await), (1, 1));
}

#[tokio::test]
async fn places_that_rest_go_with_their_batch_when_it_is_under_way_again() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    world.queue(campaign, 3).await;
    let mut driver = world.driver(1, "a").await;
    driver.step().await.unwrap();
    let batch = submitted(&world).await.remove(0);
    let part = at(&paid_only(&world, &batch, 0b101).await, 1);
    tell(&mut world, part.clone()).await;
    tell(&mut world, posted(&batch, &part)).await;
    assert_eq!((count(&world, REQUEUED).await, count(&world, HELD).await), (1, 1));
    undo(&mut world, &part, &batch, 2).await;
    assert_eq!((count(&world, REQUEUED).await, count(&world, POSTED).await), (0, 0));
    let all = at(&paid_only(&world, &batch, 0b111).await, 3);
    tell(&mut world, all.clone()).await;
    tell(&mut world, posted(&batch, &all)).await;
    assert_eq!((count(&world, REQUEUED).await, count(&world, HELD).await), (0, 0));
}

/// A batch of two grants, of which the chain is to say that it has paid the first.
struct HalfPaid {
    campaign: CampaignId,
    grants: Vec<GrantId>,
    driver: LaneDriver,
    batch: BlockchainTxSubmitted,
    part: BlockchainTxConfirmed,
}

async fn half_paid(world: &mut World) -> HalfPaid {
    let campaign = world.campaign(7).await;
    let grants = world.queue(campaign, 2).await;
    // The chain is what the test says.
    world.control.pause_mining().await.unwrap();
    let mut driver = world.driver(1, "a").await;
    driver.step().await.unwrap();
    let batch = submitted(world).await.remove(0);
    let part = at(&paid_only(world, &batch, 0b01).await, 1);
    HalfPaid { campaign, grants, driver, batch, part }
}

#[tokio::test]
async fn a_grant_that_is_held_again_of_a_released_campaign_fails_again() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let grants = world.queue(campaign, 1).await;
    let cancelled = burned_by_owner(&world, campaign, 0, 0b1);
    tell(&mut world, cancelled).await;
    let released = release_of(&world, campaign);
    tell(&mut world, released).await;
    tell(&mut world, BudgetReheld { grant: grants[0], amount: amount_of(grants[0]) }).await;
    let states = "SELECT count(*) FROM exceptions WHERE state = 'failed' AND reason = 'campaign_released'";
    assert_eq!((count(&world, states).await, count(&world, REQUEUED).await), (1, 0));
}

#[tokio::test]
async fn a_grant_whose_burning_is_gone_goes_again_with_its_place() {
    let mut world = World::new().await;
    let HalfPaid { campaign, grants, mut driver, batch, part } = half_paid(&mut world).await;
    tell(&mut world, part.clone()).await;
    tell(&mut world, posted(&batch, &part)).await;
    let cancelled = burned_by_owner(&world, campaign, 0, 0b10);
    tell(&mut world, cancelled).await;
    assert_eq!(count(&world, "SELECT count(*) FROM exceptions WHERE state = 'failed'").await, 1);
    let reheld = BudgetReheld { grant: grants[1], amount: amount_of(grants[1]) };
    for _ in 0..2 {
        tell(&mut world, reheld.clone()).await;
    }
    let queued = "SELECT count(*) FROM requeues WHERE first_seq = 1 AND count = 1";
    assert_eq!((count(&world, queued).await, count(&world, REQUEUED).await), (1, 1));
    assert_eq!(count(&world, "SELECT count(*) FROM exceptions WHERE state = 'queued' AND seq = 1").await, 1);
    // The batch that is settled has not paid it, so it is not taken for paid, whatever becomes of the next one.
    let shown = "SELECT count(*) FROM grant_states WHERE state = 'queued'";
    assert_eq!(count(&world, shown).await, 1);
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    let second = submitted(&world).await.remove(1);
    let nothing = reverted(&world, &second, 2).await;
    tell(&mut world, nothing).await;
    assert_eq!((count(&world, REQUEUED).await, count(&world, shown).await), (1, 1));
    let again = burned_by_owner(&world, campaign, 0, 0b10);
    tell(&mut world, GrantsCancelled { tx: B256::repeat_byte(8), ..again }).await;
    assert_eq!(count(&world, "SELECT count(*) FROM exceptions WHERE state = 'failed'").await, 1);
    assert_eq!(count(&world, REQUEUED).await, 0);
}

#[tokio::test]
async fn of_two_batches_of_a_place_that_end_at_once_one_has_it_go_again() {
    let mut world = World::new().await;
    let (_, first, second) = two_batches(&mut world).await;
    let nothing = paid_only(&world, &first, 0).await;
    let gone = BlockchainTxUndone {
        sighting: Sighting { transition: 2, ..nothing.sighting.clone() },
        segments: Vec::new(),
    };
    tell(&mut world, gone).await;
    assert_eq!(
        (&states(&world).await[..], count(&world, REQUEUED).await),
        (&["submitted".to_owned(), "submitted".to_owned()][..], 0)
    );
    both_revert_at_once(&world, &[first, second], 3).await;
    assert_eq!(count(&world, REQUEUED).await, 2);
}

/// What burns a place has it as well as what pays it.
#[tokio::test]
async fn a_place_that_is_about_to_be_burned_goes_again_when_nothing_has_it_any_more() {
    let mut world = World::new().await;
    let (campaign, first, second) = two_batches(&mut world).await;
    sqlx::query("DELETE FROM segments WHERE batch = $1")
        .bind(first.batch.uuid())
        .execute(world.pool())
        .await
        .unwrap();
    sqlx::query("INSERT INTO cancels (batch, campaign, seq) VALUES ($1, $2, 0)")
        .bind(first.batch.uuid())
        .bind(campaign.number())
        .execute(world.pool())
        .await
        .unwrap();
    let nothing = paid_only(&world, &first, 0).await;
    let gone = BlockchainTxUndone {
        sighting: Sighting { transition: 2, ..nothing.sighting.clone() },
        segments: Vec::new(),
    };
    tell(&mut world, gone).await;
    for (batch, transition, requeued) in [(&second, 3, 1), (&first, 4, 2)] {
        let nothing = reverted(&world, batch, transition).await;
        tell(&mut world, nothing).await;
        assert_eq!(count(&world, REQUEUED).await, requeued);
    }
}

/// Its place was burned before it was sent, so it is still where the queue will come to.
#[tokio::test]
async fn a_grant_whose_burning_is_gone_waits_once_in_the_queue() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let grants = world.queue(campaign, 3).await;
    let cancelled = burned_by_owner(&world, campaign, 0, 0b10);
    tell(&mut world, cancelled).await;
    assert_eq!(count(&world, "SELECT count(*) FROM exceptions WHERE state = 'failed'").await, 1);
    tell(&mut world, BudgetReheld { grant: grants[1], amount: amount_of(grants[1]) }).await;
    assert_eq!(count(&world, REQUEUED).await, 0);
    let mut driver = world.driver(1, "a").await;
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    let batch = submitted(&world).await.remove(0);
    assert_eq!((batch.segments[0].count, batch.segments[0].holes.len()), (3, 0));
}
