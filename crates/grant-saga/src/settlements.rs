//! The stage that keeps batches in step with what the watcher saw of them.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use laurel_bus::{OnPoison, Stage, StageError};
use laurel_chain::PaidMask;
use laurel_events::{
    Amount, BatchId, BlockchainTxConfirmed, CampaignId, Envelope, Event, EventId, EventKind, GrantId,
    NewEvent, SegmentRef, Sighting, TokenGrantHeld,
};
use laurel_ledger::{ChainPlace, LedgerError, amount_to_sql, find_places, find_segments};
use sqlx::PgConnection;

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
        ]
    }

    fn on_poison(&self, kind: EventKind) -> OnPoison {
        match kind {
            EventKind::BlockchainTxConfirmed | EventKind::BlockchainTxReverted => OnPoison::Halt,
            _ => OnPoison::Park,
        }
    }

    async fn handle(
        &self,
        conn: &mut PgConnection,
        now: DateTime<Utc>,
        events: &[Envelope],
    ) -> Result<Vec<NewEvent>, StageError> {
        let mut effects = Vec::new();
        for envelope in events {
            match &envelope.event {
                Event::BlockchainTxMined(mined) => {
                    set_batch(conn, &mined.sighting, BatchState::Mined, None).await?;
                }
                Event::BlockchainTxReorged(reorged) => {
                    set_batch(conn, &reorged.sighting, BatchState::Submitted, None).await?;
                }
                Event::BlockchainTxConfirmed(confirmed) => {
                    effects.extend(confirm(conn, now, envelope.id, confirmed).await?);
                }
                Event::BlockchainTxReverted(reverted) => {
                    let cost = Cost { gas_used: reverted.gas_used, gas_price: reverted.effective_gas_price };
                    let moved = set_batch(conn, &reverted.sighting, BatchState::Reverted, Some(cost)).await?;
                    if let Some(batch) = moved {
                        requeue_batch(conn, now, batch).await?;
                    }
                }
                _ => {}
            }
        }
        Ok(effects)
    }
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
    let Some(batch) = set_batch(conn, &confirmed.sighting, BatchState::Confirmed, Some(cost)).await? else {
        return Ok(Vec::new());
    };
    let mut effects = Vec::new();
    for segment in find_segments(conn, batch).await? {
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
        let mask = PaidMask::new(segment.first_seq, settled.paid.clone());
        if mask.count() == u64::from(segment.count) {
            continue;
        }
        let places = find_places(conn, segment.campaign, segment.first_seq, segment.count).await?;
        let refused: Vec<ChainPlace> = places.into_iter().filter(|place| !mask.contains(place.seq)).collect();
        hold_refused(conn, now, segment.campaign, &refused).await?;
        effects.extend(refused.iter().map(|place| {
            let grant = GrantId { campaign: segment.campaign, number: place.number };
            NewEvent::caused_by(cause, TokenGrantHeld { grant, reason: "refused".to_owned() })
        }));
    }
    Ok(effects)
}

async fn hold_refused(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: CampaignId,
    refused: &[ChainPlace],
) -> Result<(), LedgerError> {
    let numbers: Vec<i64> = refused.iter().map(|place| place.number.cast_signed()).collect();
    let seqs: Vec<i64> = refused.iter().map(|place| place.seq.cast_signed()).collect();
    sqlx::query!(
        r#"
        INSERT INTO exceptions (campaign, number, state, reason, player, chain_id, amount, seq, updated_at)
        SELECT g.campaign, g.number, 'held', 'refused', g.player, v.chain_id, g.amount, p.seq, $4
        FROM unnest($2::bigint[], $3::bigint[]) AS p (number, seq)
        JOIN grants g ON g.campaign = $1 AND g.number = p.number
        JOIN campaigns c ON c.id = g.campaign
        JOIN vaults v ON v.id = c.vault
        ON CONFLICT (campaign, number) DO UPDATE
        SET state = 'held', reason = 'refused', seq = EXCLUDED.seq, updated_at = EXCLUDED.updated_at
        "#,
        campaign.number(),
        &numbers,
        &seqs,
        now,
    )
    .execute(&mut *conn)
    .await?;
    // Seqs that follow each other rest together.
    let mut runs: BTreeMap<u64, i32> = BTreeMap::new();
    for place in refused {
        match runs.last_entry() {
            Some(mut run) if run.key() + run.get().unsigned_abs() as u64 == place.seq => *run.get_mut() += 1,
            _ => {
                runs.insert(place.seq, 1);
            }
        }
    }
    let first: Vec<i64> = runs.keys().map(|seq| seq.cast_signed()).collect();
    let counts: Vec<i32> = runs.values().copied().collect();
    sqlx::query!(
        r#"
        INSERT INTO requeues (campaign, first_seq, count, queued_at)
        SELECT $1, r.first_seq, r.count, $4 FROM unnest($2::bigint[], $3::integer[]) AS r (first_seq, count)
        "#,
        campaign.number(),
        &first,
        &counts,
        now + REFUSED_REST,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How long places rest whose settlement failed a second time; doubled with every time after that. The first time they go
/// again at once: a settlement that came too late fails once.
const FAILED_REST_S: f64 = 15.0;

/// How long they rest at most.
const FAILED_REST_MAX_S: f64 = 600.0;

/// Puts a batch that ended without paying back into the queue, place by place as it was.
async fn requeue_batch(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    batch: BatchId,
) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        INSERT INTO requeues (campaign, first_seq, count, queued_at)
        SELECT s.campaign, s.first_seq, s.count,
               $2::timestamptz + make_interval(secs => CASE
                   WHEN f.before = 0 THEN 0 ELSE least($3 * power(2, least(f.before - 1, 16)), $4) END)
        FROM segments s
        CROSS JOIN LATERAL (
            SELECT count(*) AS before FROM segments o JOIN batches b ON b.id = o.batch
            WHERE o.campaign = s.campaign AND o.first_seq <= s.first_seq AND o.first_seq > s.first_seq - 1000
              AND o.first_seq + o.count > s.first_seq AND b.state = 'reverted' AND b.id <> s.batch
        ) f
        WHERE s.batch = $1
        "#,
        batch.uuid(),
        now,
        FAILED_REST_S,
        FAILED_REST_MAX_S,
    )
    .execute(conn)
    .await?;
    Ok(())
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
        UPDATE exceptions SET state = 'queued', reason = NULL, updated_at = $3
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
