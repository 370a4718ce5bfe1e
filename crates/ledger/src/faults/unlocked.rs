//! What planted bugs read without a lock.

use std::collections::BTreeMap;

use laurel_events::{CampaignId, Partition};
use sqlx::PgConnection;

use crate::{Balances, Claim, LedgerError, find_balances};

/// What [`claim_cursor`](crate::claim_cursor) finds, without claiming it.
pub(crate) async fn claim_unlocked(
    conn: &mut PgConnection,
    stage: &str,
    partition: Partition,
) -> Result<Option<Claim>, LedgerError> {
    let found = sqlx::query!(
        r#"SELECT c.next, h.next AS head FROM cursors c JOIN heads h USING (part) WHERE c.stage = $1 AND c.part = $2"#,
        stage,
        partition.number(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.map(|row| Claim { next: row.next, head: row.head, parked: false, halted: false }))
}

/// What [`lock_accounts`](crate::lock_accounts) finds, without locking it.
pub(crate) async fn read_accounts(
    conn: &mut PgConnection,
    campaigns: &[CampaignId],
) -> Result<BTreeMap<CampaignId, Balances>, LedgerError> {
    let mut books = BTreeMap::new();
    for campaign in campaigns {
        books.extend(find_balances(conn, *campaign).await?.map(|balances| (*campaign, balances)));
    }
    Ok(books)
}
