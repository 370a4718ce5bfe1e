//! What was exported, by whom, and what it hashes to.

use chrono::{DateTime, TimeDelta, Utc};
use laurel_events::{OrgId, PlayerId};
use laurel_ledger::LedgerError;
use laurel_players::find_players;
use serde::Serialize;
use sqlx::{PgConnection, PgPool, types::Json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    EXPORT_WITHIN, Format,
    sheet::{Part, Written},
};
use crate::Principal;

/// An export that begins.
pub(super) struct Manifest<'a> {
    pub(super) id: Uuid,
    pub(super) what: &'static str,
    pub(super) query: &'a str,
    pub(super) format: Format,
}

/// Notes that it begins.
pub(super) async fn begin(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    principal: &Principal,
    manifest: &Manifest<'_>,
) -> Result<(), LedgerError> {
    sqlx::query!(
        "INSERT INTO exports (id, org, subject, role, what, query, format, started_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        manifest.id,
        principal.org.0,
        principal.subject,
        principal.role_name(),
        manifest.what,
        unnamed(conn, principal.org, manifest.query).await?,
        manifest.format.as_str(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes what was written; nothing where it was broken off.
pub(super) async fn end(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    id: Uuid,
    written: Option<Written>,
) -> Result<(), LedgerError> {
    let state = if written.is_some() { "finished" } else { "broken" };
    let (rows, bytes) = written.as_ref().map_or((0, 0), |written| (written.rows, written.bytes));
    let updated = sqlx::query!(
        r#"
        UPDATE exports SET state = $2, ended_at = $3, rows = $4, bytes = $5, sha256 = $6, parts = $7
        WHERE id = $1 AND state = 'running'
        "#,
        id,
        state,
        now,
        rows.cast_signed(),
        bytes.cast_signed(),
        written.as_ref().map(|written| written.sha256.as_slice()),
        Json(written.as_ref().map_or(&[][..], |written| &written.parts)) as _,
    )
    .execute(conn)
    .await?;
    LedgerError::expect_rows("end an export", 1, updated.rows_affected())
}

/// How much longer than an export may take it is given, to be noted by whoever makes it.
const NOTED_WITHIN: TimeDelta = TimeDelta::minutes(5);

/// Notes that exports are broken that have run for longer than any may take, because whoever made them has died, and says how many.
///
/// # Errors
/// If the database does not answer.
pub async fn break_overdue_exports(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let within = TimeDelta::seconds(EXPORT_WITHIN.as_secs().cast_signed()) + NOTED_WITHIN;
    let broken = sqlx::query!(
        "UPDATE exports SET state = 'broken', ended_at = $1 WHERE state = 'running' AND started_at < $2",
        now,
        now - within,
    )
    .execute(pool)
    .await?;
    Ok(broken.rows_affected())
}

/// An export, and what it hashes to: whoever has the file can show that it is whole and unchanged.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ExportOut {
    /// Its id.
    pub(crate) id: Uuid,
    /// grants, transactions, transfers, journal, balances or player.
    what: String,
    /// What was asked for, as the query said it, but with the ids of players instead of their names.
    query: String,
    /// csv or ndjson.
    format: String,
    /// running, finished or broken.
    state: String,
    /// Who asked for it.
    by: String,
    /// When it began.
    started_at: DateTime<Utc>,
    /// When it was over.
    ended_at: Option<DateTime<Utc>>,
    /// How many rows it has.
    rows: u64,
    /// How many bytes.
    bytes: u64,
    /// Their SHA-256, in hexadecimal; null unless it is finished.
    sha256: Option<String>,
    /// Its pieces, in their order.
    parts: Vec<Part>,
}

/// The organisation's exports before `before`, the newest first.
pub(crate) async fn list_exports(
    conn: &mut PgConnection,
    org: OrgId,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<ExportOut>, LedgerError> {
    select(conn, org, None, before, limit).await
}

/// The export of that id.
pub(crate) async fn find_export(
    conn: &mut PgConnection,
    org: OrgId,
    id: Uuid,
) -> Result<Option<ExportOut>, LedgerError> {
    Ok(select(conn, org, Some(id), None, 1).await?.pop())
}

async fn select(
    conn: &mut PgConnection,
    org: OrgId,
    id: Option<Uuid>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<ExportOut>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT id, what, query, format, state, subject, started_at, ended_at, rows, bytes, sha256,
               parts AS "parts: Json<Vec<Part>>"
        FROM exports
        WHERE org = $1 AND ($2::uuid IS NULL OR id = $2) AND ($3::uuid IS NULL OR id < $3)
        ORDER BY id DESC
        LIMIT $4
        "#,
        org.0,
        id,
        before,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let rows = rows.into_iter().map(|row| ExportOut {
        id: row.id,
        what: row.what,
        query: row.query,
        format: row.format,
        state: row.state,
        by: row.subject,
        started_at: row.started_at,
        ended_at: row.ended_at,
        rows: row.rows.unsigned_abs(),
        bytes: row.bytes.unsigned_abs(),
        sha256: row.sha256.map(hex::encode),
        parts: row.parts.0,
    });
    Ok(rows.collect())
}

/// A query with the ids of players instead of their names, which can be erased.
async fn unnamed(conn: &mut PgConnection, org: OrgId, query: &str) -> Result<String, LedgerError> {
    let mut parameters: Vec<(String, String)> =
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    for (name, value) in &mut parameters {
        if name == "player_id" {
            let found = find_players(conn, org, std::slice::from_ref(value)).await?;
            *value = found.get(value).map(PlayerId::to_string).unwrap_or_default();
        }
    }
    Ok(url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish())
}

/// Forgets that a player asked for exports.
pub(crate) async fn forget_player(
    conn: &mut PgConnection,
    org: OrgId,
    player_id: &str,
) -> Result<(), LedgerError> {
    sqlx::query!(
        "UPDATE exports SET subject = '' WHERE org = $1 AND subject = $2 AND role IN ('player', '')",
        org.0,
        player_id,
    )
    .execute(conn)
    .await?;
    Ok(())
}
