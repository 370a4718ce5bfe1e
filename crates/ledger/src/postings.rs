//! What batches paid: reserved -> paid.

use alloy_primitives::B256;
use chrono::{DateTime, Utc};
use laurel_events::{Amount, BatchId, CampaignId};
use sqlx::PgConnection;

use crate::{
    LedgerError, Written,
    numeric::{amount_from_sql, amount_to_sql},
};

/// A posting: reserved -> paid for what one batch paid of one campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The batch.
    pub batch: BatchId,
    /// The campaign.
    pub campaign: CampaignId,
    /// How many grants.
    pub grants: u32,
    /// Their sum.
    pub amount: Amount,
    /// The transaction.
    pub tx: B256,
}

/// Writes a posting, unless it is there.
///
/// # Errors
/// [`LedgerError::ExistsDifferent`], or if less is reserved than it moves, or the database does not answer.
pub async fn post(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    posting: &Posting,
) -> Result<Written, LedgerError> {
    let grants = i32::try_from(posting.grants).unwrap_or(i32::MAX);
    let amount = amount_to_sql(posting.amount);
    let created = sqlx::query!(
        r#"
        INSERT INTO postings (batch, campaign, grants, amount, tx, recorded_at, turn)
        SELECT $1, $2, $3, $4, $5, $6, coalesce(max(turn) + 1, 0) FROM postings WHERE batch = $1 AND campaign = $2
        HAVING coalesce(max(turn), 1) % 2 = 1
        ON CONFLICT DO NOTHING
        "#,
        posting.batch.uuid(),
        posting.campaign.number(),
        grants,
        amount,
        posting.tx.as_slice(),
        now,
    )
    .execute(&mut *conn)
    .await?;
    if created.rows_affected() == 0 && !crate::planted!(HoldPostedTwice) {
        return check_posting(conn, posting).await;
    }
    let moved = sqlx::query!(
        "UPDATE accounts SET reserved = reserved - $2, paid = paid + $2 WHERE campaign = $1",
        posting.campaign.number(),
        amount,
    )
    .execute(conn)
    .await?;
    LedgerError::expect_rows("post", 1, moved.rows_affected())?;
    Ok(Written::Created)
}

async fn check_posting(conn: &mut PgConnection, posting: &Posting) -> Result<Written, LedgerError> {
    let found = sqlx::query!(
        "SELECT grants, amount, tx FROM postings WHERE batch = $1 AND campaign = $2 ORDER BY turn DESC LIMIT 1",
        posting.batch.uuid(),
        posting.campaign.number(),
    )
    .fetch_one(conn)
    .await?;
    let id = || format!("{}/{}", posting.batch, posting.campaign);
    let different = |field| Err(LedgerError::ExistsDifferent { transfer: "posting", id: id(), field });
    if amount_from_sql(&found.amount, "postings", "amount", id())? != posting.amount {
        return different("amount");
    }
    if found.tx != posting.tx.as_slice() {
        return different("tx");
    }
    if u32::try_from(found.grants).ok() != Some(posting.grants) {
        return different("grants");
    }
    Ok(Written::Exists)
}

/// Takes back what `tx` had a batch post of a campaign, if it is posted: paid -> reserved. Returns what that was.
///
/// # Errors
/// If less is paid than it moves, or the database does not answer.
pub async fn unpost(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    batch: BatchId,
    campaign: CampaignId,
    tx: B256,
) -> Result<Option<Posting>, LedgerError> {
    let undone = sqlx::query!(
        r#"
        INSERT INTO postings (batch, campaign, turn, grants, amount, tx, recorded_at)
        SELECT batch, campaign, turn + 1, -grants, -amount, tx, $4
        FROM (SELECT * FROM postings WHERE batch = $1 AND campaign = $2 ORDER BY turn DESC LIMIT 1) p
        WHERE turn % 2 = 0 AND tx = $3
        RETURNING -grants AS "grants!", -amount AS "amount!"
        "#,
        batch.uuid(),
        campaign.number(),
        tx.as_slice(),
        now,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(undone) = undone else { return Ok(None) };
    let moved = sqlx::query!(
        "UPDATE accounts SET reserved = reserved + $2, paid = paid - $2 WHERE campaign = $1",
        campaign.number(),
        undone.amount,
    )
    .execute(conn)
    .await?;
    LedgerError::expect_rows("undo a posting", 1, moved.rows_affected())?;
    let amount = amount_from_sql(&undone.amount, "postings", "amount", batch)?;
    Ok(Some(Posting { batch, campaign, grants: undone.grants.unsigned_abs(), amount, tx }))
}
