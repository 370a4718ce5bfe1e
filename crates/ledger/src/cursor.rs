//! Where each stage stands in each partition: the fence against a second handling.

use laurel_events::{EventId, EventKind, Partition, alert::STAGE_HALTED};
use sqlx::{PgConnection, PgPool};

use crate::LedgerError;

/// A partition that this transaction holds for a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The first offset that the stage has not handled.
    pub next: i64,
    /// The partition's head: every offset below is committed.
    pub head: i64,
    /// Whether some subject of the stage is parked.
    pub parked: bool,
    /// Whether the alert [`STAGE_HALTED`] is raised about the stage and the partition.
    pub halted: bool,
}

/// What [`STAGE_HALTED`] is about: a stage in a partition.
pub fn halted_partition(stage: &str, partition: Partition) -> String {
    format!("stage:{stage}/partition:{}", partition.number())
}

/// Claims a partition for a stage until the transaction ends; `None` while another transaction holds it. Must be the
/// transaction's first statement.
///
/// # Errors
/// If the database does not answer.
pub async fn claim_cursor(
    conn: &mut PgConnection,
    stage: &str,
    partition: Partition,
) -> Result<Option<Claim>, LedgerError> {
    #[cfg(feature = "faults")]
    if crate::planted!(CursorWithoutLock) {
        return crate::faults::claim_unlocked(conn, stage, partition).await;
    }
    // Where the row was moved between the statement's beginning and its lock, what is said beside it is older than it: then it is asked
    // again, and nobody moves it meanwhile.
    match claim_once(conn, stage, partition).await? {
        Some((claim, seen)) if seen != claim.next => {
            Ok(claim_once(conn, stage, partition).await?.map(|(claim, _)| claim))
        }
        claimed => Ok(claimed.map(|(claim, _)| claim)),
    }
}

/// Claims a partition. Returns also where its cursor was when the statement began.
async fn claim_once(
    conn: &mut PgConnection,
    stage: &str,
    partition: Partition,
) -> Result<Option<(Claim, i64)>, LedgerError> {
    let claim = sqlx::query!(
        r#"
        SELECT c.next, h.next AS head,
               (SELECT s.next FROM cursors s WHERE s.stage = $1 AND s.part = $2) AS "seen!",
               EXISTS (SELECT FROM dead_letters d
                       WHERE d.stage = c.stage AND d.state IN ('retrying', 'dead', 'blocked')) AS "parked!",
               EXISTS (SELECT FROM alerts a WHERE a.code = $3 AND a.about = $4) AS "halted!"
        FROM cursors c JOIN heads h USING (part)
        WHERE c.stage = $1 AND c.part = $2
        FOR NO KEY UPDATE OF c SKIP LOCKED
        "#,
        stage,
        partition.number(),
        STAGE_HALTED,
        halted_partition(stage, partition),
    )
    .fetch_optional(conn)
    .await?;
    Ok(claim.map(|row| {
        let claim = Claim { next: row.next, head: row.head, parked: row.parked, halted: row.halted };
        (claim, row.seen)
    }))
}

/// Moves a claimed cursor on.
///
/// # Errors
/// If the cursor is not where the claim found it, or the database does not answer.
pub async fn move_cursor(
    conn: &mut PgConnection,
    stage: &str,
    partition: Partition,
    from: i64,
    to: i64,
) -> Result<(), LedgerError> {
    let moved = sqlx::query!(
        "UPDATE cursors SET next = $4 WHERE stage = $1 AND part = $2 AND next = $3",
        stage,
        partition.number(),
        from,
        to,
    )
    .execute(conn)
    .await?;
    if crate::planted!(CursorWithoutLock) {
        return Ok(());
    }
    LedgerError::expect_rows("move a cursor", 1, moved.rows_affected())
}

/// What a stage has not handled yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// The partitions in which it has something to do.
    pub partitions: Vec<Partition>,
    /// How many chunks it is behind, over all of them.
    pub chunks: i64,
}

/// How far a stage lags behind. Makes its cursors if there are none.
///
/// # Errors
/// If the database does not answer.
pub async fn stage_lag(pool: &PgPool, stage: &str) -> Result<Lag, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT h.part, c.next AS "next?", h.next AS head
        FROM heads h LEFT JOIN cursors c ON c.part = h.part AND c.stage = $1
        WHERE c.next IS NULL OR c.next < h.next
        ORDER BY h.part
        "#,
        stage,
    )
    .fetch_all(pool)
    .await?;
    if rows.iter().any(|row| row.next.is_none()) {
        sqlx::query!(
            "INSERT INTO cursors (stage, part) SELECT $1, part FROM heads ORDER BY part ON CONFLICT DO NOTHING",
            stage,
        )
        .execute(pool)
        .await?;
    }
    let behind = rows.iter().filter(|row| row.head > 0);
    Ok(Lag {
        partitions: behind.filter_map(|row| Partition::new(row.part)).collect(),
        chunks: rows.iter().map(|row| row.head - row.next.unwrap_or(0)).sum(),
    })
}

