//! Leases: one holder at a time, for as long as it renews.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use crate::LedgerError;

/// Takes or renews a lease. Says whether `holder` has it now, until `now + lifetime`.
///
/// # Errors
/// If the database does not answer.
pub async fn acquire_lease(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    name: &str,
    holder: &str,
    lifetime: TimeDelta,
) -> Result<bool, LedgerError> {
    let taken = sqlx::query!(
        r#"
        INSERT INTO leases (name, holder, lease_until) VALUES ($1, $2, $4)
        ON CONFLICT (name) DO UPDATE SET holder = EXCLUDED.holder, lease_until = EXCLUDED.lease_until
        WHERE leases.holder = EXCLUDED.holder OR leases.lease_until <= $3
        "#,
        name,
        holder,
        now,
        now + lifetime,
    )
    .execute(conn)
    .await?;
    Ok(taken.rows_affected() == 1)
}
