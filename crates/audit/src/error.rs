//! Why an audit could not be made, which is no finding.

use laurel_chain::{CallError, ChainError};
use laurel_events::{AmountError, IdError};
use laurel_ledger::LedgerError;

/// An audit that came to no result.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A node.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A vault that was asked.
    #[error(transparent)]
    Call(#[from] CallError),
    /// What a vault answered is no vault's answer.
    #[error("its answer is no vault's")]
    Answer(#[source] alloy::sol_types::Error),
    /// The final block moved on whenever the chain had been read up to it.
    #[error(
        "the final block of chain {chain_id} moves on faster than its blocks can be read: use a node that is nearer"
    )]
    Moving {
        /// The chain.
        chain_id: u64,
    },
}

impl From<sqlx::Error> for AuditError {
    fn from(error: sqlx::Error) -> Self {
        Self::Ledger(error.into())
    }
}

impl From<AmountError> for AuditError {
    fn from(error: AmountError) -> Self {
        Self::Ledger(error.into())
    }
}

/// A row that breaks what its table promises.
pub(crate) fn inconsistent(
    table: &'static str,
    column: &'static str,
    id: impl std::fmt::Display,
) -> AuditError {
    AuditError::Ledger(LedgerError::Inconsistent { table, column, id: id.to_string() })
}

/// The same for an id that is none.
pub(crate) fn no_campaign(table: &'static str, id: i64) -> impl FnOnce(IdError) -> AuditError {
    move |_| inconsistent(table, "campaign", id)
}

/// An error and what caused it, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
