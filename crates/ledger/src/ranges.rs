//! The ranges of the large tables, made ahead of need.

use sqlx::PgConnection;

use crate::LedgerError;

/// How far ahead of the longest partition ranges exist: more than a minute at the highest rate, and the schedule makes
/// new ones every minute.
pub const fn ahead_positions() -> i64 {
    131_072
}

/// Makes the ranges that the next [`ahead_positions`] positions need. Returns how many it made.
///
/// # Errors
/// If the database does not answer.
pub async fn ensure_ranges(conn: &mut PgConnection) -> Result<i32, LedgerError> {
    let made = sqlx::query_scalar!(
        r#"SELECT ensure_ranges(max(next) + $1) AS "made!" FROM heads"#,
        ahead_positions(),
    )
    .fetch_one(conn)
    .await?;
    Ok(made)
}
