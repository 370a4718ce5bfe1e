//! What a final settlement paid is posted once; what it paid without a hold is suspense.

use alloy_primitives::B256;
use laurel_campaign::{Move, acknowledge_alert, find_campaign};
use laurel_events::{Amount, BudgetPosted, CampaignId, Clock, Event, EventKind, SettledSegment};
use laurel_ledger::{Context, list_alerts};

use crate::world::{
    World, data, definition, outcome,
    settle::{confirmed, mask},
};

async fn posted(world: &World) -> Vec<BudgetPosted> {
    data(world.events(EventKind::BudgetPosted).await, |event| match event {
        Event::BudgetPosted(posted) => Some(posted),
        _ => None,
    })
}

async fn with_grants(world: &mut World, grants: u64) -> laurel_events::CampaignId {
    let campaign = world.campaign(&definition(), 1_000).await;
    let outcomes: Vec<_> = (0..grants).map(|_| outcome(1)).collect();
    world.decide_all(&outcomes).await;
    campaign
}

#[tokio::test]
async fn a_batch_is_one_posting_per_campaign() {
    let mut world = World::new().await;
    let (one, two) = {
        let one = world.campaign(&definition(), 1_000).await;
        (one, world.campaign(&definition(), 1_000).await)
    };
    world.decide_all(&[outcome(1), outcome(1), outcome(1), outcome(1)]).await;
    let segments = vec![
        world.batch(1, one, &[0, 1]).await,
        world.batch(1, two, &[0]).await,
        world.batch(1, one, &[2]).await,
    ];
    world.confirm(confirmed(Some(1), segments)).await;
    assert_eq!(world.money(one).await, (960, 10, 30));
    assert_eq!(world.money(two).await, (960, 30, 10));
    let mut told: Vec<_> = posted(&world)
        .await
        .into_iter()
        .map(|posted| (posted.campaign, posted.grants, posted.segments.len()))
        .collect();
    told.sort_unstable();
    let mut expected = vec![(one, 3, 2), (two, 1, 1)];
    expected.sort_unstable();
    assert_eq!(told, expected);
    world.finish().await;
}

#[tokio::test]
async fn only_the_bits_that_were_set_are_posted() {
    let mut world = World::new().await;
    let campaign = with_grants(&mut world, 4).await;
    let mut settled = world.batch(1, campaign, &[0, 1, 2, 3]).await;
    settled.paid = mask(0, [0, 2]);
    (settled.count, settled.total) = (2, Amount::from(20_u64));
    world.confirm(confirmed(Some(1), vec![settled])).await;
    assert_eq!(world.money(campaign).await, (960, 20, 20));
    world.finish().await;
}

#[tokio::test]
async fn a_settlement_that_paid_nobody_is_no_posting() {
    let mut world = World::new().await;
    let campaign = with_grants(&mut world, 2).await;
    let mut settled = world.batch(1, campaign, &[0, 1]).await;
    settled.paid = Vec::new();
    (settled.count, settled.total) = (0, Amount::ZERO);
    world.confirm(confirmed(Some(1), vec![settled])).await;
    assert_eq!(world.money(campaign).await, (980, 20, 0));
    assert!(posted(&world).await.is_empty());
    world.finish().await;
}

