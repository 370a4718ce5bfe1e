//! Bringing a database that is not the one we left up to what the chain knows.
//!
//! ```text
//!   begin ──► wait: a final block past every deadline ──► settle_lanes ──► import ──► (books post) ──► the quarantine ends
//!             and everything that we read is booked         nonces            │
//!                                                                             ├─ known place, same word: adopted
//!                                                                             ├─ place never given: an orphan
//!                                                                             └─ anything else: for an operator
//! ```
//!
//! Every step may be taken again, also after it was killed in the middle.

mod import;
mod settlement;
mod waiting;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use laurel_chain::{ChainError, ChainNode};
use laurel_events::NewEvent;
use laurel_ledger::{Context, LedgerError, Vault, Written, append, begin_quarantine};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{LaneState, compensation::fail_released, list_lanes, operate::end_displaced};

pub use self::{
    import::{Found, Imported},
    waiting::{Heads, Waiting},
};

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The database.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A lane's nonces.
    #[error(transparent)]
    Operate(#[from] crate::OperateError),
    /// Grants of a campaign that was released.
    #[error(transparent)]
    Stage(#[from] laurel_bus::StageError),
    /// What a vault says is not what we know of it.
    #[error("the vault's MAX_LIFETIME cannot be asked: {0}")]
    Lifetime(String),
}

impl From<sqlx::Error> for RecoverError {
    fn from(error: sqlx::Error) -> Self {
        Self::Ledger(error.into())
    }
}

/// Recovers a database.
#[derive(Clone, Debug)]
pub struct Recovery {
    pool: PgPool,
    chains: Vec<(Vault, Arc<dyn ChainNode>)>,
}

impl Recovery {
    /// Of the database behind `pool`, with every chain that it pays on.
    pub fn new(pool: PgPool, chains: Vec<(Vault, Arc<dyn ChainNode>)>) -> Self {
        Self { pool, chains }
    }

    /// Begins the quarantine, unless it has begun.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn begin(
        &self,
        now: DateTime<Utc>,
        epoch: Uuid,
        reason: &str,
    ) -> Result<Written, RecoverError> {
        let mut tx = self.pool.begin().await?;
        let (written, events) = begin_quarantine(&mut tx, now, epoch, reason).await?;
        let events: Vec<NewEvent> = events.into_iter().map(NewEvent::from).collect();
        append(&mut tx, &Context::at(now), &events).await?;
        tx.commit().await?;
        Ok(written)
    }

    /// Has every lane go on behind what the chain has of it: batches whose nonces were used by something else end unpaid.
    /// Returns how many these are.
    ///
    /// # Errors
    /// If database or chain do not answer.
    pub async fn settle_lanes(&self, now: DateTime<Utc>) -> Result<usize, RecoverError> {
        let lanes = list_lanes(&mut *self.pool.acquire().await?).await?;
        let mut displaced = 0;
        for (vault, node) in &self.chains {
            for lane in lanes.iter().filter(|lane| lane.vault == vault.id) {
                let to =
                    if lane.state == LaneState::Retired { LaneState::Retired } else { LaneState::Active };
                displaced += end_displaced(&self.pool, &**node, now, vault, lane, to).await?;
            }
        }
        Ok(displaced)
    }

    /// Fails what was never paid of campaigns that were released meanwhile; before, nobody could know. To be called in the
    /// transaction that ends the quarantine, after that.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn fail_released(
        conn: &mut sqlx::PgConnection,
        now: DateTime<Utc>,
    ) -> Result<Vec<NewEvent>, RecoverError> {
        let released = sqlx::query_scalar!(
            "SELECT campaign FROM queues WHERE released_tx IS NOT NULL ORDER BY campaign"
        );
        let released = released.fetch_all(&mut *conn).await?;
        let released: Vec<_> = released.into_iter().filter_map(|number| number.try_into().ok()).collect();
        Ok(fail_released(conn, now, None, &released).await?)
    }

    /// Gives every grant that waits for a wallet until `until` at least: its player may have linked one that is lost.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn put_off_deadlines(
        conn: &mut sqlx::PgConnection,
        until: DateTime<Utc>,
    ) -> Result<(), RecoverError> {
        sqlx::query!(
            r#"
            UPDATE exceptions SET wallet_until = $1
            WHERE state IN ('awaiting_wallet', 'held') AND seq IS NULL AND wallet_until < $1
            "#,
            until
        )
        .execute(&mut *conn)
        .await?;
        sqlx::query!("UPDATE timers SET due_at = $1 WHERE kind = 'WalletDeadlinePassed' AND due_at < $1", until)
            .execute(conn)
            .await?;
        Ok(())
    }
}
