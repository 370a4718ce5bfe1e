//! Keys of game servers: long, shown once, kept as a hash.

use chrono::{DateTime, Utc};
use laurel_events::{OrgId, time_ordered};
use laurel_ledger::LedgerError;
use rand::RngCore;
use sqlx::PgConnection;
use uuid::Uuid;

use super::opaque::Opaque;

/// How an API key begins.
pub(crate) const PREFIX: &str = "lrk_";

/// A key as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiKey {
    pub(crate) id: Uuid,
    pub(crate) subject: String,
    pub(crate) games: Option<Vec<String>>,
    pub(crate) ends_with: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) created_by: String,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) revoked_at: Option<DateTime<Utc>>,
    pub(crate) revoked_by: Option<String>,
}

/// A key that is to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewApiKey<'a> {
    pub(crate) org: OrgId,
    pub(crate) subject: &'a str,
    pub(crate) games: Option<&'a [String]>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) created_by: &'a str,
}

/// Makes a key. What it is is known only now.
pub(crate) async fn add_api_key(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    rng: &mut (dyn RngCore + Send),
    new: &NewApiKey<'_>,
) -> Result<(ApiKey, Opaque), LedgerError> {
    let (id, key) = (time_ordered(now, rng), Opaque::generate(PREFIX, rng));
    let digest = key.digest();
    let made = sqlx::query_as!(
        ApiKey,
        r#"
        INSERT INTO api_keys (id, org, subject, games, digest, ends_with, created_at, created_by, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        RETURNING id, subject, games, ends_with, created_at, created_by, expires_at, revoked_at, revoked_by
        "#,
        id,
        new.org.0,
        new.subject,
        new.games,
        digest.as_slice(),
        key.ends_with(),
        now,
        new.created_by,
        new.expires_at,
    )
    .fetch_one(conn)
    .await?;
    Ok((made, key))
}

/// An organisation's keys, the newest first, revoked ones as well.
pub(crate) async fn list_api_keys(
    conn: &mut PgConnection,
    org: OrgId,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<ApiKey>, LedgerError> {
    let keys = sqlx::query_as!(
        ApiKey,
        r#"
        SELECT id, subject, games, ends_with, created_at, created_by, expires_at, revoked_at, revoked_by
        FROM api_keys
        WHERE org = $1 AND ($2::uuid IS NULL OR id < $2)
        ORDER BY id DESC
        LIMIT $3
        "#,
        org.0,
        before,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(keys)
}

/// Ends a key, unless it has ended. Returns it as it was before and as it is now, if there is one.
pub(crate) async fn revoke_api_key(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    org: OrgId,
    id: Uuid,
    by: &str,
) -> Result<Option<(ApiKey, ApiKey)>, LedgerError> {
    let before = sqlx::query_as!(
        ApiKey,
        r#"
        SELECT id, subject, games, ends_with, created_at, created_by, expires_at, revoked_at, revoked_by
        FROM api_keys WHERE id = $1 AND org = $2 FOR UPDATE
        "#,
        id,
        org.0,
    );
    let Some(before) = before.fetch_optional(&mut *conn).await? else { return Ok(None) };
    if before.revoked_at.is_some() {
        return Ok(Some((before.clone(), before)));
    }
    sqlx::query!("UPDATE api_keys SET revoked_at = $2, revoked_by = $3 WHERE id = $1", id, now, by)
        .execute(conn)
        .await?;
    let after = ApiKey { revoked_at: Some(now), revoked_by: Some(by.to_owned()), ..before.clone() };
    Ok(Some((before, after)))
}

/// Whoever comes with a key.
#[derive(Clone, Debug)]
pub(super) struct KeyHolder {
    pub(super) org: i32,
    pub(super) org_name: String,
    pub(super) subject: String,
    pub(super) games: Option<Vec<String>>,
}

/// Whose key that is, if it is good.
pub(super) async fn find_key_holder(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    key: &Opaque,
) -> Result<Option<KeyHolder>, LedgerError> {
    let digest = key.digest();
    let holder = sqlx::query_as!(
        KeyHolder,
        r#"
        SELECT k.org, o.name AS org_name, k.subject, k.games
        FROM api_keys k JOIN organisations o ON o.id = k.org
        WHERE k.digest = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > $2)
        "#,
        digest.as_slice(),
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(holder)
}
