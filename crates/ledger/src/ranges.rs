//! The ranges of the large tables, made ahead of need.

use sqlx::PgConnection;

use crate::LedgerError;

/// How far ahead of the longest partition ranges exist: more than a minute at the highest rate, and the schedule makes
/// new ones every minute.
pub const fn ahead_positions() -> i64 {
    131_072
}

/// Makes the ranges that the next [`ahead_positions`] positions need, each in a transaction of its own, so that none
/// keeps locks on two tables. Returns how many it made. Not to be called inside of a transaction.
///
/// # Errors
/// If the database does not answer, or the lock on a table was not to be had; other tables have their ranges then.
pub async fn ensure_ranges(conn: &mut PgConnection) -> Result<i32, LedgerError> {
    let ranged = sqlx::query!(
        r#"
        SELECT name, (SELECT max(next) FROM heads) + $1 AS "wanted!" FROM ranges ORDER BY name
        "#,
        ahead_positions(),
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut made = 0;
    let mut missed = None;
    for ranged in ranged {
        match make_ranges(conn, &ranged.name, ranged.wanted).await {
            Ok(new) => made += new,
            Err(error) => missed = Some(error),
        }
    }
    missed.map_or(Ok(made), Err)
}

/// Makes the ranges of one table up to the position `wanted`.
async fn make_ranges(conn: &mut PgConnection, ranged: &str, wanted: i64) -> Result<i32, LedgerError> {
    let mut made = 0;
    loop {
        let range =
            sqlx::query_scalar!("SELECT make_range($1, $2)", ranged, wanted).fetch_one(&mut *conn).await?;
        if range.is_none() {
            return Ok(made);
        }
        made += 1;
    }
}
