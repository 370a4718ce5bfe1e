//! The stage that keeps batches in step with what the watcher saw of them.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use laurel_bus::{OnPoison, Stage, StageError};
use laurel_chain::PaidMask;
use laurel_events::{
    Amount, BatchId, BlockchainTxConfirmed, CampaignId, Envelope, Event, EventId, EventKind, NewEvent,
    SegmentRef, SettledSegment, Sighting,
};
use laurel_ledger::{ChainPlace, LedgerError, amount_to_sql, find_places, find_segments, planted};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    compensation::{cancelled, fail_released, pass_over, released},
    refused::{held, hold_refused},
    requeues::{lock_places, nowhere_among, requeue, requeue_batch, requeue_cancel},
    undoing::undo,
};

/// How long a refused grant rests before it is tried again with the same place: long enough not to burn gas on a
/// recipient that keeps refusing.
const REFUSED_REST: TimeDelta = TimeDelta::minutes(10);

/// Keeps batches in step with what the watcher saw of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct SettlementStage;

#[async_trait]
impl Stage for SettlementStage {
    fn name(&self) -> &'static str {
        "settlements"
    }

    fn kinds(&self) -> &'static [EventKind] {
        &[
            EventKind::BlockchainTxMined,
            EventKind::BlockchainTxReorged,
            EventKind::BlockchainTxConfirmed,
            EventKind::BlockchainTxReverted,
            EventKind::BlockchainTxUndone,
            EventKind::GrantsCancelled,
            EventKind::CampaignReleased,
        ]
    }

    fn on_poison(&self, kind: EventKind) -> OnPoison {
        match kind {
            EventKind::BlockchainTxMined | EventKind::BlockchainTxReorged => OnPoison::Park,
            _ => OnPoison::Halt,
        }
    }

    async fn handle(
        &self,
        conn: &mut PgConnection,
        now: DateTime<Utc>,
        events: &[Envelope],
    ) -> Result<Vec<NewEvent>, StageError> {
        lock_moved(conn, events).await?;
        let mut effects = Vec::new();
        for envelope in events {
            match &envelope.event {
                Event::BlockchainTxMined(mined) => {
                    set_batch(conn, &mined.sighting, BatchState::Mined, None).await?;
                }
                Event::BlockchainTxReorged(reorged) => {
                    let taken = planted!(ReorgTakenForRevert);
                    let state = if taken { BatchState::Reverted } else { BatchState::Submitted };
                    let moved = set_batch(conn, &reorged.sighting, state, None).await?;
                    if taken && let Some(batch) = moved {
                        effects.extend(revert(conn, now, envelope.id, batch).await?);
                    }
                }
                Event::BlockchainTxConfirmed(confirmed) if confirmed.sighting.batch.is_none() => {
                    pass_over(conn, now, confirmed).await?;
                }
                Event::BlockchainTxConfirmed(confirmed) => {
                    effects.extend(confirm(conn, now, envelope.id, confirmed).await?);
                }
                Event::BlockchainTxReverted(reverted) => {
                    let cost = Cost { gas_used: reverted.gas_used, gas_price: reverted.effective_gas_price };
                    let moved = set_batch(conn, &reverted.sighting, BatchState::Reverted, Some(cost)).await?;
                    if let Some(batch) = moved {
                        effects.extend(revert(conn, now, envelope.id, batch).await?);
                    }
                }
                Event::BlockchainTxUndone(undone) => undo(conn, &undone.sighting).await?,
                Event::GrantsCancelled(event) => {
                    effects.extend(cancelled(conn, now, envelope.id, event).await?);
                }
                Event::CampaignReleased(event) => {
                    effects.extend(released(conn, now, envelope.id, event).await?);
                }
                _ => {}
            }
        }
        Ok(effects)
    }
}

