//! TransactionHistoryView: the steps of grants and of the batches that settle them, as the journal has them.

use alloy_primitives::B256;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use laurel_bus::{Stage, StageError};
use laurel_events::{BatchId, Envelope, Event, EventId, EventKind, GrantId, NewEvent, Partition, Sighting};
use laurel_ledger::{LedgerError, read_one};
use sqlx::PgConnection;

use crate::GrantView;

/// Notes where in the journal the steps of batches stand, and of grants that did not go the plain way.
#[derive(Clone, Copy, Debug, Default)]
pub struct HistoryStage;

/// The stage's name.
pub(crate) const NAME: &str = "transaction-history";

/// Its table.
pub(crate) const TABLES: &[&str] = &["history"];

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
            EventKind::BlockchainTxUndone,
            EventKind::BudgetReheld,
        ]
    }

    async fn handle(
        &self,
        conn: &mut PgConnection,
        _now: DateTime<Utc>,
        events: &[Envelope],
    ) -> Result<Vec<NewEvent>, StageError> {
        let mut steps = Steps::default();
        for envelope in events {
            if let Some(about) = about(&envelope.event) {
                steps.push(about, envelope.id);
            }
        }
        sqlx::query!(
            r#"
            INSERT INTO history (about, part, position, idx)
            SELECT * FROM unnest($1::text[], $2::smallint[], $3::bigint[], $4::integer[])
            ON CONFLICT DO NOTHING
            "#,
            &steps.about,
            &steps.parts,
            &steps.positions,
            &steps.indexes,
        )
        .execute(conn)
        .await?;
        Ok(Vec::new())
    }
}

/// Rows of the view, column by column.
#[derive(Debug, Default)]
struct Steps {
    about: Vec<String>,
    parts: Vec<i16>,
    positions: Vec<i64>,
    indexes: Vec<i32>,
}

impl Steps {
    fn push(&mut self, about: String, id: EventId) {
        self.about.push(about);
        self.parts.push(id.partition.number());
        self.positions.push(id.offset);
        self.indexes.push(id.index);
    }
}

/// Whose step an event is.
fn about(event: &Event) -> Option<String> {
    let seen = |sighting: &Sighting| sighting.batch.map(of_batch);
    match event {
        Event::TokenGrantAwaitingWallet(event) => Some(of_grant(event.grant)),
        Event::TokenGrantHeld(event) => Some(of_grant(event.grant)),
        Event::TokenGrantFailed(event) => Some(of_grant(event.grant)),
        Event::BudgetReleased(event) => Some(of_grant(event.grant)),
        Event::BlockchainTxSubmitted(event) => Some(of_batch(event.batch)),
        Event::BlockchainTxReplaced(event) => Some(of_batch(event.batch)),
        Event::BlockchainTxMined(event) => seen(&event.sighting),
        Event::BlockchainTxReorged(event) => seen(&event.sighting),
        Event::BlockchainTxConfirmed(event) => seen(&event.sighting),
        Event::BlockchainTxReverted(event) => seen(&event.sighting),
        Event::BlockchainTxUndone(event) => seen(&event.sighting),
        Event::BudgetReheld(event) => Some(of_grant(event.grant)),
        _ => None,
    }
}

fn of_grant(grant: GrantId) -> String {
    format!("grant:{grant}")
}

fn of_batch(batch: BatchId) -> String {
    format!("batch:{batch}")
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
            Event::BlockchainTxUndone(event) => seen(&event.sighting),
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
    let batches = sqlx::query_scalar!(
        r#"
        SELECT batch AS "batch!" FROM segments
        WHERE campaign = $1 AND first_seq <= $2 AND first_seq > $2 - $3 AND first_seq + count > $2
          AND $2 <> ALL (holes)
        UNION ALL
        SELECT batch FROM cancels WHERE campaign = $1 AND seq = $2
        "#,
        grant.id.campaign.number(),
        grant.seq.map(u64::cast_signed),
        SEGMENT_MAX,
    );
    let mut about = vec![of_grant(grant.id)];
    about.extend(batches.fetch_all(&mut *conn).await?.into_iter().map(|batch| of_batch(batch.into())));
    let rows = sqlx::query!("SELECT part, position, idx FROM history WHERE about = ANY ($1)", &about);
    rows.fetch_all(conn).await?.into_iter().map(|row| event_id((row.part, row.position, row.idx))).collect()
}

fn event_id((part, offset, index): (i16, i64, i32)) -> Result<EventId, LedgerError> {
    let wrong = || LedgerError::Inconsistent { table: "journal", column: "part", id: part.to_string() };
    Ok(EventId { partition: Partition::new(part).ok_or_else(wrong)?, offset, index })
}

/// The place of a kind in the order of causes.
fn rank(kind: EventKind) -> usize {
    const ORDER: [EventKind; 15] = [
        EventKind::GameOutcomeRecorded,
        EventKind::TokenGrantRequested,
        EventKind::TokenGrantAwaitingWallet,
        EventKind::TokenGrantStarted,
        EventKind::BlockchainTxSubmitted,
        EventKind::BlockchainTxReplaced,
        EventKind::BlockchainTxUndone,
        EventKind::BudgetReheld,
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
