//! What can go wrong with the database, and whether trying again can help.

use laurel_events::{AmountError, ChunkError};

/// A ledger operation that did not take place.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database answered with an error, or not at all.
    #[error("the database did not do it")]
    Database(#[from] sqlx::Error),
    /// An event cannot be written or read.
    #[error("the journal cannot hold or tell it")]
    Chunk(#[from] ChunkError),
    /// An amount left its bounds.
    #[error("an amount left its bounds")]
    Amount(#[from] AmountError),
    /// A stored value breaks an invariant of the schema's user.
    #[error("{table}.{column} of {id} is not what it must be")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row.
        id: String,
    },
    /// A transfer was written before with other content.
    #[error("{transfer} of {id} exists with another {field}")]
    ExistsDifferent {
        /// The kind of transfer.
        transfer: &'static str,
        /// Its key.
        id: String,
        /// What differs.
        field: &'static str,
    },
    /// A statement touched another number of rows than it must.
    #[error("{operation} touched {touched} rows instead of {wanted}")]
    RowCount {
        /// The operation.
        operation: &'static str,
        /// How many rows it had to touch.
        wanted: u64,
        /// How many it did.
        touched: u64,
    },
}

impl LedgerError {
    /// An [`LedgerError::Inconsistent`] for a row.
    pub(crate) fn inconsistent(
        table: &'static str,
        column: &'static str,
        id: impl std::fmt::Display,
    ) -> Self {
        Self::Inconsistent { table, column, id: id.to_string() }
    }

    /// Refuses a statement that touched another number of rows than `wanted`.
    pub(crate) fn expect_rows(operation: &'static str, wanted: usize, touched: u64) -> Result<(), Self> {
        let wanted = wanted as u64;
        if wanted == touched { Ok(()) } else { Err(Self::RowCount { operation, wanted, touched }) }
    }

    /// Whether the fault lies with the infrastructure, so that the same may succeed later.
    pub fn is_infrastructure(&self) -> bool {
        matches!(self, Self::Database(error) if is_infrastructure(error))
    }
}

/// Whether `error` says nothing about the data: a connection, a time-out, a deadlock, a server that stops or is full.
pub fn is_infrastructure(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            // Classes of the PostgreSQL manual, appendix A: 08 connection, 53 resources, 57 intervention, 58 system,
            // 25006 read-only (a primary that became a replica), 40 rollback, 55P03 lock not available.
            ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class))
                || matches!(code.as_ref(), "25006" | "55P03")
        }),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}
