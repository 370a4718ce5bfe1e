//! What clients were answered under their idempotency keys, so that the same request sent again changes nothing.

use chrono::{DateTime, TimeDelta, Utc};
use laurel_events::{OrgId, PlayerId};
use sqlx::PgConnection;

use crate::LedgerError;

/// How long an answer is kept: longer than any client retries, short enough that the table stays small.
pub const ANSWER_LIFETIME: TimeDelta = TimeDelta::hours(24);

/// How many old answers are swept at once: more than one request adds, and never a long wait for the one that sweeps.
const SWEEP_ROWS_MAX: i64 = 100;

/// Whose key it is: every caller has keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdempotencyScope<'a> {
    /// The caller's organisation.
    pub org: OrgId,
    /// What they are: a player and somebody who works here may be called the same.
    pub role: &'a str,
    /// The caller.
    pub subject: &'a str,
    /// The key.
    pub key: &'a str,
}

/// An answer that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// SHA-256 of the request.
    pub request_digest: [u8; 32],
    /// The HTTP status.
    pub status: u16,
    /// The entity tag that went with it.
    pub etag: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// Takes the key until the transaction ends; `false` while another transaction has it.
///
/// The lock is advisory: a request that dies leaves nothing behind. Two keys of the same hash merely wait for each other.
///
/// # Errors
/// If the database does not answer.
pub async fn lock_idempotency_key(
    conn: &mut PgConnection,
    scope: IdempotencyScope<'_>,
) -> Result<bool, LedgerError> {
    let locked = sqlx::query_scalar!(
        r#"
        SELECT pg_try_advisory_xact_lock(
            hashtextextended(concat_ws(E'\n', 'idempotency', $1::integer, $2::text, $3::text, $4::text), 0)
        ) AS "locked!"
        "#,
        scope.org.0,
        scope.role,
        scope.subject,
        scope.key,
    )
    .fetch_one(conn)
    .await?;
    Ok(locked)
}

/// The answer that was given under the key, unless it is too old. Call it with the key locked.
///
/// # Errors
/// If the row is inconsistent or the database does not answer.
pub async fn find_answer(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    scope: IdempotencyScope<'_>,
) -> Result<Option<StoredAnswer>, LedgerError> {
    let row = sqlx::query!(
        r#"
        SELECT request_digest, status, etag, body FROM idempotency_keys
        WHERE org = $1 AND subject = $2 AND key = $3 AND created_at > $4 AND role IN ($5, '')
        "#,
        scope.org.0,
        scope.subject,
        scope.key,
        now - ANSWER_LIFETIME,
        scope.role,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let wrong = |column| LedgerError::inconsistent("idempotency_keys", column, scope.key);
    Ok(Some(StoredAnswer {
        request_digest: row.request_digest.try_into().map_err(|_| wrong("request_digest"))?,
        status: u16::try_from(row.status).map_err(|_| wrong("status"))?,
        etag: row.etag,
        body: row.body,
    }))
}

/// Keeps an answer under the key, in the transaction that holds what it tells of, and sweeps old ones. Call it with the
/// key locked.
///
/// # Errors
/// If the database does not answer.
pub async fn store_answer(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    scope: IdempotencyScope<'_>,
    route: &str,
    answer: &StoredAnswer,
) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM idempotency_keys WHERE created_at <= $1
            ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED
        ))
        "#,
        now - ANSWER_LIFETIME,
        SWEEP_ROWS_MAX,
    )
    .execute(&mut *conn)
    .await?;
    // An old answer that the sweep has not reached makes way.
    let stored = sqlx::query!(
        r#"
        INSERT INTO idempotency_keys (org, subject, key, route, request_digest, status, etag, body, created_at, role)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $11)
        ON CONFLICT (org, subject, role, key) DO UPDATE
        SET route = EXCLUDED.route, request_digest = EXCLUDED.request_digest, status = EXCLUDED.status,
            etag = EXCLUDED.etag, body = EXCLUDED.body, created_at = EXCLUDED.created_at
        WHERE idempotency_keys.created_at <= $10
        "#,
        scope.org.0,
        scope.subject,
        scope.key,
        route,
        answer.request_digest.as_slice(),
        answer.status.cast_signed(),
        answer.etag,
        answer.body,
        now,
        now - ANSWER_LIFETIME,
        scope.role,
    )
    .execute(conn)
    .await?;
    LedgerError::expect_rows("keep an answer", 1, stored.rows_affected())
}

/// Forgets all answers that were given to the player whom the organisation calls `name`, or that hold the player's id.
///
/// # Errors
/// If the database does not answer.
pub async fn forget_answers(
    conn: &mut PgConnection,
    org: OrgId,
    name: &str,
    id: PlayerId,
) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        DELETE FROM idempotency_keys
        WHERE org = $1
          AND ((subject = $2 AND role IN ('player', '')) OR position(convert_to($3, 'UTF8') IN body) > 0)
        "#,
        org.0,
        name,
        id.to_string(),
    )
    .execute(conn)
    .await?;
    Ok(())
}
