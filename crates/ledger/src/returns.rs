//! What is left of released campaigns is given back: available -> returned.

use alloy_primitives::B256;
use chrono::{DateTime, Utc};
use laurel_events::{Amount, CampaignId, CampaignReleased};
use sqlx::PgConnection;

use crate::{
    LedgerError,
    numeric::{amount_from_sql, amount_to_sql},
};

/// Notes that a final block released a campaign.
///
/// # Errors
/// If the database does not answer.
pub async fn note_release(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    released: &CampaignReleased,
) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        INSERT INTO releases (campaign, tx, block_number, amount, recorded_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (campaign) DO UPDATE
        SET tx = EXCLUDED.tx, block_number = EXCLUDED.block_number, amount = EXCLUDED.amount,
            recorded_at = EXCLUDED.recorded_at
        "#,
        released.campaign.number(),
        released.tx.as_slice(),
        released.block_number.cast_signed(),
        amount_to_sql(released.released),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What was given back of a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Return {
    /// The campaign.
    pub campaign: CampaignId,
    /// How much.
    pub amount: Amount,
    /// The transaction that released it.
    pub tx: B256,
}

/// Gives back what is left of those of `campaigns` that are released, of which nothing is held any more, and of which nothing was given back:
/// what the vault released, and not what it paid without a hold. The caller has locked their books.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn give_back(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaigns: &[CampaignId],
) -> Result<Vec<Return>, LedgerError> {
    let campaigns: Vec<i64> = campaigns.iter().map(|campaign| campaign.number()).collect();
    let rows = sqlx::query!(
        r#"
        WITH given AS (
            INSERT INTO returns (campaign, turn, tx, amount, recorded_at)
            SELECT r.campaign, coalesce(l.turn + 1, 0), r.tx, least(r.amount, a.available), $2
            FROM releases r
            JOIN accounts a ON a.campaign = r.campaign
            LEFT JOIN LATERAL (SELECT max(turn) AS turn FROM returns t WHERE t.campaign = r.campaign) l ON true
            WHERE r.campaign = ANY ($1) AND a.reserved = 0 AND coalesce(l.turn, 1) % 2 = 1
            RETURNING campaign, tx, amount
        ), moved AS (
            UPDATE accounts a SET available = available - g.amount, returned = returned + g.amount
            FROM given g WHERE a.campaign = g.campaign
        )
        SELECT campaign, tx, amount FROM given ORDER BY campaign
        "#,
        &campaigns,
        now,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let wrong = |column| LedgerError::inconsistent("returns", column, row.campaign);
            Ok(Return {
                campaign: CampaignId::try_from(row.campaign).map_err(|_| wrong("campaign"))?,
                amount: amount_from_sql(&row.amount, "returns", "amount", row.campaign)?,
                tx: B256::try_from(row.tx.as_slice()).map_err(|_| wrong("tx"))?,
            })
        })
        .collect()
}

/// Takes back a release that the chain took back, and what was given back by it. Says what that was. The caller has locked the books.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn take_back(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    released: &CampaignReleased,
) -> Result<Option<Amount>, LedgerError> {
    let (campaign, tx) = (released.campaign.number(), released.tx.as_slice());
    sqlx::query!("DELETE FROM releases WHERE campaign = $1 AND tx = $2", campaign, tx)
        .execute(&mut *conn)
        .await?;
    let undone = sqlx::query_scalar!(
        r#"
        WITH undone AS (
            INSERT INTO returns (campaign, turn, tx, amount, recorded_at)
            SELECT campaign, turn + 1, tx, -amount, $3
            FROM (SELECT * FROM returns WHERE campaign = $1 ORDER BY turn DESC LIMIT 1) l
            WHERE turn % 2 = 0 AND tx = $2
            RETURNING -amount AS amount
        ), moved AS (
            UPDATE accounts SET returned = returned - u.amount,
                available = available + u.amount - least(overdrawn, u.amount),
                funded = funded - least(overdrawn, u.amount), overdrawn = overdrawn - least(overdrawn, u.amount)
            FROM undone u WHERE campaign = $1
        )
        SELECT amount AS "amount!" FROM undone
        "#,
        campaign,
        tx,
        now,
    )
    .fetch_optional(conn)
    .await?;
    undone.map(|amount| amount_from_sql(&amount, "returns", "amount", released.campaign)).transpose()
}