#[tokio::test]
async fn handled_twice_it_changes_nothing() {
    let mut world = World::new().await;
    let campaign = with_grants(&mut world, 3).await;
    let settled = world.batch(1, campaign, &[0, 1]).await;
    world.confirm(confirmed(Some(1), vec![settled.clone()])).await;
    world.fail(campaign, 2).await;
    let before = world.fingerprint().await;
    world.rewind_books().await;
    world.keep_books().await;
    assert_eq!(world.fingerprint().await, before);
    // The watcher tells it again.
    world.confirm(confirmed(Some(1), vec![settled])).await;
    assert_eq!(world.money(campaign).await, (980, 0, 20));
    assert_eq!(posted(&world).await.len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn words_that_the_chain_contradicts_halt_the_books() {
    let mut world = World::new().await;
    let campaign = with_grants(&mut world, 2).await;
    let right = world.batch(1, campaign, &[0, 1]).await;
    let wrong = [
        // Paid more than our words say.
        SettledSegment { total: Amount::from(21_u64), ..right.clone() },
        // Fewer bits than the sum.
        SettledSegment { paid: mask(0, [0]), ..right.clone() },
        // A bit outside of the segment.
        SettledSegment { paid: mask(0, [0, 1, 2]), ..right },
    ];
    for settled in wrong {
        sqlx::query(
            "UPDATE cursors c SET next = h.next FROM heads h WHERE h.part = c.part AND c.stage = 'books'",
        )
        .execute(world.pool())
        .await
        .unwrap();
        world.append(&[confirmed(Some(1), vec![settled.clone()]).into()]).await;
        let halted = world.books_round().await.unwrap_err();
        assert!(halted.chain().contains("our words say"), "{}", halted.chain());
        assert_eq!(world.money(campaign).await, (980, 20, 0), "{settled:?}");
    }
    world.finish().await;
}

#[tokio::test]
async fn a_payment_without_a_hold_is_suspense_and_pauses_the_campaign() {
    let mut world = World::new().await;
    let campaign = with_grants(&mut world, 2).await;
    let settled = world.batch(1, campaign, &[0, 1]).await;
    // The bits of our batch, by a transaction that is none of ours.
    world.confirm(confirmed(None, vec![settled.clone()])).await;
    assert_eq!(world.money(campaign).await, (980, 20, 0));
    assert_eq!(world.number("SELECT sum(amount)::bigint FROM suspense").await, 20);
    assert_eq!(world.number("SELECT count(*) FROM alerts WHERE code = 'payment_without_hold'").await, 1);
    let mut conn = world.pool().acquire().await.unwrap();
    let paused = find_campaign(&mut conn, campaign).await.unwrap().unwrap();
    drop(conn);
    assert_eq!(
        (paused.state.as_str(), paused.state_reason.as_deref()),
        ("paused", Some("payment_without_hold"))
    );
    assert_eq!(world.decide(outcome(1)).await, ["campaign_paused"]);
    world.finish().await;
}

async fn halted(world: &World) -> Vec<(i64, Option<String>)> {
    sqlx::query_as("SELECT campaign, halted[1] FROM queues ORDER BY campaign")
        .fetch_all(world.pool())
        .await
        .unwrap()
}

/// An operator has dealt with all payments without a hold.
async fn acknowledge_payments(world: &World) {
    let mut conn = world.pool().acquire().await.unwrap();
    let context = Context::at(world.clock.now());
    for alert in list_alerts(&mut conn, None, 100).await.unwrap() {
        assert!(acknowledge_alert(&mut conn, &context, &alert.code, &alert.about).await.unwrap());
        assert!(!acknowledge_alert(&mut conn, &context, &alert.code, &alert.about).await.unwrap());
    }
}

/// Whether the campaign has a queue yet or not: what the lanes read says that nothing may be signed for it, until an
/// operator has dealt with the payment. Whoever manages the campaign cannot lift that.
#[tokio::test]
async fn a_payment_without_a_hold_halts_the_queue() {
    for queued in [false, true] {
        let mut world = World::new().await;
        let campaign = with_grants(&mut world, 2).await;
        let other = world.campaign(&definition(), 1_000).await;
        let settled = world.batch(1, campaign, &[0, 1]).await;
        if queued {
            sqlx::query("INSERT INTO queues (campaign, vault, next_seq) SELECT id, vault, 2 FROM campaigns")
                .execute(world.pool())
                .await
                .unwrap();
        }
        world.confirm(confirmed(None, vec![settled])).await;
        let mut expected = vec![(campaign.number(), Some("payment_without_hold".to_owned()))];
        expected.extend(queued.then_some((other.number(), None)));
        expected.sort_unstable();
        assert_eq!(halted(&world).await, expected);
        world.transition(campaign, Move::Resume).await;
        assert_eq!(halted(&world).await, expected);
        acknowledge_payments(&world).await;
        assert!(halted(&world).await.iter().all(|(_, halted)| halted.is_none()));
        // Told again it is no news.
        world.rewind_books().await;
        world.keep_books().await;
        assert!(halted(&world).await.iter().all(|(_, halted)| halted.is_none()));
        world.finish().await;
    }
}

/// An ended campaign still pays what is under way; the last of its payments without a hold lets its queue go on.
#[tokio::test]
async fn an_ended_campaigns_queue_goes_on_with_its_last_unexplained_payment() {
    let mut world = World::new().await;
    let campaign = with_grants(&mut world, 1).await;
    world.transition(campaign, Move::End).await;
    for number in [1, 2] {
        let mut paid = confirmed(None, two_segments_of_one_seq(campaign, [10, 10]));
        paid.sighting.tx = B256::with_last_byte(number);
        paid.sighting.transition = u64::from(number);
        world.confirm(paid).await;
    }
    let mut conn = world.pool().acquire().await.unwrap();
    let context = Context::at(world.clock.now());
    let alerts = list_alerts(&mut conn, None, 100).await.unwrap();
    assert_eq!(alerts.len(), 2);
    for (alert, goes_on) in alerts.iter().zip([false, true]) {
        assert!(acknowledge_alert(&mut conn, &context, &alert.code, &alert.about).await.unwrap());
        let halts: Vec<bool> = halted(&world).await.iter().map(|(_, halted)| halted.is_some()).collect();
        assert_eq!(halts, [!goes_on]);
    }
}

/// A halt for another reason is not lifted by dealing with payments, nor is its reason lost.
#[tokio::test]
async fn a_queue_that_is_halted_keeps_its_reason() {
    let mut world = World::new().await;
    let campaign = with_grants(&mut world, 1).await;
    let settled = world.batch(1, campaign, &[0]).await;
    sqlx::query("INSERT INTO queues (campaign, vault, halted) SELECT id, vault, '{other}' FROM campaigns")
        .execute(world.pool())
        .await
        .unwrap();
    world.confirm(confirmed(None, vec![settled])).await;
    acknowledge_payments(&world).await;
    assert_eq!(halted(&world).await, [(campaign.number(), Some("other".to_owned()))]);
}

/// Also of a campaign that the ledger does not know.
#[tokio::test]
async fn every_transaction_that_pays_without_a_hold_is_an_alert() {
    let mut world = World::new().await;
    let campaign = with_grants(&mut world, 1).await;
    let unknown = CampaignId::from(77_u64);
    for (number, campaign) in [(1, campaign), (2, campaign), (3, unknown)] {
        let mut paid = confirmed(None, two_segments_of_one_seq(campaign, [10, 10]));
        paid.sighting.tx = B256::with_last_byte(number);
        world.confirm(paid).await;
        assert_eq!(world.number("SELECT count(*) FROM alerts").await, i64::from(number));
        assert_eq!(world.events(EventKind::OperatorAlertRaised).await.len(), usize::from(number));
    }
    assert_eq!(halted(&world).await.len(), 1);
    world.finish().await;
}

/// The books of all campaigns of a batch are locked in one order before any of them moves, whatever order the batch has: or
/// two replicas, or one and a decision, would wait for each other.
#[tokio::test]
async fn books_are_locked_in_one_order_before_any_of_them_moves() {
    let mut world = World::new().await;
    let one = world.campaign(&definition(), 1_000).await;
    let two = world.campaign(&definition(), 1_000).await;
    let (low, high) = (one.min(two), one.max(two));
    world.decide_all(&[outcome(1)]).await;
    let first = confirmed(Some(1), vec![world.batch(1, high, &[0]).await]);
    let mut second = confirmed(Some(2), vec![world.batch(2, low, &[0]).await]);
    // One subject, so that they are handled together and in this order.
    second.sighting.tx = first.sighting.tx;
    world.append(&[first.into(), second.into()]).await;

    let lock = "SELECT FROM accounts WHERE campaign = $1 FOR NO KEY UPDATE NOWAIT";
    let pool = world.pool().clone();
    let mut decision = pool.begin().await.unwrap();
    sqlx::query(lock).bind(low.number()).execute(&mut *decision).await.unwrap();
    let kept = world.keep_books();
    let free = async {
        // The books are seen to wait for the decision.
        while sqlx::query_scalar::<_, i64>(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .fetch_one(&pool)
        .await
        .unwrap()
            == 0
        {
            tokio::task::yield_now().await;
        }
        let free = sqlx::query(lock).bind(high.number()).execute(&mut *decision).await;
        decision.rollback().await.unwrap();
        free
    };
    let ((), free) = tokio::join!(kept, free);
    free.expect("the higher campaign's books are not locked before the lower one's");
    assert_eq!((world.money(low).await, world.money(high).await), ((990, 0, 10), (990, 0, 10)));
    world.finish().await;
}

#[tokio::test]
async fn other_words_at_our_place_are_suspense() {
    let mut world = World::new().await;
    let campaign = with_grants(&mut world, 2).await;
    let mut settled = world.batch(1, campaign, &[0, 1]).await;
    settled.words_hash = alloy_primitives::B256::repeat_byte(0xee);
    world.confirm(confirmed(Some(1), vec![settled])).await;
    assert_eq!(world.money(campaign).await, (980, 20, 0));
    assert_eq!(world.number("SELECT count(*) FROM suspense").await, 1);
    world.finish().await;
}

/// Two grants that a stranger pays by two segments of one transaction which begin at the same sequence number: the first
/// has a hole where the second pays.
fn two_segments_of_one_seq(campaign: CampaignId, totals: [u64; 2]) -> Vec<SettledSegment> {
    let segment = |log_index: u32, total: u64| SettledSegment {
        log_index,
        campaign,
        first_seq: 500,
        count: 1,
        total: Amount::from(total),
        words_hash: B256::with_last_byte(log_index as u8),
        paid: mask(500, [500 + u64::from(log_index)]),
    };
    vec![segment(0, totals[0]), segment(1, totals[1])]
}

/// The ledger can represent whatever the chain did: of equal payments none is lost, of other ones none halts the books.
#[tokio::test]
async fn suspense_holds_every_segment_that_begins_at_one_seq() {
    for totals in [[10, 10], [10, 30]] {
        let mut world = World::new().await;
        let campaign = with_grants(&mut world, 1).await;
        world.confirm(confirmed(None, two_segments_of_one_seq(campaign, totals))).await;
        let suspense = world.number("SELECT coalesce(sum(amount), 0)::bigint FROM suspense").await;
        assert_eq!(suspense, 10 + totals[1].cast_signed(), "{totals:?}");
        // Handled again it is the same.
        let before = world.fingerprint().await;
        world.rewind_books().await;
        world.keep_books().await;
        assert_eq!(world.fingerprint().await, before);
        world.finish().await;
    }
}

/// The same log cannot tell another story.
#[tokio::test]
async fn a_log_that_is_told_with_another_amount_halts_the_books() {
    let mut world = World::new().await;
    let campaign = with_grants(&mut world, 1).await;
    let mut segments = two_segments_of_one_seq(campaign, [10, 30]);
    world.confirm(confirmed(None, segments.clone())).await;
    segments[1].total = Amount::from(31_u64);
    world.append(&[confirmed(None, segments).into()]).await;
    let halted = world.books_round().await.unwrap_err();
    assert!(halted.chain().contains("exists with another amount"), "{}", halted.chain());
    assert_eq!(world.number("SELECT sum(amount)::bigint FROM suspense").await, 40);
}

/// A segment of a batch of ours that the chain told in two logs, each with a part of its bits, is posted whole.
#[tokio::test]
async fn a_segment_in_two_logs_is_one_posting() {
    let mut world = World::new().await;
    let campaign = with_grants(&mut world, 3).await;
    let whole = world.batch(1, campaign, &[0, 1, 2]).await;
    let part = |log_index: u32, seqs: &[u64]| SettledSegment {
        log_index,
        count: seqs.len() as u32,
        total: Amount::from(10 * seqs.len() as u64),
        paid: mask(0, seqs.iter().copied()),
        ..whole.clone()
    };
    world.confirm(confirmed(Some(1), vec![part(0, &[0, 2]), part(1, &[1])])).await;
    assert_eq!(world.money(campaign).await, (970, 0, 30));
    assert_eq!(world.number("SELECT count(*) FROM suspense").await, 0);
    world.finish().await;
}

#[tokio::test]
async fn a_payment_without_a_hold_that_comes_again_does_not_pause_again() {
    let mut world = World::new().await;
    let campaign = with_grants(&mut world, 1).await;
    let settled = world.batch(1, campaign, &[0]).await;
    world.confirm(confirmed(None, vec![settled])).await;
    // An operator has looked at it.
    sqlx::query("DELETE FROM alerts").execute(world.pool()).await.unwrap();
    world.transition(campaign, Move::Resume).await;
    let before = world.fingerprint().await;
    world.rewind_books().await;
    world.keep_books().await;
    assert_eq!(world.fingerprint().await, before);
    assert_eq!(world.decide(outcome(1)).await, ["granted 10"]);
    world.finish().await;
}

#[tokio::test]
async fn a_replica_whose_cursor_was_moved_rolls_back() {
    let mut world = World::new().await;
    let campaign = with_grants(&mut world, 1).await;
    let settled = world.batch(1, campaign, &[0]).await;
    let event = confirmed(Some(1), vec![settled]);
    let partition = laurel_events::Event::from(event.clone()).subject().partition();
    world.append(&[event.into()]).await;

    // A replica claims the partition, handles the event, and is then held up.
    let mut zombie = world.pool().begin().await.unwrap();
    let claim = laurel_ledger::claim_cursor(&mut zombie, "books", partition).await.unwrap().unwrap();
    // While it holds the partition, nobody else handles it.
    world.keep_books().await;
    assert_eq!(world.money(campaign).await, (990, 10, 0));
    zombie.rollback().await.unwrap();
    // Its session was lost: another replica goes on.
    world.keep_books().await;
    assert_eq!(world.money(campaign).await, (990, 0, 10));
    // It comes back with what it knew.
    let before = world.fingerprint().await;
    let mut zombie = world.pool().begin().await.unwrap();
    let moved = laurel_ledger::move_cursor(&mut zombie, "books", partition, claim.next, claim.head).await;
    assert!(matches!(moved, Err(laurel_ledger::LedgerError::RowCount { .. })), "{moved:?}");
    zombie.rollback().await.unwrap();
    assert_eq!(world.fingerprint().await, before);
    world.finish().await;
}
