//! Organisations: who owns campaigns, players and outcomes.

use std::collections::HashMap;

use laurel_events::{CampaignId, OrgId, PlayerId, Subject};
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

/// Whose campaigns and players some subjects are; what is neither is nobody's.
///
/// # Errors
/// If the database does not answer.
pub async fn orgs_of_subjects(
    conn: &mut PgConnection,
    subjects: &[Subject],
) -> Result<HashMap<Subject, OrgId>, LedgerError> {
    let (mut campaigns, mut players) = (HashMap::new(), HashMap::new());
    for subject in subjects {
        match subject.as_str().split_once(':') {
            Some(("campaign", id)) => {
                campaigns.extend(id.parse::<CampaignId>().ok().map(|id| (id.number(), subject)));
            }
            Some(("player", id)) => {
                players.extend(id.parse::<PlayerId>().ok().map(|id| (id.uuid(), subject)));
            }
            _ => {}
        }
    }
    let rows = sqlx::query!(
        r#"
        SELECT id AS "campaign?", NULL::uuid AS player, org AS "org!" FROM campaigns WHERE id = ANY ($1)
        UNION ALL
        SELECT NULL, id, org FROM players WHERE id = ANY ($2)
        "#,
        &campaigns.keys().copied().collect::<Vec<_>>(),
        &players.keys().copied().collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    let found = rows.into_iter().filter_map(|row| {
        let campaign = row.campaign.and_then(|id| campaigns.get(&id));
        let subject = campaign.or_else(|| players.get(&row.player?))?;
        Some((Subject::clone(subject), OrgId(row.org)))
    });
    Ok(found.collect())
}
