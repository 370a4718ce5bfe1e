//! Organisations: who owns campaigns, players and outcomes.

use laurel_events::OrgId;
use sqlx::PgConnection;

use crate::LedgerError;

/// The organisation of that name.
///
/// # Errors
/// If the database does not answer.
pub async fn find_organisation(conn: &mut PgConnection, name: &str) -> Result<Option<OrgId>, LedgerError> {
    let id = sqlx::query_scalar!("SELECT id FROM organisations WHERE name = $1", name)
        .fetch_optional(conn)
        .await?;
    Ok(id.map(OrgId))
}

/// What an organisation is called.
///
/// # Errors
/// If there is none of that id or the database does not answer.
pub async fn organisation_name(conn: &mut PgConnection, org: OrgId) -> Result<String, LedgerError> {
    Ok(sqlx::query_scalar!("SELECT name FROM organisations WHERE id = $1", org.0).fetch_one(conn).await?)
}

/// Adds an organisation, or finds it.
///
/// # Errors
/// If the database does not answer, or the name is not lower-case letters, digits and hyphens.
pub async fn add_organisation(conn: &mut PgConnection, name: &str) -> Result<OrgId, LedgerError> {
    let id = sqlx::query_scalar!(
        r#"
        WITH added AS (
            INSERT INTO organisations (name) VALUES ($1) ON CONFLICT (name) DO NOTHING RETURNING id
        )
        SELECT id AS "id!" FROM added UNION ALL SELECT id FROM organisations WHERE name = $1
        "#,
        name,
    )
    .fetch_one(conn)
    .await?;
    Ok(OrgId(id))
}
