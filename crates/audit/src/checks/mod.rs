//! The comparisons, in the order in which one's findings explain another's.

mod balances;
mod batches;
mod counters;
mod fundings;
mod grants;
mod journal;
mod lanes;
mod places;
mod postings;
mod settlements;
mod voids;

use crate::{AuditError, snapshot::Snapshot};

pub(crate) use self::lanes::{LaneNonce, compare_nonces};

/// Compares everything.
pub(crate) async fn compare(snapshot: &mut Snapshot<'_>) -> Result<Vec<LaneNonce>, AuditError> {
    fundings::find_foreign(snapshot).await?;
    settlements::compare(snapshot).await?;
    batches::compare(snapshot).await?;
    let nonces = lanes::compare(snapshot).await?;
    grants::compare(snapshot).await?;
    places::compare(snapshot).await?;
    postings::compare(snapshot).await?;
    fundings::compare(snapshot).await?;
    voids::compare(snapshot).await?;
    balances::compare(snapshot).await?;
    counters::compare(snapshot).await?;
    Ok(nonces)
}

pub(crate) use self::journal::verify as verify_journal;