/// How many chunks of others a stage leaves before its cursor while it is told of events all the time: to pass over them is a
/// transaction like any other.
const OTHERS_MAX: i64 = 32;

/// The same, with those partitions alone that hold something of `kinds`, or many chunks of others. Has to be called after
/// [`stage_lag`], which makes the cursors.
///
/// # Errors
/// If the database does not answer.
pub async fn stage_work(pool: &PgPool, stage: &str, kinds: &[EventKind]) -> Result<Lag, LedgerError> {
    let kinds: Vec<String> = kinds.iter().map(|kind| kind.as_str().to_owned()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT h.part, h.next - c.next AS "chunks!",
               h.next - c.next > $3 OR EXISTS (
                   SELECT FROM journal j
                   WHERE j.part = h.part AND j.position >= c.next AND j.position < h.next AND j.kind = ANY ($2)
               ) AS "wanted!"
        FROM heads h JOIN cursors c ON c.part = h.part AND c.stage = $1
        WHERE c.next < h.next
        ORDER BY h.part
        "#,
        stage,
        &kinds,
        OTHERS_MAX,
    )
    .fetch_all(pool)
    .await?;
    let wanted = rows.iter().filter(|row| row.wanted);
    Ok(Lag {
        partitions: wanted.filter_map(|row| Partition::new(row.part)).collect(),
        chunks: rows.iter().map(|row| row.chunks).sum(),
    })
}

/// The first offset of a partition that a stage has not handled.
///
/// # Errors
/// If the database does not answer.
pub async fn cursor_position(
    conn: &mut PgConnection,
    stage: &str,
    partition: Partition,
) -> Result<i64, LedgerError> {
    let next = sqlx::query_scalar!(
        "SELECT next FROM cursors WHERE stage = $1 AND part = $2",
        stage,
        partition.number()
    )
    .fetch_optional(conn)
    .await?;
    Ok(next.unwrap_or(0))
}

/// Whether a stage has handled an event: its cursor is beyond it, and it is not set aside as a letter.
///
/// # Errors
/// If the database does not answer.
pub async fn is_handled(conn: &mut PgConnection, stage: &str, event: EventId) -> Result<bool, LedgerError> {
    let handled = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (SELECT FROM cursors WHERE stage = $1 AND part = $2 AND next > $3)
               AND NOT EXISTS (
                   SELECT FROM dead_letters
                   WHERE stage = $1 AND part = $2 AND position = $3 AND idx = $4
                     AND state IN ('retrying', 'dead', 'blocked')
               ) AS "handled!"
        "#,
        stage,
        event.partition.number(),
        event.offset,
        event.index,
    );
    Ok(handled.fetch_one(conn).await?)
}

/// How far the journal went at a moment.
#[derive(Clone, Debug)]
pub struct JournalHeads(Vec<(i16, i64)>);

impl JournalHeads {
    /// The number of each partition, with the offset that its next row gets.
    pub fn iter(&self) -> impl Iterator<Item = (i16, i64)> {
        self.0.iter().copied()
    }
}

/// Holds all partitions of a stage until the transaction ends: it waits for whoever is in the middle of a batch, and nobody begins one.
///
/// # Errors
/// If the database does not answer.
pub async fn lock_cursors(conn: &mut PgConnection, stage: &str) -> Result<(), LedgerError> {
    sqlx::query!("SELECT FROM cursors WHERE stage = $1 ORDER BY part FOR UPDATE", stage)
        .execute(conn)
        .await?;
    Ok(())
}

/// How far the journal goes now.
///
/// # Errors
/// If the database does not answer.
pub async fn journal_heads(conn: &mut PgConnection) -> Result<JournalHeads, LedgerError> {
    let rows = sqlx::query!("SELECT part, next FROM heads ORDER BY part").fetch_all(conn).await?;
    Ok(JournalHeads(rows.into_iter().map(|row| (row.part, row.next)).collect()))
}

/// In how many partitions a stage has not read up to there.
///
/// # Errors
/// If the database does not answer.
pub async fn partitions_behind(
    conn: &mut PgConnection,
    stage: &str,
    upto: &JournalHeads,
) -> Result<usize, LedgerError> {
    let (parts, positions): (Vec<i16>, Vec<i64>) = upto.0.iter().copied().unzip();
    let behind = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "behind!"
        FROM unnest($2::smallint[], $3::bigint[]) AS u (part, upto)
        LEFT JOIN cursors c ON c.stage = $1 AND c.part = u.part
        WHERE coalesce(c.next, 0) < u.upto
        "#,
        stage,
        &parts,
        &positions,
    );
    Ok(usize::try_from(behind.fetch_one(conn).await?).unwrap_or(usize::MAX))
}
