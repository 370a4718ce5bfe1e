//! Every movement of money, for whoever wants to add it up.

use chrono::{DateTime, Utc};
use laurel_events::{Amount, CampaignId};
use sqlx::PgConnection;

use crate::{LedgerError, numeric::amount_from_sql};

/// A movement of money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// funding, hold, post or void.
    pub kind: String,
    /// What it concerns: a block and log, a grant, or a batch.
    pub reference: String,
    /// The account it leaves.
    pub debit: String,
    /// The account it enters.
    pub credit: String,
    /// How much.
    pub amount: Amount,
    /// When it was written.
    pub recorded_at: DateTime<Utc>,
    /// Where a list goes on after it.
    pub cursor: String,
}

/// A campaign's transfers in the order of their writing, after the one whose cursor is `after`.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn list_transfers(
    conn: &mut PgConnection,
    campaign: CampaignId,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Transfer>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT kind AS "kind!", reference AS "reference!", debit AS "debit!", credit AS "credit!", amount AS "amount!",
               recorded_at AS "recorded_at!", cursor AS "cursor!"
        FROM (
            SELECT t.*, to_char(recorded_at AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISSUS') || '.' || kind || '.' || reference
                        AS cursor
            FROM transfers t
            WHERE campaign = $1
        ) t
        WHERE $2::text IS NULL OR cursor COLLATE "C" > $2
        ORDER BY cursor COLLATE "C"
        LIMIT $3
        "#,
        campaign.number(),
        after,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Transfer {
                amount: amount_from_sql(&row.amount, "transfers", "amount", &row.cursor)?,
                kind: row.kind,
                reference: row.reference,
                debit: row.debit,
                credit: row.credit,
                recorded_at: row.recorded_at,
                cursor: row.cursor,
            })
        })
        .collect()
}
