//! Holds that are given back: reserved -> available, or less is overdrawn.

use alloy_primitives::B256;
use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use laurel_events::{Amount, CampaignId, GrantId, VoidProof};
use sqlx::PgConnection;

use crate::{
    LedgerError, Written,
    numeric::{amount_from_sql, amount_to_sql},
};

/// Voids a hold, unless it was voided. The caller has the proof of INV 5.
///
/// # Errors
/// [`LedgerError::ExistsDifferent`], or if less is reserved than it moves, or the database does not answer.
pub async fn void(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    grant: GrantId,
    amount: Amount,
    proof: &VoidProof,
) -> Result<Written, LedgerError> {
    let (campaign, number) = (grant.campaign.number(), grant.number.cast_signed());
    let units = amount_to_sql(amount);
    let proof = serde_json::to_value(proof)
        .map_err(|source| LedgerError::Database(sqlx::Error::Encode(source.into())))?;
    let created = sqlx::query!(
        r#"
        INSERT INTO voids (campaign, number, amount, proof, recorded_at, turn)
        SELECT $1, $2, $3, $4, $5, coalesce(max(turn) + 1, 0) FROM voids WHERE campaign = $1 AND number = $2
        HAVING coalesce(max(turn), 1) % 2 = 1
        ON CONFLICT DO NOTHING
        "#,
        campaign,
        number,
        units,
        proof,
        now,
    )
    .execute(&mut *conn)
    .await?;
    if created.rows_affected() == 0 {
        let found = sqlx::query_scalar!(
            "SELECT amount FROM voids WHERE campaign = $1 AND number = $2 ORDER BY turn DESC LIMIT 1",
            campaign,
            number
        )
        .fetch_one(conn)
        .await?;
        return if found == units {
            Ok(Written::Exists)
        } else {
            Err(LedgerError::ExistsDifferent { transfer: "void", id: grant.to_string(), field: "amount" })
        };
    }
    let moved = sqlx::query!(
        r#"
        UPDATE accounts
        SET reserved = reserved - $2, overdrawn = overdrawn - least(overdrawn, $2), funded = funded - least(overdrawn, $2),
            available = available + $2 - least(overdrawn, $2)
        WHERE campaign = $1
        "#,
        campaign,
        units,
    )
    .execute(conn)
    .await?;
    LedgerError::expect_rows("void", 1, moved.rows_affected())?;
    Ok(Written::Created)
}

/// Holds again what `tx` had proven to be void: of the next grants after number `after`, of which it is `limit` at most, in the
/// order of their numbers. What is not available for them is overdrawn. The caller has locked the books.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn unvoid(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    (campaign, tx): (CampaignId, B256),
    after: Option<GrantId>,
    limit: i64,
) -> Result<Vec<(GrantId, Amount)>, LedgerError> {
    let undone = sqlx::query!(
        r#"
        WITH undone AS (
            INSERT INTO voids (campaign, number, turn, amount, proof, recorded_at)
            SELECT campaign, number, turn + 1, -amount, proof, $3 FROM standing_voids
            WHERE campaign = $1 AND number > $4 AND proof ->> 'tx' = $2
            ORDER BY number
            LIMIT $5
            RETURNING number, -amount AS amount
        )
        SELECT number AS "number!", amount AS "amount!" FROM undone ORDER BY number
        "#,
        campaign.number(),
        tx.to_string(),
        now,
        after.map_or(-1, |grant| grant.number.cast_signed()),
        limit,
    )
    .fetch_all(&mut *conn)
    .await?;
    if undone.is_empty() {
        return Ok(Vec::new());
    }
    let sum: BigDecimal = undone.iter().map(|row| &row.amount).sum();
    let moved = sqlx::query!(
        r#"
        UPDATE accounts
        SET reserved = reserved + $2, available = available - least(available, $2),
            funded = funded + $2 - least(available, $2), overdrawn = overdrawn + $2 - least(available, $2)
        WHERE campaign = $1
        "#,
        campaign.number(),
        sum,
    )
    .execute(conn)
    .await?;
    LedgerError::expect_rows("undo voids", 1, moved.rows_affected())?;
    undone
        .into_iter()
        .map(|row| {
            let grant = GrantId { campaign, number: row.number.cast_unsigned() };
            Ok((grant, amount_from_sql(&row.amount, "voids", "amount", grant)?))
        })
        .collect()
}
