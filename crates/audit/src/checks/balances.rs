//! Balances, against their transfers as they should be.

use bigdecimal::BigDecimal;

use crate::{
    AuditError,
    books::{self, Sums},
    finding::Code,
    snapshot::{Deltas, Snapshot, any_campaign},
};

/// Compares them. A transfer that was named is counted as it should be, so that one fault has one name.
pub(crate) async fn compare(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    for row in books::balances(snapshot.conn).await? {
        let id = any_campaign(row.campaign);
        if snapshot.only.is_some_and(|only| only != id) {
            continue;
        }
        let nothing = Deltas::default();
        let deltas = snapshot.known.deltas.get(&id).unwrap_or(&nothing);
        let sums = Sums {
            fundings: &row.fundings + &deltas.funded,
            holds: &row.holds + &deltas.holds,
            posts: &row.posts + &deltas.posts,
            voids: &row.voids + &deltas.voids,
            returns: &row.returns + &deltas.returns,
        };
        let differ = row.differing(&sums);
        let about = format!("campaign:{id}");
        if row.overdrawn > BigDecimal::default() {
            let detail = format!("grants stand on {} that the vault has no cap for", row.overdrawn);
            snapshot.findings.add(Code::BudgetShort, about.clone(), Some(id), detail);
        }
        if !differ.is_empty() {
            snapshot.findings.add(Code::BalanceDiffers, about, Some(id), differ.join("; "));
        }
    }
    Ok(())
}
