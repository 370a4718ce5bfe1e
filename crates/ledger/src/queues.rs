//! Whether something may be signed for a campaign.

use laurel_events::CampaignId;
use sqlx::PgConnection;

use crate::LedgerError;

/// Halts the queues of those of `campaigns` that are ours, in ascending order: nothing more is planned or signed for them.
/// One that is halted keeps its reason; one that is not there yet begins halted. To be called after the campaigns' books
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
        SELECT c.id, c.vault, $2 FROM campaigns c WHERE c.id = ANY ($1) ORDER BY c.id
        ON CONFLICT (campaign) DO UPDATE SET halted = EXCLUDED.halted WHERE q.halted IS NULL
        "#,
        &ids,
        reason,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets a queue go on that was halted for `reason`. Says whether it was.
///
/// # Errors
/// If the database does not answer.
pub async fn resume_queue(
    conn: &mut PgConnection,
    campaign: CampaignId,
    reason: &str,
) -> Result<bool, LedgerError> {
    let resumed = sqlx::query!(
        "UPDATE queues SET halted = NULL WHERE campaign = $1 AND halted = $2",
        campaign.number(),
        reason,
    )
    .execute(conn)
    .await?;
    Ok(resumed.rows_affected() == 1)
}
