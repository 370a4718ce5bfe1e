//! How many of a campaign's grants are in each state.

use std::collections::BTreeMap;

use laurel_events::CampaignId;
use laurel_ledger::LedgerError;
use sqlx::PgConnection;

use crate::CampaignStats;

/// How many of a campaign's grants are in each state, but for those with none. What waits or is under way is counted where it is, what has
/// come to an end by `stats`, and what is left is in the queue: where these were read at different moments, the queue is off by what
/// went on between them.
///
/// # Errors
/// If the database does not answer.
pub async fn grant_counts(
    conn: &mut PgConnection,
    campaign: CampaignId,
    stats: &CampaignStats,
) -> Result<BTreeMap<&'static str, u64>, LedgerError> {
    let exceptions = sqlx::query!(
        r#"
        SELECT state, seq IS NOT NULL AS "placed!", count(*) AS "count!" FROM exceptions
        WHERE campaign = $1 AND state IN ('awaiting_wallet', 'held')
        GROUP BY state, seq IS NOT NULL
        "#,
        campaign.number(),
    )
    .fetch_all(&mut *conn)
    .await?;
    let under_way = sqlx::query!(
        r#"
        SELECT b.state, sum(s.count - cardinality(s.holes))::bigint AS "count!"
        FROM segments s JOIN batches b ON b.id = s.batch
        WHERE s.campaign = $1 AND s.posted_at IS NULL AND b.state IN ('submitted', 'mined', 'confirmed')
        GROUP BY b.state
        "#,
        campaign.number(),
    )
    .fetch_all(conn)
    .await?;
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    let (mut waiting, mut held_placed, mut sent) = (0, 0, 0);
    for row in exceptions {
        let count = row.count.unsigned_abs();
        let state = if row.state == "held" { "held" } else { "awaiting_wallet" };
        *counts.entry(state).or_default() += count;
        *(if row.placed { &mut held_placed } else { &mut waiting }) += count;
    }
    for row in under_way {
        let state = match row.state.as_str() {
            "mined" => "mined",
            "confirmed" => "confirmed",
            _ => "submitted",
        };
        counts.insert(state, row.count.unsigned_abs());
        sent += row.count.unsigned_abs();
    }
    let failed_placed = stats.failed.saturating_sub(stats.failed_unplaced);
    let unplaced = stats.grants.saturating_sub(stats.started + stats.failed_unplaced);
    counts.insert("requested", unplaced.saturating_sub(waiting));
    let queued = stats.started.saturating_sub(stats.completed + failed_placed + held_placed + sent);
    counts.insert("queued", queued);
    counts.insert("completed", stats.completed);
    counts.insert("failed", stats.failed.saturating_sub(stats.compensated));
    counts.insert("compensated", stats.compensated);
    counts.retain(|_, count| *count > 0);
    Ok(counts)
}
