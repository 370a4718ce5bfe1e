//! TransactionHistoryView: where in the journal the steps stand of batches, and of grants that did not go the plain way.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use laurel_bus::{Stage, StageError};
use laurel_events::{BatchId, Envelope, Event, EventId, EventKind, GrantId, NewEvent, Partition, Sighting};
use laurel_ledger::LedgerError;
use sqlx::PgConnection;

use crate::GATHER;

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

    fn gathers_for(&self) -> Duration {
        GATHER
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

/// Where the journal has the own steps of a grant, and those of batches.
pub(crate) async fn steps(
    conn: &mut PgConnection,
    grant: GrantId,
    batches: &[BatchId],
) -> Result<Vec<EventId>, LedgerError> {
    let mut about = vec![of_grant(grant)];
    about.extend(batches.iter().map(|batch| of_batch(*batch)));
    let rows = sqlx::query!("SELECT part, position, idx FROM history WHERE about = ANY ($1)", &about);
    rows.fetch_all(conn).await?.into_iter().map(|row| event_id((row.part, row.position, row.idx))).collect()
}

/// The id of an event that stands there.
pub(crate) fn event_id((part, offset, index): (i16, i64, i32)) -> Result<EventId, LedgerError> {
    let wrong = || LedgerError::Inconsistent { table: "journal", column: "part", id: part.to_string() };
    Ok(EventId { partition: Partition::new(part).ok_or_else(wrong)?, offset, index })
}
