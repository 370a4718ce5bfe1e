//! Alerts: raised once while their cause lasts.

use chrono::{DateTime, Utc};
use laurel_events::{OperatorAlertCleared, OperatorAlertRaised};
use sqlx::PgConnection;

use crate::LedgerError;

/// Raises an alert. Returns its event unless it was already raised; the caller appends that.
///
/// # Errors
/// If the database does not answer.
pub async fn raise_alert(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    alert: OperatorAlertRaised,
) -> Result<Option<OperatorAlertRaised>, LedgerError> {
    let raised = sqlx::query!(
        "INSERT INTO alerts (code, about, detail, raised_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        alert.code,
        alert.about,
        alert.detail,
        now,
    )
    .execute(conn)
    .await?;
    Ok((raised.rows_affected() == 1).then_some(alert))
}

/// Clears an alert. Returns its event if it was raised; the caller appends that.
///
/// # Errors
/// If the database does not answer.
pub async fn clear_alert(
    conn: &mut PgConnection,
    code: &str,
    about: &str,
) -> Result<Option<OperatorAlertCleared>, LedgerError> {
    let cleared =
        sqlx::query!("DELETE FROM alerts WHERE code = $1 AND about = $2", code, about).execute(conn).await?;
    Ok((cleared.rows_affected() == 1)
        .then(|| OperatorAlertCleared { code: code.to_owned(), about: about.to_owned() }))
}