/// Locks the queues of the campaigns whose places go again by these events, in ascending order: another partition may have others of
/// the same batches. What also changes segments locks queues behind them, one by one, as whoever completes grants does.
async fn lock_moved(conn: &mut PgConnection, events: &[Envelope]) -> Result<(), LedgerError> {
    let mut batches: Vec<Uuid> = Vec::new();
    let mut campaigns: Vec<i64> = Vec::new();
    for envelope in events {
        match &envelope.event {
            Event::BlockchainTxReverted(reverted) => {
                batches.extend(reverted.sighting.batch.map(BatchId::uuid));
            }
            Event::BlockchainTxConfirmed(confirmed) if confirmed.sighting.batch.is_none() => {
                campaigns.extend(confirmed.segments.iter().map(|segment| segment.campaign.number()));
            }
            Event::GrantsCancelled(cancelled) => campaigns.push(cancelled.campaign.number()),
            Event::CampaignReleased(released) => campaigns.push(released.campaign.number()),
            _ => {}
        }
    }
    if batches.is_empty() && campaigns.len() < 2 {
        return Ok(());
    }
    sqlx::query!(
        r#"
        SELECT FROM queues
        WHERE campaign = ANY ($1)
           OR campaign IN (SELECT campaign FROM segments WHERE batch = ANY ($2)
                           UNION ALL SELECT campaign FROM cancels WHERE batch = ANY ($2))
        ORDER BY campaign
        FOR UPDATE
        "#,
        &campaigns,
        &batches,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What the watcher knows of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BatchState {
    Submitted,
    Mined,
    Confirmed,
    Reverted,
}

impl BatchState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Mined => "mined",
            Self::Confirmed => "confirmed",
            Self::Reverted => "reverted",
        }
    }
}

/// What a final transaction cost.
#[derive(Clone, Copy, Debug)]
struct Cost {
    gas_used: u64,
    /// What a unit of it cost, in wei.
    gas_price: Amount,
}

/// Moves a batch, unless a later sighting moved it before or it is final. Returns the batch if it moved.
async fn set_batch(
    conn: &mut PgConnection,
    sighting: &Sighting,
    state: BatchState,
    cost: Option<Cost>,
) -> Result<Option<BatchId>, LedgerError> {
    let Some(batch) = sighting.batch else { return Ok(None) };
    let placed = state != BatchState::Submitted;
    let moved = sqlx::query!(
        r#"
        UPDATE batches
        SET state = $2, transition = $3, mined_tx = $4, block_number = $5, block_hash = $6, gas_used = $7,
            effective_gas_price = $8
        WHERE id = $1 AND transition < $3 AND state IN ('submitted', 'mined')
        "#,
        batch.uuid(),
        state.as_str(),
        sighting.transition.cast_signed(),
        placed.then_some(sighting.tx.as_slice()),
        placed.then_some(sighting.block_number.cast_signed()),
        placed.then_some(sighting.block_hash.as_slice()),
        cost.map(|cost| cost.gas_used.cast_signed()),
        cost.map(|cost| amount_to_sql(cost.gas_price)),
    )
    .execute(conn)
    .await?;
    Ok((moved.rows_affected() == 1).then_some(batch))
}

/// Notes a final settlement. Grants that it did not pay rest and are tried again, each with the place it has.
async fn confirm(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    cause: EventId,
    confirmed: &BlockchainTxConfirmed,
) -> Result<Vec<NewEvent>, StageError> {
    let cost = Cost { gas_used: confirmed.gas_used, gas_price: confirmed.effective_gas_price };
    // Of several batches that were adopted from one transaction only the first one is told what it cost.
    let cost = (confirmed.gas_used > 0).then_some(cost);
    let Some(batch) = set_batch(conn, &confirmed.sighting, BatchState::Confirmed, cost).await? else {
        return Ok(Vec::new());
    };
    let cancelled = requeue_cancel(conn, now + REFUSED_REST, batch).await?;
    let mut effects = Vec::new();
    let segments = find_segments(conn, batch).await?;
    for segment in &segments {
        // A settlement that succeeded has a log of every segment; one without is no refusal but a contradiction.
        let settled = confirmed.segments.iter().find(|settled| {
            (settled.campaign, settled.first_seq, settled.words_hash)
                == (segment.campaign, segment.first_seq, segment.words_hash)
        });
        let settled = settled.ok_or_else(|| {
            StageError::poison(format!(
                "batch {batch} is confirmed without its segment of campaign {} from seq {}",
                segment.campaign, segment.first_seq
            ))
        })?;
        effects.extend(confirm_segment(conn, now, (cause, batch), segment, settled).await?);
    }
    effects.extend(fail_released(conn, now, Some(cause), &campaigns_of(&segments, cancelled)).await?);
    Ok(effects)
}

