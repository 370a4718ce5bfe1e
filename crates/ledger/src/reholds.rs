//! Holds that have to be made again, because the chain took back what proved them void: some of them, then the next ones.

use alloy_primitives::B256;
use laurel_events::{CampaignId, GrantId};
use sqlx::PgConnection;

use crate::LedgerError;

/// Notes that what `tx` had proven void is to be held again.
///
/// # Errors
/// If the database does not answer.
pub async fn begin_rehold(
    conn: &mut PgConnection,
    campaign: CampaignId,
    tx: B256,
) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        INSERT INTO reholdings (campaign, tx, after) SELECT id, $2, -1 FROM campaigns WHERE id = $1
        ON CONFLICT (campaign, tx) DO UPDATE SET after = EXCLUDED.after
        "#,
        campaign.number(),
        tx.as_slice(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The next transaction of which holds of a campaign have to be made again, and the last grant whose hold was.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn next_rehold(
    conn: &mut PgConnection,
    campaign: CampaignId,
) -> Result<Option<(B256, Option<GrantId>)>, LedgerError> {
    let next = sqlx::query!(
        "SELECT tx, after FROM reholdings WHERE campaign = $1 ORDER BY tx LIMIT 1",
        campaign.number(),
    );
    let Some(next) = next.fetch_optional(conn).await? else { return Ok(None) };
    let tx = B256::try_from(next.tx.as_slice())
        .map_err(|_| LedgerError::inconsistent("reholdings", "tx", campaign))?;
    let after = u64::try_from(next.after).ok().map(|number| GrantId { campaign, number });
    Ok(Some((tx, after)))
}

/// Notes up to which grant that was done; without one, that it is done.
///
/// # Errors
/// If the database does not answer.
pub async fn move_rehold(
    conn: &mut PgConnection,
    (campaign, tx): (CampaignId, B256),
    after: Option<GrantId>,
) -> Result<(), LedgerError> {
    let after = after.map(|grant| grant.number.cast_signed());
    sqlx::query!(
        r#"
        WITH over AS (DELETE FROM reholdings WHERE campaign = $1 AND tx = $2 AND $3::bigint IS NULL)
        UPDATE reholdings SET after = $3 WHERE campaign = $1 AND tx = $2 AND $3 IS NOT NULL
        "#,
        campaign.number(),
        tx.as_slice(),
        after,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The campaigns of a chain of which holds have still to be made again.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn list_reholds(conn: &mut PgConnection, chain_id: u64) -> Result<Vec<CampaignId>, LedgerError> {
    let campaigns = sqlx::query_scalar!(
        r#"
        SELECT DISTINCT r.campaign FROM reholdings r
        JOIN campaigns c ON c.id = r.campaign JOIN vaults v ON v.id = c.vault
        WHERE v.chain_id = $1
        ORDER BY r.campaign
        "#,
        chain_id.cast_signed(),
    );
    let wrong = |number: i64| LedgerError::inconsistent("reholdings", "campaign", number);
    let campaigns = campaigns.fetch_all(conn).await?.into_iter();
    campaigns.map(|number| CampaignId::try_from(number).map_err(|_| wrong(number))).collect()
}
