//! What a stage is.

use std::{error::Error, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use laurel_events::{CanonicalError, Envelope, EventKind, NewEvent};
use laurel_ledger::{LedgerError, is_infrastructure};
use sqlx::PgConnection;

/// A consumer of events that changes its own state and appends its own events, all in the caller's transaction.
#[async_trait]
pub trait Stage: Send + Sync + 'static {
    /// The name under which its cursors are kept. Changing it makes the stage begin again at the journal's start.
    fn name(&self) -> &'static str;

    /// The kinds of events it wants.
    fn kinds(&self) -> &'static [EventKind];

    /// How many events it wants at once, at most; a chunk is not torn apart.
    fn events_max(&self) -> i64 {
        1_000
    }

    /// How long it lets events gather before it looks for more, while it is not behind. A stage that nobody waits for costs less
    /// when it handles many at once.
    fn gathers_for(&self) -> Duration {
        Duration::ZERO
    }

    /// What to do with an event of `kind` that it cannot handle. An event whose kind halts does not wait behind an
    /// earlier event of its subject that was set aside either: where their order matters, `handle` has to refuse it.
    fn on_poison(&self, _kind: EventKind) -> OnPoison {
        OnPoison::Park
    }

    /// Handles `events` of one partition, in order, and returns what follows from them.
    ///
    /// # Errors
    /// [`StageError::Infrastructure`] to be called again with the same events; [`StageError::Poison`] if an event
    /// cannot be handled.
    async fn handle(
        &self,
        conn: &mut PgConnection,
        now: DateTime<Utc>,
        events: &[Envelope],
    ) -> Result<Vec<NewEvent>, StageError>;
}

/// What becomes of an event that cannot be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPoison {
    /// It is tried again later, then is a dead letter; its subject waits, the partition goes on.
    Park,
    /// The partition stops before it and the alert `stage_halted` is raised until it goes on: the event is a final fact
    /// that must not be passed over. It is never a letter.
    Halt,
}

/// Why a stage did not handle its events.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The same may succeed later: the connection, a time-out, a deadlock. Never counts as an attempt.
    #[error("the infrastructure failed")]
    Infrastructure(#[source] Box<dyn Error + Send + Sync>),
    /// The events or the state they met are wrong; trying the same again at once is of no use.
    #[error("an event cannot be handled")]
    Poison(#[source] Box<dyn Error + Send + Sync>),
}

impl StageError {
    /// A [`StageError::Poison`] with its reason.
    pub fn poison(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Poison(error.into())
    }

    /// The error and its sources, one after the other.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        text
    }
}

impl From<LedgerError> for StageError {
    fn from(error: LedgerError) -> Self {
        if error.is_infrastructure() {
            Self::Infrastructure(error.into())
        } else {
            Self::Poison(error.into())
        }
    }
}

impl From<sqlx::Error> for StageError {
    fn from(error: sqlx::Error) -> Self {
        if is_infrastructure(&error) {
            Self::Infrastructure(error.into())
        } else {
            Self::Poison(error.into())
        }
    }
}

impl From<CanonicalError> for StageError {
    fn from(error: CanonicalError) -> Self {
        Self::Poison(error.into())
    }
}
