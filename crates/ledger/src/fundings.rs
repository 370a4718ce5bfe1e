//! Caps of the vault, seen in final blocks: chain -> available.

use alloy_primitives::B256;
use chrono::{DateTime, Utc};
use laurel_events::{Amount, CampaignFunded, CampaignId};
use sqlx::PgConnection;

use crate::{
    LedgerError, lock_accounts,
    numeric::{amount_from_sql, amount_to_sql},
};

/// A funding: the vault's cap for a campaign, seen in a final block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Funding {
    /// The campaign.
    pub campaign: CampaignId,
    /// The block.
    pub block_number: u64,
    /// The log in the block.
    pub log_index: u32,
    /// The transaction.
    pub tx: B256,
    /// The whole cap.
    pub cap: Amount,
}

/// Writes a funding, unless it is there: what the books have a cap of becomes `cap`, which only rises. What is overdrawn is covered
/// first. Returns what it added; nothing if it was there.
///
/// # Errors
/// [`LedgerError::ExistsDifferent`], or if the campaign has no books, or the database does not answer.
pub async fn fund(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    funding: &Funding,
) -> Result<Option<Amount>, LedgerError> {
    let id = || format!("{}/{}/{}", funding.campaign, funding.block_number, funding.log_index);
    let books = lock_accounts(conn, &[funding.campaign]).await?;
    let balances = books
        .get(&funding.campaign)
        .ok_or_else(|| LedgerError::inconsistent("accounts", "campaign", funding.campaign))?;
    let added = funding.cap.minus(balances.cap()).unwrap_or(Amount::ZERO);
    let created = sqlx::query!(
        r#"
        INSERT INTO fundings (campaign, block_number, log_index, tx, cap, added, recorded_at, turn)
        SELECT $1, $2, $3, $4, $5, $6, $7, coalesce(max(turn) + 1, 0) FROM fundings
        WHERE campaign = $1 AND block_number = $2 AND log_index = $3
        HAVING coalesce(max(turn), 1) % 2 = 1
        ON CONFLICT DO NOTHING
        "#,
        funding.campaign.number(),
        funding.block_number.cast_signed(),
        funding.log_index.cast_signed(),
        funding.tx.as_slice(),
        amount_to_sql(funding.cap),
        amount_to_sql(added),
        now,
    )
    .execute(&mut *conn)
    .await?;
    if created.rows_affected() == 0 {
        let cap = sqlx::query_scalar!(
            r#"
            SELECT cap FROM fundings WHERE campaign = $1 AND block_number = $2 AND log_index = $3
            ORDER BY turn DESC LIMIT 1
            "#,
            funding.campaign.number(),
            funding.block_number.cast_signed(),
            funding.log_index.cast_signed(),
        )
        .fetch_one(conn)
        .await?;
        return if amount_from_sql(&cap, "fundings", "cap", id())? == funding.cap {
            Ok(None)
        } else {
            Err(LedgerError::ExistsDifferent { transfer: "funding", id: id(), field: "cap" })
        };
    }
    let moved = sqlx::query!(
        r#"
        UPDATE accounts
        SET funded = funded + $2 - least(overdrawn, $2), available = available + $2 - least(overdrawn, $2),
            overdrawn = overdrawn - least(overdrawn, $2)
        WHERE campaign = $1
        "#,
        funding.campaign.number(),
        amount_to_sql(added),
    )
    .execute(conn)
    .await?;
    LedgerError::expect_rows("fund", 1, moved.rows_affected())?;
    Ok(Some(added))
}

/// Takes back a funding, if it is booked: available -> chain. What is not available any more is overdrawn. Returns how much that
/// was. The caller has locked the books.
///
/// # Errors
/// If the database does not answer.
pub async fn unfund(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    funded: &CampaignFunded,
) -> Result<Option<Amount>, LedgerError> {
    let added = sqlx::query_scalar!(
        r#"
        INSERT INTO fundings (campaign, block_number, log_index, turn, tx, cap, added, recorded_at)
        SELECT campaign, block_number, log_index, turn + 1, tx, cap, -added, $5
        FROM (SELECT * FROM fundings WHERE campaign = $1 AND block_number = $2 AND log_index = $3
              ORDER BY turn DESC LIMIT 1) f
        WHERE turn % 2 = 0 AND tx = $4
        RETURNING -added AS "added!"
        "#,
        funded.campaign.number(),
        funded.block_number.cast_signed(),
        funded.log_index.cast_signed(),
        funded.tx.as_slice(),
        now,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(added) = added else { return Ok(None) };
    let moved = sqlx::query!(
        r#"
        UPDATE accounts
        SET funded = funded - least(available, $2), available = available - least(available, $2),
            overdrawn = overdrawn + $2 - least(available, $2)
        WHERE campaign = $1
        "#,
        funded.campaign.number(),
        added,
    )
    .execute(conn)
    .await?;
    LedgerError::expect_rows("undo a funding", 1, moved.rows_affected())?;
    amount_from_sql(&added, "fundings", "added", funded.campaign).map(Some)
}
