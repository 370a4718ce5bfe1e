//! A stage that stands still before an event that must not be passed over.

use chrono::{DateTime, Utc};
use laurel_events::{EventId, EventKind, OperatorAlertRaised, Partition, alert::STAGE_HALTED};
use laurel_ledger::{Context, LedgerError, append, claim_cursor, commit, halted_partition, raise_alert};
use sqlx::{PgConnection, PgPool};

use crate::StageError;

/// Where a stage stands still, and why.
#[derive(Debug)]
pub(crate) struct Halt {
    /// The event, where it is one.
    pub(crate) event: Option<(EventId, EventKind)>,
    /// The error.
    pub(crate) error: StageError,
}

impl Halt {
    /// The alert, about a stage in a partition or about a letter.
    pub(crate) fn alert(&self, about: String) -> OperatorAlertRaised {
        let chain = self.error.chain();
        let detail = match &self.event {
            Some((id, kind)) => format!("event {id} ({kind}): {chain}"),
            None => chain,
        };
        OperatorAlertRaised { code: STAGE_HALTED.to_owned(), about, detail }
    }
}

/// Raises the alert that `stage` stands still in `partition`, unless it is raised, or another replica has the partition or
/// has brought it past the event. The delivery that goes on clears it. Says whether it was raised now.
pub(crate) async fn raise_halted(
    pool: &PgPool,
    stage: &str,
    partition: Partition,
    now: DateTime<Utc>,
    halt: &Halt,
) -> Result<bool, LedgerError> {
    let mut tx = pool.begin().await?;
    let raised = raise_in(&mut tx, stage, partition, now, halt).await?;
    // A transaction that is only dropped keeps the partition until the pool comes to roll it back.
    if raised {
        commit(tx, "stage_halted").await?
    } else {
        tx.rollback().await?
    }
    Ok(raised)
}

async fn raise_in(
    tx: &mut PgConnection,
    stage: &str,
    partition: Partition,
    now: DateTime<Utc>,
    halt: &Halt,
) -> Result<bool, LedgerError> {
    let claim = claim_cursor(tx, stage, partition).await?;
    let passed = |next: i64| halt.event.is_some_and(|(event, _)| event.offset < next);
    if claim.is_none_or(|claim| passed(claim.next)) {
        return Ok(false);
    }
    let alert = halt.alert(halted_partition(stage, partition));
    let Some(raised) = raise_alert(tx, now, alert).await? else { return Ok(false) };
    append(tx, &Context::at(now), &[raised.into()]).await?;
    Ok(true)
}
