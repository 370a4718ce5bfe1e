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

mod conclusion;
mod import;
mod settlement;
mod store;
mod waiting;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use laurel_chain::{ChainError, ChainNode};
use laurel_events::NewEvent;
use laurel_ledger::{Context, LedgerError, Vault, Written, append, begin_quarantine, commit};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{LaneState, list_lanes, operate::settle_lane};

pub use self::{
    import::{Found, Imported},
    waiting::Waiting,
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
        commit(tx, "recovery").await?;
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
                displaced += settle_lane(&self.pool, &**node, now, vault, lane, to).await?;
            }
        }
        Ok(displaced)
    }
}
