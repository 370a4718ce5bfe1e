//! Dead letters: events that a stage could not handle, and those that wait behind them.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use laurel_events::{
    Envelope, EventId, NewEvent, OperatorAlertCleared, OperatorAlertRaised, Partition, Subject,
    alert::{DEAD_LETTERS, STAGE_HALTED},
};
use laurel_ledger::{Context, LedgerError, append, clear_alert, lock_alert, raise_alert};
use sqlx::{PgConnection, PgPool};

/// Where a letter is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum LetterState {
    /// It will be tried again.
    Retrying,
    /// Its attempts are used up: an operator decides.
    Dead,
    /// It waits for an earlier letter of its subject.
    Blocked,
    /// It was handled after all.
    Redriven,
    /// An operator gave it up.
    Dropped,
}

/// A letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its number.
    pub id: i64,
    /// The stage that could not handle it.
    pub stage: String,
    /// The event.
    pub event: EventId,
    /// The event's kind.
    pub kind: String,
    /// What the event is about.
    pub subject: String,
    /// Where it is on its way.
    pub state: LetterState,
    /// How often it was tried.
    pub attempts: i32,
    /// The last error and its sources.
    pub error: Option<String>,
    /// When it is tried again.
    pub due_at: Option<DateTime<Utc>>,
    /// When it became a letter.
    pub created_at: DateTime<Utc>,
}

/// A letter that is about to be written.
#[derive(Clone, Debug)]
pub(crate) struct NewLetter {
    event: EventId,
    kind: &'static str,
    subject: Subject,
    due_at: Option<DateTime<Utc>>,
    error: Option<String>,
}

impl NewLetter {
    /// An event that failed once.
    pub(crate) fn retrying(event: &Envelope, due_at: DateTime<Utc>, error: String) -> Self {
        Self { due_at: Some(due_at), error: Some(error), ..Self::blocked(event) }
    }

    /// An event whose subject is parked.
    pub(crate) fn blocked(event: &Envelope) -> Self {
        let kind = event.event.kind().as_str();
        Self { event: event.id, kind, subject: event.subject(), due_at: None, error: None }
    }
}

/// The subjects whose events `stage` sets aside.
pub(crate) async fn parked_subjects(
    conn: &mut PgConnection,
    stage: &str,
) -> Result<HashSet<Subject>, LedgerError> {
    let subjects = sqlx::query_scalar!(
        "SELECT DISTINCT subject FROM dead_letters WHERE stage = $1 AND state IN ('retrying', 'dead', 'blocked')",
        stage,
    )
    .fetch_all(conn)
    .await?;
    Ok(subjects.into_iter().map(Subject::from_text).collect())
}

