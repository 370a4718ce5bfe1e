//! What can go wrong with the database, and whether trying again can help.

use std::time::Duration;

use laurel_events::{AmountError, ChunkError};
use sqlx::postgres::{PgDatabaseError, PgSeverity};

/// A ledger operation that did not take place.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database answered with an error, or not at all.
    #[error("the database did not do it")]
    Database(#[from] sqlx::Error),
    /// Nothing came back in time.
    #[error("no answer within {after:?}")]
    Unanswered {
        /// How long was waited.
        after: Duration,
    },
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
    /// The database is in quarantine: no place is given until it was recovered.
    #[error("the database is in quarantine")]
    Quarantined,
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
    ///
    /// # Errors
    /// [`LedgerError::RowCount`] if it did.
    pub fn expect_rows(operation: &'static str, wanted: usize, touched: u64) -> Result<(), Self> {
        let wanted = wanted as u64;
        if wanted == touched { Ok(()) } else { Err(Self::RowCount { operation, wanted, touched }) }
    }

    /// Whether the fault lies with the infrastructure, so that the same may succeed later.
    pub fn is_infrastructure(&self) -> bool {
        match self {
            Self::Database(error) => is_infrastructure(error),
            Self::Unanswered { .. } | Self::Quarantined => true,
            _ => false,
        }
    }
}

/// Whether `error` says nothing about the data: a connection, a time-out, a deadlock, a server that stops, is full, does
/// not let us in, or whose schema is not this program's.
pub fn is_infrastructure(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => {
            error.try_downcast_ref::<PgDatabaseError>().is_some_and(says_nothing_of_data)
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::Configuration(_)
        | sqlx::Error::BeginFailed
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

/// Classes of the PostgreSQL manual, appendix A, that no event's content can cause: the statements are fixed, only their
/// parameters differ.
const INFRASTRUCTURE_CLASSES: &[&str] = &[
    "08", // connection
    "28", // authorisation: a password was changed
    "3D", // no such database
    "40", // rolled back: deadlock, serialisation
    "42", // what a statement names is not there, or we have no right to it: the schema is not this program's
    "53", // out of something
    "55", // not in the state for it: a lock, a database that takes no connections
    "57", // intervention: shutdown, cancelled
    "58", // the system around it
    "F0", // its configuration file
    "XX", // its own fault
];

fn says_nothing_of_data(error: &PgDatabaseError) -> bool {
    // The server ends the connection for it; all that goes wrong while connecting is of this kind.
    let fatal = matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic);
    let class = error.code().get(..2).unwrap_or_default();
    // 25006, read-only: a primary that became a replica.
    fatal
        || INFRASTRUCTURE_CLASSES.contains(&class)
        || error.code() == "25006"
        || is_stale_plan(error)
        || is_missing_range(error)
}

/// A prepared statement whose result has other types since a migration. Code 0A000 alone can come from data.
fn is_stale_plan(error: &PgDatabaseError) -> bool {
    error.code() == "0A000" && error.routine() == Some("RevalidateCachedQuery")
}

/// No range holds the row: they were not made in time. It has the code of a check, but no constraint that would be one's.
fn is_missing_range(error: &PgDatabaseError) -> bool {
    error.code() == "23514" && error.constraint().is_none()
}
