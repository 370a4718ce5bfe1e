//! Players as game servers know them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use laurel_events::{OrgId, PlayerId, PlayerRegistered};
use laurel_ledger::{Context, LedgerError, append};
use rand::RngCore;
use sqlx::PgConnection;
use uuid::Uuid;

/// The longest id that a game server may give a player, in bytes: any common scheme fits.
pub const EXTERNAL_ID_MAX: usize = 128;

/// A player.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Player {
    /// Laurel's id.
    pub id: PlayerId,
    /// Whose player it is.
    pub org: OrgId,
    /// The game server's id; gone once it is erased.
    pub external_id: Option<String>,
    /// When the player was first heard of.
    pub created_at: DateTime<Utc>,
}

/// A player that cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum PlayerError {
    /// The id is empty, too long, or has control characters.
    #[error("a player's id has 1 to {EXTERNAL_ID_MAX} bytes and no control characters")]
    BadId,
    /// The database.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Registers a player, unless known. Returns the player and whether it is new.
///
/// # Errors
/// If the id is not acceptable or the database does not answer.
pub async fn put_player(
    conn: &mut PgConnection,
    context: &Context,
    rng: &mut (dyn RngCore + Send),
    org: OrgId,
    external_id: &str,
) -> Result<(Player, bool), PlayerError> {
    if external_id.is_empty()
        || external_id.len() > EXTERNAL_ID_MAX
        || external_id.chars().any(char::is_control)
    {
        return Err(PlayerError::BadId);
    }
    let id = PlayerId::generate(context.now, rng);
    let inserted = sqlx::query!(
        "INSERT INTO players (id, org, external_id, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        id.uuid(),
        org.0,
        external_id,
        context.now,
    )
    .execute(&mut *conn)
    .await
    .map_err(LedgerError::from)?;
    let created = inserted.rows_affected() == 1;
    if created {
        append(conn, context, &[PlayerRegistered { player: id, org }.into()]).await?;
    }
    let player = find_player(conn, org, external_id).await?;
    let player = player.ok_or_else(|| LedgerError::Inconsistent {
        table: "players",
        column: "external_id",
        id: id.to_string(),
    })?;
    Ok((player, created))
}

/// The player whom `org` knows by `external_id`.
///
/// # Errors
/// If the database does not answer.
pub async fn find_player(
    conn: &mut PgConnection,
    org: OrgId,
    external_id: &str,
) -> Result<Option<Player>, LedgerError> {
    let row = sqlx::query!(
        "SELECT id, external_id, created_at FROM players WHERE org = $1 AND external_id = $2",
        org.0,
        external_id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Player {
        id: row.id.into(),
        org,
        external_id: row.external_id,
        created_at: row.created_at,
    }))
}

/// The player of an id, unless what they were called is erased.
///
/// # Errors
/// If the database does not answer.
pub async fn player_of_id(conn: &mut PgConnection, id: PlayerId) -> Result<Option<Player>, LedgerError> {
    let row = sqlx::query!(
        "SELECT org, external_id, created_at FROM players WHERE id = $1 AND external_id IS NOT NULL",
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Player {
        id,
        org: OrgId(row.org),
        external_id: row.external_id,
        created_at: row.created_at,
    }))
}

/// Has a player not be erased before the transaction ends; `false` if they are erased. It is the first of a player's rows to be taken.
///
/// # Errors
/// If the database does not answer.
pub async fn hold_player(conn: &mut PgConnection, id: PlayerId) -> Result<bool, LedgerError> {
    let held = sqlx::query_scalar!(
        r#"SELECT true AS "held!" FROM players WHERE id = $1 AND external_id IS NOT NULL FOR SHARE"#,
        id.uuid(),
    );
    Ok(held.fetch_optional(conn).await?.is_some())
}

/// The players among `external_ids` whom `org` knows.
///
/// # Errors
/// If the database does not answer.
pub async fn find_players(
    conn: &mut PgConnection,
    org: OrgId,
    external_ids: &[String],
) -> Result<HashMap<String, PlayerId>, LedgerError> {
    let rows = sqlx::query!(
        r#"SELECT id, external_id AS "external_id!" FROM players WHERE org = $1 AND external_id = ANY ($2)"#,
        org.0,
        external_ids,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.external_id, row.id.into())).collect())
}

/// What game servers call the players of `ids`, as far as it is not erased.
///
/// # Errors
/// If the database does not answer.
pub async fn players_of_ids(
    conn: &mut PgConnection,
    ids: &[PlayerId],
) -> Result<HashMap<PlayerId, String>, LedgerError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT id, external_id AS "external_id!" FROM players
        WHERE id = ANY ($1) AND external_id IS NOT NULL
        "#,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id.into(), row.external_id)).collect())
}
