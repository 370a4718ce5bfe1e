//! A database that is not the one we left: restored to an older moment, a replica that was promoted, a copy.
//!
//! The chain may have paid then what this database knows nothing of. While it is in quarantine nothing is signed and no place
//! is given; `laurel recover` finds out what the chain knows, and ends it.

use chrono::{DateTime, Utc};
use laurel_events::{Event, NewEvent, OperatorAlertRaised, alert::QUARANTINE};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::{
    Context, LedgerError, Stop, Written, append, clear_alert, raise_alert, resume_payouts, stop_payouts,
    stops::{LAUREL, lock_lanes},
};

/// What the alert is about.
const ABOUT: &str = "database";

/// What a look at the database's identity says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recognised {
    /// Nobody has signed from it before; now it is noted which one it is.
    First,
    /// It is the one that it was, as far as PostgreSQL tells.
    Same,
    /// It is another one, and what differs.
    Other(String),
}

/// Looks whether this is the database that it was. `epoch` names the time from now on if nobody has looked before.
///
/// # Errors
/// If the database does not answer.
pub async fn recognise(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    epoch: Uuid,
) -> Result<Recognised, LedgerError> {
    let noted = sqlx::query!(
        r#"
        SELECT i.system_id, i.timeline, i.database_id, p.system_id AS now_system_id, p.timeline AS now_timeline,
               p.database_id AS "now_database_id!"
        FROM identity i CROSS JOIN present_identity() p
        "#
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = noted else {
        note_identity(conn, now, epoch).await?;
        return Ok(Recognised::First);
    };
    let mut differs = Vec::new();
    if let (Some(was), Some(is)) = (&row.system_id, &row.now_system_id)
        && was != is
    {
        differs.push(format!("the cluster's system identifier was {was} and is {is}"));
    }
    if let (Some(was), Some(is)) = (row.timeline, row.now_timeline)
        && was != is
    {
        differs.push(format!("the cluster's timeline was {was} and is {is}"));
    }
    if row.database_id != row.now_database_id {
        differs.push(format!("the database's id was {} and is {}", row.database_id, row.now_database_id));
    }
    Ok(if differs.is_empty() { Recognised::Same } else { Recognised::Other(differs.join("; ")) })
}

/// Looks whether this is the database that it was, and begins a quarantine, named `epoch` afterwards, if it is not. Has a
/// transaction of its own. Returns what differs if the quarantine begins with this.
///
/// # Errors
/// If the database does not answer.
pub async fn quarantine_another(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    epoch: Uuid,
) -> Result<Option<String>, LedgerError> {
    let Recognised::Other(differs) = recognise(conn, now, epoch).await? else { return Ok(None) };
    let mut tx = conn.begin().await?;
    let reason = format!("this is not the database that it was: {differs}");
    let (written, events) = begin_quarantine(&mut tx, now, epoch, &reason).await?;
    // Whoever ended one meanwhile has noted that this is the database now; the row waited for that.
    if written != Written::Created || !matches!(recognise(&mut tx, now, epoch).await?, Recognised::Other(_)) {
        tx.rollback().await?;
        return Ok(None);
    }
    let events: Vec<NewEvent> = events.into_iter().map(NewEvent::from).collect();
    append(&mut tx, &Context::at(now), &events).await?;
    crate::commit(tx, "quarantine").await?;
    Ok(Some(reason))
}

/// Notes which database this is from now on.
///
/// # Errors
/// If the database does not answer.
async fn note_identity(conn: &mut PgConnection, now: DateTime<Utc>, epoch: Uuid) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        INSERT INTO identity (epoch, system_id, timeline, database_id, noted_at)
        SELECT $1, system_id, timeline, database_id, $2 FROM present_identity()
        ON CONFLICT (one_row) DO UPDATE
        SET epoch = EXCLUDED.epoch, system_id = EXCLUDED.system_id, timeline = EXCLUDED.timeline,
            database_id = EXCLUDED.database_id, noted_at = EXCLUDED.noted_at
        "#,
        epoch,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Why nothing is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// The name of the time after it.
    pub epoch: Uuid,
    /// Why it began.
    pub reason: String,
    /// When.
    pub began_at: DateTime<Utc>,
}

/// The quarantine that the database is in; none begins or ends before the transaction does. To be asked before anything
/// else is locked.
///
/// # Errors
/// If the database does not answer.
pub async fn lock_quarantine(conn: &mut PgConnection) -> Result<Option<Quarantine>, LedgerError> {
    lock_lanes(conn).await?;
    let found = sqlx::query_as!(Quarantine, "SELECT epoch, reason, began_at FROM quarantine FOR UPDATE");
    Ok(found.fetch_optional(conn).await?)
}

/// Whether the database is in quarantine, or has to be and nobody has noticed yet. If one has begun, it does not end before the
/// transaction does: whoever leaves something to the recovery has committed it by then.
///
/// # Errors
/// If the database does not answer.
pub async fn in_quarantine(conn: &mut PgConnection) -> Result<bool, LedgerError> {
    sqlx::query!("SELECT FROM quarantine FOR SHARE").execute(&mut *conn).await?;
    Ok(sqlx::query_scalar!(r#"SELECT in_quarantine() AS "quarantined!""#).fetch_one(conn).await?)
}

/// Begins a quarantine, unless there is one: from the commit on nothing is signed and no place is given. Returns the events;
/// the caller appends them.
///
/// # Errors
/// If the database does not answer.
pub async fn begin_quarantine(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    epoch: Uuid,
    reason: &str,
) -> Result<(Written, Vec<Event>), LedgerError> {
    lock_lanes(conn).await?;
    let begun = sqlx::query!(
        "INSERT INTO quarantine (epoch, reason, began_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        epoch,
        reason,
        now,
    )
    .execute(&mut *conn)
    .await?;
    if begun.rows_affected() == 0 {
        return Ok((Written::Exists, Vec::new()));
    }
    let (_, mut events) = stop_payouts(conn, now, Stop::All, QUARANTINE, LAUREL).await?;
    let alert = OperatorAlertRaised {
        code: QUARANTINE.to_owned(),
        about: ABOUT.to_owned(),
        detail: format!("{reason}: nothing is signed until `laurel recover` has compared it with the chain"),
    };
    events.extend(raise_alert(conn, now, alert).await?.map(Event::from));
    Ok((Written::Created, events))
}

/// Ends the quarantine, which the caller has locked: this is the database from now on. With `resume`, payouts go on, unless
/// they were stopped for another reason as well. Returns the events; the caller appends them.
///
/// # Errors
/// If the database does not answer.
pub async fn end_quarantine(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    epoch: Uuid,
    resume: bool,
) -> Result<Vec<Event>, LedgerError> {
    note_identity(conn, now, epoch).await?;
    sqlx::query!("DELETE FROM quarantine_chains").execute(&mut *conn).await?;
    let ended = sqlx::query!("DELETE FROM quarantine WHERE epoch = $1", epoch).execute(&mut *conn).await?;
    LedgerError::expect_rows("end a quarantine", 1, ended.rows_affected())?;
    let mut events: Vec<Event> =
        clear_alert(conn, QUARANTINE, ABOUT).await?.map(Event::from).into_iter().collect();
    let ours = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM stops WHERE about = 'all' AND (reason, stopped_by) = ($1, $2)) AS "ours!""#,
        QUARANTINE,
        LAUREL,
    );
    if resume && ours.fetch_one(&mut *conn).await? {
        events.extend(resume_payouts(conn, Stop::All).await?.unwrap_or_default());
    }
    Ok(events)
}
