//! Balances, against their transfers as they should be.

use bigdecimal::BigDecimal;

use crate::{
    AuditError, books,
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
        let (funded, posts) = (&row.fundings + &deltas.funded, &row.posts + &deltas.posts);
        let (holds, voids) = (&row.holds + &deltas.holds, &row.voids + &deltas.voids);
        let sums: [(&str, &BigDecimal, BigDecimal); 4] = [
            ("funded", &row.funded, funded.clone()),
            ("available", &row.available, funded - &holds + &voids),
            ("reserved", &row.reserved, holds - &posts - voids),
            ("paid", &row.paid, posts),
        ];
        let differ: Vec<String> = sums
            .iter()
            .filter(|(_, balance, sum)| *balance != sum)
            .map(|(account, balance, sum)| format!("{account} is {balance}, its transfers sum up to {sum}"))
            .collect();
        if !differ.is_empty() {
            let about = format!("campaign:{id}");
            snapshot.findings.add(Code::BalanceDiffers, about, Some(id), differ.join("; "));
        }
    }
    Ok(())
}
