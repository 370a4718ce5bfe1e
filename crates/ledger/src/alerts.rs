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

/// Whether an alert is raised; locks it until the transaction ends, so that nobody else clears it meanwhile.
///
/// # Errors
/// If the database does not answer.
pub async fn lock_alert(conn: &mut PgConnection, code: &str, about: &str) -> Result<bool, LedgerError> {
    let locked = sqlx::query!("SELECT FROM alerts WHERE code = $1 AND about = $2 FOR UPDATE", code, about)
        .execute(conn)
        .await?;
    Ok(locked.rows_affected() == 1)
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

/// Clears alerts of several codes about one thing. Returns the events of those that were raised; the caller appends them.
///
/// # Errors
/// If the database does not answer.
pub async fn clear_alerts(
    conn: &mut PgConnection,
    codes: &[String],
    about: &str,
) -> Result<Vec<OperatorAlertCleared>, LedgerError> {
    let mut cleared = sqlx::query_scalar!(
        "DELETE FROM alerts WHERE code = ANY ($1) AND about = $2 RETURNING code",
        codes,
        about
    )
    .fetch_all(conn)
    .await?;
    cleared.sort_unstable();
    Ok(cleared.into_iter().map(|code| OperatorAlertCleared { code, about: about.to_owned() }).collect())
}

/// Whether an alert of one of those codes is raised about it.
///
/// # Errors
/// If the database does not answer.
pub async fn has_alert_of(
    conn: &mut PgConnection,
    codes: &[String],
    about: &str,
) -> Result<bool, LedgerError> {
    let raised = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM alerts WHERE code = ANY ($1) AND about = $2) AS "raised!""#,
        codes,
        about,
    );
    Ok(raised.fetch_one(conn).await?)
}

/// An alert whose cause lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// A stable code.
    pub code: String,
    /// What it is about.
    pub about: String,
    /// What happened.
    pub detail: String,
    /// Since when.
    pub raised_at: DateTime<Utc>,
}

/// The alerts whose codes and subjects come after `after`, in their order.
///
/// # Errors
/// If the database does not answer.
pub async fn list_alerts(
    conn: &mut PgConnection,
    after: Option<(&str, &str)>,
    limit: i64,
) -> Result<Vec<Alert>, LedgerError> {
    let (code, about) = after.unwrap_or_default();
    let alerts = sqlx::query_as!(
        Alert,
        r#"
        SELECT code, about, detail, raised_at FROM alerts
        WHERE (code COLLATE "C", about COLLATE "C") > ($1, $2)
        ORDER BY code COLLATE "C", about COLLATE "C"
        LIMIT $3
        "#,
        code,
        about,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(alerts)
}

/// What alerts of a code are about.
///
/// # Errors
/// If the database does not answer.
pub async fn alerts_about(conn: &mut PgConnection, code: &str) -> Result<Vec<String>, LedgerError> {
    let about = sqlx::query_scalar!("SELECT about FROM alerts WHERE code = $1 ORDER BY about", code);
    Ok(about.fetch_all(conn).await?)
}

/// Whether an operator has said of an alert of that code about it that it was dealt with.
///
/// # Errors
/// If the database does not answer.
pub async fn is_acknowledged(conn: &mut PgConnection, code: &str, about: &str) -> Result<bool, LedgerError> {
    let known = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM acknowledgements WHERE code = $1 AND about = $2) AS "known!""#,
        code,
        about,
    );
    Ok(known.fetch_one(conn).await?)
}

/// Whether an alert of that code about something that begins so is raised.
///
/// # Errors
/// If the database does not answer.
pub async fn has_alert(conn: &mut PgConnection, code: &str, about: &str) -> Result<bool, LedgerError> {
    let raised = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM alerts WHERE code = $1 AND starts_with(about, $2)) AS "raised!""#,
        code,
        about,
    );
    Ok(raised.fetch_one(conn).await?)
}
