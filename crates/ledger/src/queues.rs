//! Whether something may be signed for a campaign.

use alloy_primitives::B256;
use laurel_events::CampaignId;
use sqlx::PgConnection;

use crate::LedgerError;

/// Halts the queues of those of `campaigns` that are ours, in ascending order: nothing more is planned or signed for them.
/// One may be halted for several reasons; one that is not there yet begins halted. To be called after the campaigns' books
/// and counters were locked, and before any lane.
///
/// # Errors
/// If the database does not answer.
pub async fn halt_queues(
    conn: &mut PgConnection,
    campaigns: &[CampaignId],
    reason: &str,
) -> Result<(), LedgerError> {
    let ids: Vec<i64> = campaigns.iter().map(|campaign| campaign.number()).collect();
    sqlx::query!(
        r#"
        INSERT INTO queues AS q (campaign, vault, halted)
        SELECT c.id, c.vault, ARRAY[$2] FROM campaigns c WHERE c.id = ANY ($1) ORDER BY c.id
        ON CONFLICT (campaign) DO UPDATE SET halted = q.halted || EXCLUDED.halted
        WHERE NOT q.halted @> EXCLUDED.halted
        "#,
        &ids,
        reason,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets a queue go on that was halted for `reason`, unless it is for another one, too. Says whether it was.
///
/// # Errors
/// If the database does not answer.
pub async fn resume_queue(
    conn: &mut PgConnection,
    campaign: CampaignId,
    reason: &str,
) -> Result<bool, LedgerError> {
    let resumed = sqlx::query!(
        "UPDATE queues SET halted = array_remove(halted, $2) WHERE campaign = $1 AND $2 = ANY (halted)",
        campaign.number(),
        reason,
    )
    .execute(conn)
    .await?;
    Ok(resumed.rows_affected() == 1)
}

/// Notes that the vault pays for a campaign as before: the chain takes back that `tx` released it.
///
/// # Errors
/// If the database does not answer.
pub async fn forget_release(
    conn: &mut PgConnection,
    campaign: CampaignId,
    tx: B256,
) -> Result<(), LedgerError> {
    sqlx::query!(
        "UPDATE queues SET released_tx = NULL WHERE campaign = $1 AND released_tx = $2",
        campaign.number(),
        tx.as_slice(),
    )
    .execute(conn)
    .await?;
    Ok(())
}
