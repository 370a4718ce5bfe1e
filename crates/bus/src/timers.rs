//! Durable timers: an event that becomes true at a time.

use chrono::{DateTime, Utc};
use laurel_events::{Event, EventKind, NewEvent, canonical_json};
use laurel_ledger::{Context, LedgerError, append, commit};
use sqlx::{PgConnection, PgPool};

use crate::{StageError, Wakes};

/// How many timers fire in one transaction.
const FIRED_MAX: i64 = 500;

/// Schedules events. One of the same kind and key that is scheduled already keeps its time.
///
/// # Errors
/// If an event has no canonical form or the database does not answer.
pub async fn schedule_timers(
    conn: &mut PgConnection,
    timers: &[(DateTime<Utc>, Event)],
) -> Result<(), StageError> {
    if timers.is_empty() {
        return Ok(());
    }
    let kinds: Vec<String> = timers.iter().map(|(_, event)| event.kind().to_string()).collect();
    let keys: Vec<String> = timers.iter().map(|(_, event)| event.key()).collect();
    let due: Vec<DateTime<Utc>> = timers.iter().map(|(due_at, _)| *due_at).collect();
    let data = timers.iter().map(|(_, event)| canonical_json(event)).collect::<Result<Vec<_>, _>>()?;
    sqlx::query!(
        r#"
        INSERT INTO timers (kind, subject, due_at, data)
        SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::bytea[])
        ON CONFLICT DO NOTHING
        "#,
        &kinds,
        &keys,
        &due,
        &data,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes back timers of `kind` by their events' keys; those that fired or never were are passed over.
///
/// # Errors
/// If the database does not answer.
pub async fn cancel_timers(
    conn: &mut PgConnection,
    kind: EventKind,
    keys: &[String],
) -> Result<(), LedgerError> {
    sqlx::query!("DELETE FROM timers WHERE kind = $1 AND subject = ANY ($2)", kind.as_str(), keys)
        .execute(conn)
        .await?;
    Ok(())
}

/// Appends the events whose time has come. Returns how many.
///
/// # Errors
/// If a timer cannot be read or the database does not answer.
pub async fn fire_timers(pool: &PgPool, wakes: &Wakes, now: DateTime<Utc>) -> Result<usize, StageError> {
    let mut tx = pool.begin().await?;
    let due = sqlx::query!(
        r#"
        DELETE FROM timers t
        USING (
            SELECT kind, subject FROM timers WHERE due_at <= $1
            ORDER BY due_at, kind, subject LIMIT $2 FOR UPDATE SKIP LOCKED
        ) d
        WHERE t.kind = d.kind AND t.subject = d.subject
        RETURNING t.kind, t.subject, t.due_at, t.data
        "#,
        now,
        FIRED_MAX,
    )
    .fetch_all(&mut *tx)
    .await?;
    let mut events = Vec::with_capacity(due.len());
    for timer in due {
        let kind: EventKind = timer.kind.parse().map_err(StageError::poison)?;
        let event = Event::decode(kind, &timer.data).map_err(StageError::poison)?;
        events.push(NewEvent { event, occurred_at: Some(timer.due_at), cause: None });
    }
    append(&mut tx, &Context::at(now), &events).await?;
    commit(tx, "timers").await?;
    wakes.committed(events.iter().map(|new| new.event.kind())).await;
    Ok(events.len())
}
