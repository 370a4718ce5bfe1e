//! TransactionHistoryView: the steps of grants and of the batches that settle them, as the journal has them.

use alloy_primitives::B256;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use laurel_bus::{Stage, StageError};
use laurel_events::{BatchId, Envelope, Event, EventId, EventKind, GrantId, NewEvent, Partition, Sighting};
use laurel_ledger::{LedgerError, read_one, reset_cursors};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::GrantView;

/// Notes where in the journal the steps of batches stand, and of grants that did not go the plain way.
#[derive(Clone, Copy, Debug, Default)]
pub struct HistoryStage;

/// The stage's name.
const NAME: &str = "transaction-history";

#[async_trait]
impl Stage for HistoryStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn kinds(&self) -> &'static [EventKind] {
        &[
            EventKind::TokenGrantAwaitingWallet,
            EventKind::TokenGrantHeld,
            EventKind::TokenGrantFailed,
            EventKind::BudgetReleased,
            EventKind::BlockchainTxSubmitted,
            EventKind::BlockchainTxReplaced,
            EventKind::BlockchainTxMined,
            EventKind::BlockchainTxReorged,
            EventKind::BlockchainTxConfirmed,
            EventKind::BlockchainTxReverted,
        ]
    }

    async fn handle(
        &self,
        conn: &mut PgConnection,
        _now: DateTime<Utc>,
        events: &[Envelope],
    ) -> Result<Vec<NewEvent>, StageError> {
        let mut of_batches = Vec::new();
        let mut of_grants = Vec::new();
        for envelope in events {
            match whose(&envelope.event) {
                Some(Whose::Batch(batch)) => of_batches.push((batch, envelope.id)),
                Some(Whose::Grant(grant)) => of_grants.push((grant, envelope.id)),
                None => {}
            }
        }
        note_batch_steps(conn, &of_batches).await?;
        note_grant_steps(conn, &of_grants).await?;
        Ok(Vec::new())
    }
}

/// What a step belongs to.
enum Whose {
    Batch(BatchId),
    Grant(GrantId),
}

fn whose(event: &Event) -> Option<Whose> {
    let of = |sighting: &Sighting| sighting.batch.map(Whose::Batch);
    match event {
        Event::TokenGrantAwaitingWallet(event) => Some(Whose::Grant(event.grant)),
        Event::TokenGrantHeld(event) => Some(Whose::Grant(event.grant)),
        Event::TokenGrantFailed(event) => Some(Whose::Grant(event.grant)),
        Event::BudgetReleased(event) => Some(Whose::Grant(event.grant)),
        Event::BlockchainTxSubmitted(event) => Some(Whose::Batch(event.batch)),
        Event::BlockchainTxReplaced(event) => Some(Whose::Batch(event.batch)),
        Event::BlockchainTxMined(event) => of(&event.sighting),
        Event::BlockchainTxReorged(event) => of(&event.sighting),
        Event::BlockchainTxConfirmed(event) => of(&event.sighting),
        Event::BlockchainTxReverted(event) => of(&event.sighting),
        _ => None,
    }
}