/// Writes letters.
pub(crate) async fn insert_letters(
    conn: &mut PgConnection,
    stage: &str,
    now: DateTime<Utc>,
    letters: &[NewLetter],
) -> Result<(), LedgerError> {
    if letters.is_empty() {
        return Ok(());
    }
    let parts: Vec<i16> = letters.iter().map(|letter| letter.event.partition.number()).collect();
    let positions: Vec<i64> = letters.iter().map(|letter| letter.event.offset).collect();
    let indexes: Vec<i32> = letters.iter().map(|letter| letter.event.index).collect();
    let kinds: Vec<String> = letters.iter().map(|letter| letter.kind.to_owned()).collect();
    let subjects: Vec<String> = letters.iter().map(|letter| letter.subject.to_string()).collect();
    let errors: Vec<Option<String>> = letters.iter().map(|letter| letter.error.clone()).collect();
    let due: Vec<Option<DateTime<Utc>>> = letters.iter().map(|letter| letter.due_at).collect();
    sqlx::query!(
        r#"
        INSERT INTO dead_letters
            (stage, part, position, idx, kind, subject, state, attempts, error, due_at, created_at, updated_at)
        SELECT $1, l.part, l.position, l.idx, l.kind, l.subject,
               CASE WHEN l.due_at IS NULL THEN 'blocked' ELSE 'retrying' END,
               CASE WHEN l.due_at IS NULL THEN 0 ELSE 1 END, l.error, l.due_at, $2, $2
        FROM unnest($3::smallint[], $4::bigint[], $5::integer[], $6::text[], $7::text[], $8::text[],
                    $9::timestamptz[]) AS l (part, position, idx, kind, subject, error, due_at)
        "#,
        stage,
        now,
        &parts,
        &positions,
        &indexes,
        &kinds,
        &subjects,
        &errors as &[Option<String>],
        &due as &[Option<DateTime<Utc>>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A letter that is due.
#[derive(Clone, Debug)]
pub(crate) struct DueLetter {
    pub(crate) id: i64,
    pub(crate) event: EventId,
    pub(crate) kind: String,
    pub(crate) attempts: i32,
}

/// The letter of `stage` that has been due the longest.
pub(crate) async fn next_due(
    pool: &PgPool,
    stage: &str,
    now: DateTime<Utc>,
) -> Result<Option<DueLetter>, LedgerError> {
    let row = sqlx::query!(
        r#"
        SELECT id, part, position, idx, kind, attempts FROM dead_letters
        WHERE stage = $1 AND state = 'retrying' AND due_at <= $2
        ORDER BY due_at, id
        LIMIT 1
        "#,
        stage,
        now,
    )
    .fetch_optional(pool)
    .await?;
    row.map(|row| {
        let event = event_id(row.id, row.part, row.position, row.idx)?;
        Ok(DueLetter { id: row.id, event, kind: row.kind, attempts: row.attempts })
    })
    .transpose()
}

/// Whether the letter is still due; locks it.
pub(crate) async fn lock_due(conn: &mut PgConnection, letter: &DueLetter) -> Result<bool, LedgerError> {
    let found = sqlx::query_scalar!(
        r#"
        SELECT true AS "found!" FROM dead_letters
        WHERE id = $1 AND state = 'retrying' AND attempts = $2
        FOR NO KEY UPDATE SKIP LOCKED
        "#,
        letter.id,
        letter.attempts,
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.is_some())
}

/// Has a letter wait until `later` without counting an attempt.
pub(crate) async fn put_off_letter(
    pool: &PgPool,
    letter: &DueLetter,
    later: DateTime<Utc>,
) -> Result<(), LedgerError> {
    sqlx::query!(
        "UPDATE dead_letters SET due_at = $3 WHERE id = $1 AND state = 'retrying' AND attempts = $2",
        letter.id,
        letter.attempts,
        later,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// What an alert about a letter of a stage is about: an event that has become one that must not be passed over.
pub(crate) fn halted_letter(stage: &str, id: i64) -> String {
    format!("stage:{stage}/letter:{id}")
}

fn about_stage(stage: &str) -> String {
    format!("stage:{stage}")
}

/// Tells, once while there are any, that a stage has dead letters.
pub(crate) async fn tell_dead(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    stage: &str,
    detail: String,
) -> Result<Option<OperatorAlertRaised>, LedgerError> {
    let alert = OperatorAlertRaised { code: DEAD_LETTERS.to_owned(), about: about_stage(stage), detail };
    // Who is about to clear it has not seen this letter: it is raised again behind that, or seen with the letter.
    if lock_alert(conn, DEAD_LETTERS, &alert.about).await? {
        return Ok(None);
    }
    raise_alert(conn, now, alert).await
}

/// Marks a letter as done and lets the next of its subject go. Returns the events of alerts that end with it; the
/// caller appends them.
pub(crate) async fn settle_letter(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    stage: &str,
    id: i64,
    state: LetterState,
) -> Result<Vec<OperatorAlertCleared>, LedgerError> {
    sqlx::query!(
        "UPDATE dead_letters SET state = $2, due_at = NULL, updated_at = $3 WHERE id = $1",
        id,
        state as LetterState,
        now
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        UPDATE dead_letters SET state = 'retrying', due_at = $2, updated_at = $2
        WHERE id = (
            SELECT next.id FROM dead_letters next JOIN dead_letters done
                ON done.id = $1 AND next.stage = done.stage AND next.subject = done.subject
            WHERE next.state = 'blocked'
            ORDER BY next.part, next.position, next.idx
            LIMIT 1
        )
        "#,
        id,
        now,
    )
    .execute(&mut *conn)
    .await?;
    let mut cleared = Vec::from_iter(clear_alert(conn, STAGE_HALTED, &halted_letter(stage, id)).await?);
    let about = about_stage(stage);
    if lock_alert(conn, DEAD_LETTERS, &about).await? && !has_dead(conn, stage).await? {
        cleared.extend(clear_alert(conn, DEAD_LETTERS, &about).await?);
    }
    Ok(cleared)
}

async fn has_dead(conn: &mut PgConnection, stage: &str) -> Result<bool, LedgerError> {
    let dead = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM dead_letters WHERE stage = $1 AND state = 'dead') AS "dead!""#,
        stage,
    );
    Ok(dead.fetch_one(conn).await?)
}

/// Counts another failure of a letter; without `due_at` it is dead.
pub(crate) async fn fail_letter(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    id: i64,
    due_at: Option<DateTime<Utc>>,
    error: &str,
) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        UPDATE dead_letters
        SET attempts = attempts + 1, error = $3, due_at = $4, updated_at = $2,
            state = CASE WHEN $4::timestamptz IS NULL THEN 'dead' ELSE 'retrying' END
        WHERE id = $1
        "#,
        id,
        now,
        error,
        due_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The letters that are not done, or of one state, from `after` on.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn list_letters(
    conn: &mut PgConnection,
    state: Option<LetterState>,
    after: i64,
    limit: i64,
) -> Result<Vec<Letter>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT id, stage, part, position, idx, kind, subject, state AS "state: LetterState", attempts, error, due_at,
               created_at
        FROM dead_letters
        WHERE id > $1 AND (state = $2 OR ($2 IS NULL AND state IN ('retrying', 'dead', 'blocked')))
        ORDER BY id
        LIMIT $3
        "#,
        after,
        state as Option<LetterState>,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Letter {
                id: row.id,
                event: event_id(row.id, row.part, row.position, row.idx)?,
                stage: row.stage,
                kind: row.kind,
                subject: row.subject,
                state: row.state,
                attempts: row.attempts,
                error: row.error,
                due_at: row.due_at,
                created_at: row.created_at,
            })
        })
        .collect()
}

