//! The comparisons, in the order in which one's findings explain another's.

mod balances;
mod batches;
mod closings;
mod counters;
mod fundings;
mod grants;
mod journal;
mod lanes;
mod places;
mod postings;
mod recovered;
mod returned;
mod settlements;
mod voids;
mod wallets;

pub(crate) use self::journal::verify as verify_journal;
use self::{lanes::LaneNonce, returned::Returned};
use crate::{AuditError, AuditedChain, finding::Findings, snapshot::Snapshot};

/// What is to be asked of the chains once the snapshot is closed: a node may take its time.
#[derive(Debug)]
pub(crate) struct Questions {
    nonces: Vec<LaneNonce>,
    returned: Vec<Returned>,
}

/// Compares everything that the database has.
pub(crate) async fn compare(snapshot: &mut Snapshot<'_>) -> Result<Questions, AuditError> {
    fundings::find_foreign(snapshot).await?;
    settlements::compare(snapshot).await?;
    recovered::compare(snapshot).await?;
    batches::compare(snapshot).await?;
    let nonces = lanes::compare(snapshot).await?;
    let returned = returned::list(snapshot).await?;
    grants::compare(snapshot).await?;
    places::compare(snapshot).await?;
    postings::compare(snapshot).await?;
    fundings::compare(snapshot).await?;
    voids::compare(snapshot).await?;
    closings::compare(snapshot).await?;
    balances::compare(snapshot).await?;
    counters::compare(snapshot).await?;
    wallets::compare(snapshot).await?;
    Ok(Questions { nonces, returned })
}

/// Asks the chains what is left.
pub(crate) async fn ask(
    chains: &[AuditedChain],
    questions: &Questions,
    findings: &mut Findings,
) -> Result<(), AuditError> {
    returned::compare(chains, &questions.returned, findings).await?;
    lanes::compare_nonces(chains, &questions.nonces, findings).await;
    Ok(())
}