/// Holds the grants of a final segment that were not paid.
async fn confirm_segment(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    (cause, batch): (EventId, BatchId),
    segment: &SegmentRef,
    settled: &SettledSegment,
) -> Result<Vec<NewEvent>, StageError> {
    let mask = PaidMask::new(segment.first_seq, settled.paid.clone());
    if mask.count() == 0 {
        // Nothing will be posted of it.
        mark_posted(conn, now, batch, segment, &[]).await?;
    }
    if mask.count() + segment.holes.len() as u64 == u64::from(segment.count) {
        return Ok(Vec::new());
    }
    let seqs = segment.first_seq..segment.first_seq + u64::from(segment.count);
    let unpaid: Vec<u64> = seqs.filter(|seq| segment.settles(*seq) && !mask.contains(*seq)).collect();
    mark_unpaid(conn, batch, segment, &unpaid).await?;
    lock_places(conn, segment.campaign).await?;
    // Some of their grants have failed. Where the chain took back what was final, another batch may have others, or have paid them.
    let unpaid = nowhere_among(conn, segment.campaign, &unpaid).await?;
    let places = find_places(conn, segment.campaign, segment.first_seq, segment.count).await?;
    let refused: Vec<ChainPlace> =
        places.into_iter().filter(|place| unpaid.binary_search(&place.seq).is_ok()).collect();
    hold_refused(conn, now, segment.campaign, &refused).await?;
    requeue(conn, segment.campaign, unpaid, now + REFUSED_REST, 0).await?;
    Ok(refused.iter().map(|place| NewEvent::caused_by(cause, held(segment.campaign, place))).collect())
}

/// Notes which places of a final segment the chain did not pay.
async fn mark_unpaid(
    conn: &mut PgConnection,
    batch: BatchId,
    segment: &SegmentRef,
    unpaid: &[u64],
) -> Result<(), LedgerError> {
    let unpaid: Vec<i64> = unpaid.iter().map(|seq| seq.cast_signed()).collect();
    sqlx::query!(
        "UPDATE segments SET unpaid = $4 WHERE campaign = $1 AND first_seq = $2 AND batch = $3",
        segment.campaign.number(),
        segment.first_seq.cast_signed(),
        batch.uuid(),
        &unpaid,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Puts what a batch that ended without paying held back into the queue.
async fn revert(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    cause: EventId,
    batch: BatchId,
) -> Result<Vec<NewEvent>, StageError> {
    let cancelled = requeue_cancel(conn, now + REFUSED_REST, batch).await?;
    let segments = find_segments(conn, batch).await?;
    requeue_batch(conn, now, batch, &segments).await?;
    fail_released(conn, now, Some(cause), &campaigns_of(&segments, cancelled)).await
}

/// The campaigns of a batch: of its segments, or of the place that it was to burn.
fn campaigns_of(segments: &[SegmentRef], cancelled: Option<CampaignId>) -> Vec<CampaignId> {
    segments.iter().map(|segment| segment.campaign).chain(cancelled).collect()
}

/// Notes that the books have a segment, and that none of its paid grants is held any more.
pub(crate) async fn mark_posted(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    batch: BatchId,
    segment: &SegmentRef,
    paid: &[u64],
) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        UPDATE segments SET posted_at = $4
        WHERE campaign = $1 AND first_seq = $2 AND batch = $3 AND posted_at IS NULL
        "#,
        segment.campaign.number(),
        segment.first_seq.cast_signed(),
        batch.uuid(),
        now,
    )
    .execute(&mut *conn)
    .await?;
    let paid: Vec<i64> = paid.iter().map(|seq| seq.cast_signed()).collect();
    sqlx::query!(
        r#"
        UPDATE exceptions SET state = 'queued', reason = NULL, refused_since = NULL, updated_at = $3
        WHERE campaign = $1 AND state = 'held' AND seq = ANY ($2)
        "#,
        segment.campaign.number(),
        &paid,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
