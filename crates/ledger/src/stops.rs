//! Stopping payouts, and the way back.

use alloy_primitives::B256;
use chrono::{DateTime, Utc};
use laurel_events::{
    CampaignId, Event, OperatorAlertRaised,
    alert::{PAYOUTS_STOPPED, QUARANTINE, UNKNOWN_SETTLEMENT},
};
use sqlx::PgConnection;

use crate::{LedgerError, Written, clear_alert, raise_alert};

/// What is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Everything.
    All,
    /// What goes to this chain.
    Chain(u64),
    /// What a campaign pays.
    Campaign(CampaignId),
}

impl Stop {
    /// Its name in the database and in alerts.
    pub fn about(self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::Chain(id) => format!("chain:{id}"),
            Self::Campaign(id) => format!("campaign:{id}"),
        }
    }
}

/// Who stops payouts for a quarantine.
pub(crate) const LAUREL: &str = "laurel";

/// Waits for what is being signed: whoever signs holds its lane's row until the commit, and looks for stops behind it. Before any row of
/// a stop or a quarantine, so that two who stop something do not wait for each other.
pub(crate) async fn lock_lanes(conn: &mut PgConnection) -> Result<(), LedgerError> {
    sqlx::query!("SELECT FROM lanes ORDER BY id FOR NO KEY UPDATE").execute(conn).await?;
    Ok(())
}

/// Stops: from the commit on no more grants of it are settled. Waits for what is being signed; what is being sent then is sent, and
/// what was signed of a campaign that alone is stopped may still be outbid. A stop that is there
/// already stays as it is, but for a quarantine's, which would end with it. Returns the events; the caller appends them.
///
/// # Errors
/// If the database does not answer.
pub async fn stop_payouts(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    stop: Stop,
    reason: &str,
    by: &str,
) -> Result<(Written, Vec<Event>), LedgerError> {
    lock_lanes(conn).await?;
    let written = sqlx::query!(
        r#"
        INSERT INTO stops AS s (about, reason, stopped_by, stopped_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (about) DO UPDATE
        SET reason = EXCLUDED.reason, stopped_by = EXCLUDED.stopped_by, stopped_at = EXCLUDED.stopped_at
        WHERE (s.reason, s.stopped_by) = ($5, $6) AND (EXCLUDED.reason, EXCLUDED.stopped_by) <> ($5, $6)
        "#,
        stop.about(),
        reason,
        by,
        now,
        QUARANTINE,
        LAUREL,
    )
    .execute(&mut *conn)
    .await?;
    if written.rows_affected() == 0 {
        return Ok((Written::Exists, Vec::new()));
    }
    let alert = OperatorAlertRaised {
        code: PAYOUTS_STOPPED.to_owned(),
        about: stop.about(),
        detail: format!("{reason}, by {by}"),
    };
    let replaced = clear_alert(conn, PAYOUTS_STOPPED, &stop.about()).await?;
    let raised = raise_alert(conn, now, alert).await?;
    Ok((Written::Created, replaced.map(Event::from).into_iter().chain(raised.map(Event::from)).collect()))
}

/// Stops a chain for a settlement that nobody here has signed, and tells of it. Returns the events; the caller appends them.
///
/// # Errors
/// If the database does not answer.
pub async fn stop_for_unknown(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    chain_id: u64,
    tx: B256,
    by: &str,
) -> Result<Vec<Event>, LedgerError> {
    let (_, mut events) = stop_payouts(conn, now, Stop::Chain(chain_id), UNKNOWN_SETTLEMENT, by).await?;
    let alert = OperatorAlertRaised {
        code: UNKNOWN_SETTLEMENT.to_owned(),
        about: format!("chain:{chain_id}/tx:{tx}"),
        detail: format!("transaction {tx} settles, and this ledger has not signed it"),
    };
    events.extend(raise_alert(conn, now, alert).await?.map(Event::from));
    Ok(events)
}

/// Has payouts go on. Returns the events; the caller appends them. `None` if nothing was stopped.
///
/// # Errors
/// If the database does not answer.
pub async fn resume_payouts(conn: &mut PgConnection, stop: Stop) -> Result<Option<Vec<Event>>, LedgerError> {
    let gone = sqlx::query!("DELETE FROM stops WHERE about = $1", stop.about()).execute(&mut *conn).await?;
    if gone.rows_affected() == 0 {
        return Ok(None);
    }
    let cleared = clear_alert(conn, PAYOUTS_STOPPED, &stop.about()).await?;
    Ok(Some(cleared.map(Event::from).into_iter().collect()))
}

/// A stop that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// What is stopped.
    pub about: String,
    /// Why.
    pub reason: String,
    /// Who stopped it.
    pub by: String,
    /// Since when.
    pub at: DateTime<Utc>,
}

/// The stops that are in force.
///
/// # Errors
/// If the database does not answer.
pub async fn list_stops(conn: &mut PgConnection) -> Result<Vec<Stopped>, LedgerError> {
    let rows = sqlx::query_as!(
        Stopped,
        "SELECT about, reason, stopped_by AS by, stopped_at AS at FROM stops ORDER BY about"
    );
    Ok(rows.fetch_all(conn).await?)
}

/// Whether nothing may be signed or sent to a chain: it is stopped, or the database is in quarantine or should be.
///
/// # Errors
/// If the database does not answer.
pub async fn is_chain_stopped(conn: &mut PgConnection, chain_id: u64) -> Result<bool, LedgerError> {
    if crate::planted!(QuarantineSkipped) {
        return Ok(false);
    }
    let stopped = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (SELECT FROM stops WHERE about IN ('all', $1)) OR in_quarantine() AS "stopped!"
        "#,
        Stop::Chain(chain_id).about(),
    );
    Ok(stopped.fetch_one(conn).await?)
}
