//! Accepted outcomes, each once.

use std::collections::HashMap;

use laurel_events::{EventId, OrgId, OutcomeKey, Partition};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::LedgerError;

/// Where an outcome's event stands in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(pub EventId);

/// An outcome that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedOutcome {
    /// Its natural key.
    pub key: OutcomeKey,
    /// SHA-256 of its content.
    pub digest: [u8; 32],
    /// Where its event stands.
    pub place: Place,
}

/// Which of `keys` were accepted before, with their contents' digests.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn find_outcomes(
    conn: &mut PgConnection,
    keys: &[OutcomeKey],
) -> Result<HashMap<OutcomeKey, [u8; 32]>, LedgerError> {
    let keys: Vec<Uuid> = keys.iter().map(|key| key.uuid()).collect();
    let rows =
        sqlx::query!("SELECT key, digest FROM outcomes WHERE key = ANY ($1)", &keys).fetch_all(conn).await?;
    rows.into_iter()
        .map(|row| {
            let digest = row
                .digest
                .try_into()
                .map_err(|_| LedgerError::inconsistent("outcomes", "digest", row.key))?;
            Ok((row.key.into(), digest))
        })
        .collect()
}

/// The outcome of that key.
///
/// # Errors
/// If its row is inconsistent or the database does not answer.
pub async fn find_outcome(
    conn: &mut PgConnection,
    key: OutcomeKey,
) -> Result<Option<RecordedOutcome>, LedgerError> {
    let row = sqlx::query!("SELECT digest, part, position, idx FROM outcomes WHERE key = $1", key.uuid())
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let wrong = |column| LedgerError::inconsistent("outcomes", column, key);
    let partition = Partition::new(row.part).ok_or_else(|| wrong("part"))?;
    let place = Place(EventId { partition, offset: row.position, index: row.idx });
    Ok(Some(RecordedOutcome { key, digest: row.digest.try_into().map_err(|_| wrong("digest"))?, place }))
}

/// Writes outcomes that [`find_outcomes`] did not find. Fails on a key that another transaction wrote in between; the
/// caller then begins again and finds it.
///
/// # Errors
/// A unique violation in that case, or if the database does not answer.
pub async fn insert_outcomes(
    conn: &mut PgConnection,
    org: OrgId,
    outcomes: &[RecordedOutcome],
) -> Result<(), LedgerError> {
    let key = |outcome: &RecordedOutcome| match outcome.place.0 {
        event if crate::planted!(ReplayUnderAnotherId) => {
            let line = (i64::from(event.partition.number()) << 32) | i64::from(event.index);
            Uuid::from_u64_pair(event.offset.cast_unsigned(), line.cast_unsigned())
        }
        _ => outcome.key.uuid(),
    };
    let keys: Vec<Uuid> = outcomes.iter().map(key).collect();
    let digests: Vec<&[u8]> = outcomes.iter().map(|outcome| outcome.digest.as_slice()).collect();
    let parts: Vec<i16> = outcomes.iter().map(|outcome| outcome.place.0.partition.number()).collect();
    let positions: Vec<i64> = outcomes.iter().map(|outcome| outcome.place.0.offset).collect();
    let indexes: Vec<i32> = outcomes.iter().map(|outcome| outcome.place.0.index).collect();
    let inserted = sqlx::query!(
        r#"
        INSERT INTO outcomes (key, org, digest, part, position, idx)
        SELECT o.key, $1, o.digest, o.part, o.position, o.idx
        FROM unnest($2::uuid[], $3::bytea[], $4::smallint[], $5::bigint[], $6::integer[])
                 AS o (key, digest, part, position, idx)
        "#,
        org.0,
        &keys,
        &digests as &[&[u8]],
        &parts,
        &positions,
        &indexes,
    )
    .execute(conn)
    .await?;
    LedgerError::expect_rows("record outcomes", outcomes.len(), inserted.rows_affected())
}