/// The letter of that number.
///
/// # Errors
/// If its row is inconsistent or the database does not answer.
pub async fn find_letter(conn: &mut PgConnection, id: i64) -> Result<Option<Letter>, LedgerError> {
    let state =
        sqlx::query_scalar!(r#"SELECT state AS "state: LetterState" FROM dead_letters WHERE id = $1"#, id)
            .fetch_optional(&mut *conn)
            .await?;
    let Some(state) = state else { return Ok(None) };
    Ok(list_letters(conn, Some(state), id - 1, 1).await?.into_iter().find(|letter| letter.id == id))
}

/// Why a letter cannot be redriven or dropped.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    /// There is no such letter.
    #[error("there is no dead letter {0}")]
    Unknown(i64),
    /// It is not dead, or not any more.
    #[error(
        "letter {id} is {state:?}: only a dead letter can be redriven, only a dead or retrying one dropped"
    )]
    WrongState {
        /// The letter.
        id: i64,
        /// Its state.
        state: LetterState,
    },
    /// The database.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Has a dead letter tried again, with all its attempts. The stage does it.
///
/// # Errors
/// If there is no such letter, it is not dead, or the database does not answer.
pub async fn redrive_letter(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    id: i64,
) -> Result<(), RedriveError> {
    let redriven = sqlx::query!(
        r#"
        UPDATE dead_letters SET state = 'retrying', attempts = 0, due_at = $2, updated_at = $2
        WHERE id = $1 AND state = 'dead'
        "#,
        id,
        now,
    )
    .execute(&mut *conn)
    .await
    .map_err(LedgerError::from)?;
    if redriven.rows_affected() == 1 { Ok(()) } else { Err(wrong_state(conn, id).await?) }
}