async fn note_batch_steps(conn: &mut PgConnection, steps: &[(BatchId, EventId)]) -> Result<(), LedgerError> {
    if steps.is_empty() {
        return Ok(());
    }
    let batches: Vec<Uuid> = steps.iter().map(|(batch, _)| batch.uuid()).collect();
    let (parts, positions, indexes) = columns(steps.iter().map(|(_, id)| *id));
    sqlx::query!(
        r#"
        INSERT INTO batch_steps (batch, part, position, idx)
        SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::bigint[], $4::integer[])
        ON CONFLICT DO NOTHING
        "#,
        &batches,
        &parts,
        &positions,
        &indexes,
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn note_grant_steps(conn: &mut PgConnection, steps: &[(GrantId, EventId)]) -> Result<(), LedgerError> {
    if steps.is_empty() {
        return Ok(());
    }
    let campaigns: Vec<i64> = steps.iter().map(|(grant, _)| grant.campaign.number()).collect();
    let numbers: Vec<i64> = steps.iter().map(|(grant, _)| grant.number.cast_signed()).collect();
    let (parts, positions, indexes) = columns(steps.iter().map(|(_, id)| *id));
    sqlx::query!(
        r#"
        INSERT INTO grant_steps (campaign, number, part, position, idx)
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[], $5::integer[])
        ON CONFLICT DO NOTHING
        "#,
        &campaigns,
        &numbers,
        &parts,
        &positions,
        &indexes,
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn columns(ids: impl Iterator<Item = EventId>) -> (Vec<i16>, Vec<i64>, Vec<i32>) {
    let (mut parts, mut positions, mut indexes) = (Vec::new(), Vec::new(), Vec::new());
    for id in ids {
        parts.push(id.partition.number());
        positions.push(id.offset);
        indexes.push(id.index);
    }
    (parts, positions, indexes)
}

/// Drops the view; its stage rebuilds it from the beginning of the journal.
///
/// # Errors
/// If the database does not answer.
pub async fn rebuild_history(conn: &mut PgConnection) -> Result<(), LedgerError> {
    let mut tx = conn.begin().await?;
    reset_cursors(&mut tx, NAME).await?;
    sqlx::query!("DELETE FROM batch_steps").execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM grant_steps").execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

/// A step on a grant's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineEntry {
    /// The kind of event.
    pub event: EventKind,
    /// When it was recorded.
    pub at: DateTime<Utc>,
    /// Where the journal has it, for the steps that a grant does not share with thousands of others.
    pub id: Option<EventId>,
    /// Why, where the event has a reason.
    pub reason: Option<String>,
    /// The transaction.
    pub tx: Option<B256>,
    /// The block that has the transaction, or had it.
    pub block: Option<u64>,
}

impl TimelineEntry {
    fn plain(event: EventKind, at: DateTime<Utc>) -> Self {
        Self { event, at, id: None, reason: None, tx: None, block: None }
    }
}

impl From<Envelope> for TimelineEntry {
    fn from(envelope: Envelope) -> Self {
        let entry =
            Self { id: Some(envelope.id), ..Self::plain(envelope.event.kind(), envelope.recorded_at) };
        let seen = |sighting: &Sighting| (Some(sighting.tx), Some(sighting.block_number));
        let (tx, block) = match &envelope.event {
            Event::BlockchainTxSubmitted(event) => (Some(event.tx), None),
            Event::BlockchainTxReplaced(event) => (Some(event.tx), None),
            Event::BlockchainTxMined(event) => seen(&event.sighting),
            Event::BlockchainTxReorged(event) => seen(&event.sighting),
            Event::BlockchainTxConfirmed(event) => seen(&event.sighting),
            Event::BlockchainTxReverted(event) => seen(&event.sighting),
            _ => (None, None),
        };
        let reason = match envelope.event {
            Event::TokenGrantHeld(event) => Some(event.reason),
            Event::TokenGrantFailed(event) => Some(event.reason),
            _ => None,
        };
        Self { reason, tx, block, ..entry }
    }
}

/// The steps that a grant has taken, from the outcome on.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn grant_timeline(
    conn: &mut PgConnection,
    grant: &GrantView,
) -> Result<Vec<TimelineEntry>, LedgerError> {
    let plain = [
        (EventKind::TokenGrantRequested, Some(grant.granted_at)),
        (EventKind::TokenGrantStarted, grant.queued_at),
        (EventKind::TokenGrantCompleted, grant.posted_at),
    ];
    let mut timeline: Vec<TimelineEntry> =
        plain.into_iter().filter_map(|(event, at)| Some(TimelineEntry::plain(event, at?))).collect();
    let outcome = event_id(grant.place)?;
    for id in std::iter::once(outcome).chain(step_ids(conn, grant).await?) {
        timeline.extend(read_one(conn, id).await?.map(TimelineEntry::from));
    }
    // What one transaction recorded has one time; there, and where clocks differ by little, the order of causes decides.
    timeline.sort_by_key(|entry| (entry.at, rank(entry.event), entry.id));
    Ok(timeline)
}

/// A segment holds at most this many places, so that the segments of a place begin within this many before it.
const SEGMENT_MAX: i64 = 1_000;

/// Where the journal has the grant's own steps, and those of every batch that it has been in.
async fn step_ids(conn: &mut PgConnection, grant: &GrantView) -> Result<Vec<EventId>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT part AS "part!", position AS "position!", idx AS "idx!" FROM grant_steps
        WHERE campaign = $1 AND number = $2
        UNION ALL
        SELECT t.part, t.position, t.idx FROM segments s JOIN batch_steps t ON t.batch = s.batch
        WHERE s.campaign = $1 AND s.first_seq <= $3 AND s.first_seq > $3 - $4 AND s.first_seq + s.count > $3
        "#,
        grant.id.campaign.number(),
        grant.id.number.cast_signed(),
        grant.seq.map(u64::cast_signed),
        SEGMENT_MAX,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| event_id((row.part, row.position, row.idx))).collect()
}

fn event_id((part, offset, index): (i16, i64, i32)) -> Result<EventId, LedgerError> {
    let wrong = || LedgerError::Inconsistent { table: "journal", column: "part", id: part.to_string() };
    Ok(EventId { partition: Partition::new(part).ok_or_else(wrong)?, offset, index })
}

/// The place of a kind in the order of causes.
fn rank(kind: EventKind) -> usize {
    const ORDER: [EventKind; 13] = [
        EventKind::GameOutcomeRecorded,
        EventKind::TokenGrantRequested,
        EventKind::TokenGrantAwaitingWallet,
        EventKind::TokenGrantStarted,
        EventKind::BlockchainTxSubmitted,
        EventKind::BlockchainTxReplaced,
        EventKind::BlockchainTxReorged,
        EventKind::BlockchainTxMined,
        EventKind::BlockchainTxReverted,
        EventKind::BlockchainTxConfirmed,
        EventKind::TokenGrantHeld,
        EventKind::TokenGrantCompleted,
        EventKind::TokenGrantFailed,
    ];
    ORDER.iter().position(|other| *other == kind).unwrap_or(ORDER.len())
}
