//! How far the views are behind what happened.

use chrono::{DateTime, Utc};
use laurel_ledger::LedgerError;
use sqlx::PgConnection;

use crate::View;

/// How far a view is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewLag {
    /// The view.
    pub view: View,
    /// How many rows of the journal it has not read.
    pub rows: u64,
    /// When the oldest of them was recorded that is not archived.
    pub since: Option<DateTime<Utc>>,
}

/// How far every view is behind.
///
/// # Errors
/// If the database does not answer.
pub async fn view_lags(conn: &mut PgConnection) -> Result<Vec<ViewLag>, LedgerError> {
    let names: Vec<String> = View::ALL.iter().map(|view| view.as_str().to_owned()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT sum(h.next - coalesce(c.next, 0))::bigint AS "rows!", min(j.recorded_at) AS since
        FROM unnest($1::text[]) WITH ORDINALITY AS v (stage, at)
        CROSS JOIN heads h
        LEFT JOIN cursors c ON c.stage = v.stage AND c.part = h.part
        LEFT JOIN LATERAL (
            SELECT recorded_at FROM journal WHERE part = h.part AND position >= coalesce(c.next, 0)
            ORDER BY position LIMIT 1
        ) j ON true
        GROUP BY v.at
        ORDER BY v.at
        "#,
        &names,
    )
    .fetch_all(conn)
    .await?;
    let lags = View::ALL.into_iter().zip(rows);
    Ok(lags
        .map(|(view, row)| ViewLag { view, rows: u64::try_from(row.rows).unwrap_or(0), since: row.since })
        .collect())
}