/// How many letters are redriven at once: what follows is handled one after the other.
const REDRIVEN_MAX: i64 = 1_000;

/// Has the oldest dead letters tried again, of one stage or of all, with all their attempts. Returns their numbers and kinds;
/// there may be more.
///
/// # Errors
/// If the database does not answer.
pub async fn redrive_letters(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    stage: Option<&str>,
) -> Result<Vec<(i64, String)>, LedgerError> {
    let redriven = sqlx::query!(
        r#"
        WITH dead AS (
            SELECT id FROM dead_letters
            WHERE state = 'dead' AND ($1::text IS NULL OR stage = $1)
            ORDER BY id
            LIMIT $3
            FOR UPDATE SKIP LOCKED
        ), redriven AS (
            UPDATE dead_letters l SET state = 'retrying', attempts = 0, due_at = $2, updated_at = $2
            FROM dead WHERE l.id = dead.id
            RETURNING l.id, l.kind
        )
        SELECT id AS "id!", kind AS "kind!" FROM redriven ORDER BY id
        "#,
        stage,
        now,
        REDRIVEN_MAX,
    )
    .fetch_all(conn)
    .await?;
    Ok(redriven.into_iter().map(|row| (row.id, row.kind)).collect())
}

/// Gives a letter up for good, and lets the next of its subject go. In a transaction: the partition's next delivery waits for it,
/// because it must not set an event aside behind a subject that this frees.
///
/// # Errors
/// If there is no such letter, it is done, or the database does not answer.
pub async fn drop_letter(conn: &mut PgConnection, now: DateTime<Utc>, id: i64) -> Result<(), RedriveError> {
    let stage = sqlx::query_scalar!(
        r#"
        SELECT c.stage FROM dead_letters d JOIN cursors c ON c.stage = d.stage AND c.part = d.part
        WHERE d.id = $1
        FOR NO KEY UPDATE OF c
        "#,
        id,
    );
    let stage = stage.fetch_optional(&mut *conn).await.map_err(LedgerError::from)?;
    let Some(stage) = stage else { return Err(wrong_state(conn, id).await?) };
    let open = sqlx::query_scalar!(
        r#"SELECT true AS "open!" FROM dead_letters WHERE id = $1 AND state IN ('dead', 'retrying') FOR NO KEY UPDATE"#,
        id,
    );
    if open.fetch_optional(&mut *conn).await.map_err(LedgerError::from)?.is_none() {
        return Err(wrong_state(conn, id).await?);
    }
    let cleared = settle_letter(conn, now, &stage, id, LetterState::Dropped).await?;
    let cleared: Vec<NewEvent> = cleared.into_iter().map(NewEvent::from).collect();
    append(conn, &Context::at(now), &cleared).await?;
    Ok(())
}

async fn wrong_state(conn: &mut PgConnection, id: i64) -> Result<RedriveError, LedgerError> {
    Ok(match find_letter(conn, id).await? {
        Some(letter) => RedriveError::WrongState { id, state: letter.state },
        None => RedriveError::Unknown(id),
    })
}

fn event_id(letter: i64, part: i16, position: i64, index: i32) -> Result<EventId, LedgerError> {
    let partition = Partition::new(part).ok_or_else(|| inconsistent(letter, "part"))?;
    Ok(EventId { partition, offset: position, index })
}

fn inconsistent(letter: i64, column: &'static str) -> LedgerError {
    LedgerError::Inconsistent { table: "dead_letters", column, id: letter.to_string() }
}
