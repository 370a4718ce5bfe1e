//! Why a step was not taken.

use laurel_chain::ChainError;
use laurel_ledger::LedgerError;

use crate::{FinalityConflict, ReconcileError};

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
pub enum WatcherError {
    /// The database.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// What was read does not fit together.
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
    /// What the node calls final is not what it calls canonical.
    #[error(transparent)]
    Finality(#[from] FinalityConflict),
    /// The node knows less than is final.
    #[error(
        "the node's head is block {head}, below block {last_final}, which is final: it is not in sync, or not on this \
         chain; check the node that chains.rpc_urls names"
    )]
    Behind {
        /// The number of the node's head.
        head: u64,
        /// The number of the last final block.
        last_final: u64,
    },
    /// The chain is halted.
    #[error("the chain is halted: {0}")]
    Halted(String),
}

impl WatcherError {
    /// Whether what the node answered, question after question, does not fit together.
    pub(crate) const fn is_misfit(&self) -> bool {
        matches!(self, Self::Reconcile(_) | Self::Behind { .. } | Self::Chain(ChainError::Untrue(_)))
    }
}

impl From<sqlx::Error> for WatcherError {
    fn from(error: sqlx::Error) -> Self {
        Self::Ledger(error.into())
    }
}
