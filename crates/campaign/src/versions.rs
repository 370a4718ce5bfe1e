//! What a campaign was at every moment.

use chrono::{DateTime, Utc};
use laurel_events::CampaignId;
use laurel_ledger::LedgerError;
use sqlx::{PgConnection, types::Json};

use crate::{By, Campaign, CampaignState, Definition};

/// A campaign as it was from one moment to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignVersion {
    /// The version.
    pub version: i32,
    /// The state.
    pub state: CampaignState,
    /// Why Laurel itself put it there.
    pub state_reason: Option<String>,
    /// The version of rule, reward and caps.
    pub rule_version: i32,
    /// Its definition.
    pub definition: Definition,
    /// Who made it so.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Why, in their own words.
    pub reason: Option<String>,
}

/// Keeps what a campaign is now.
pub(crate) async fn insert_version(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: &Campaign,
    by: By<'_>,
) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        INSERT INTO campaign_versions
            (campaign, version, state, state_reason, rule_version, definition, made_by, made_at, reason, reason_salt)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        "#,
        campaign.id.number(),
        campaign.version,
        campaign.state.as_str(),
        campaign.state_reason,
        campaign.rule_version,
        Json(&campaign.definition) as _,
        by.who,
        now,
        by.why.map(|why| why.words.as_str()),
        by.why.map(|why| why.salt.as_slice()),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What a campaign was at a moment; `None` if it was not made yet.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn campaign_at(
    conn: &mut PgConnection,
    campaign: Campaign,
    as_of: DateTime<Utc>,
) -> Result<Option<Campaign>, LedgerError> {
    let version = sqlx::query_scalar!(
        "SELECT max(version) FROM campaign_versions WHERE campaign = $1 AND made_at <= $2",
        campaign.id.number(),
        as_of,
    )
    .fetch_one(&mut *conn)
    .await?;
    let Some(version) = version else { return Ok(None) };
    let found = list_versions(conn, campaign.id, version.checked_add(1), 1).await?.pop();
    Ok(found.map(|found| Campaign {
        definition: found.definition,
        state: found.state,
        state_reason: found.state_reason,
        rule_version: found.rule_version,
        version: found.version,
        ..campaign
    }))
}

/// A campaign's versions before `before`, the newest first.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn list_versions(
    conn: &mut PgConnection,
    id: CampaignId,
    before: Option<i32>,
    limit: i64,
) -> Result<Vec<CampaignVersion>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT version, state, state_reason, rule_version, definition AS "definition: Json<Definition>", made_by, made_at,
               reason
        FROM campaign_versions
        WHERE campaign = $1 AND ($2::integer IS NULL OR version < $2)
        ORDER BY version DESC
        LIMIT $3
        "#,
        id.number(),
        before,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let wrong = |column| LedgerError::Inconsistent {
                table: "campaign_versions",
                column,
                id: format!("{id}/{}", row.version),
            };
            Ok(CampaignVersion {
                version: row.version,
                state: row.state.parse().map_err(|()| wrong("state"))?,
                state_reason: row.state_reason,
                rule_version: row.rule_version,
                definition: row.definition.0,
                by: row.made_by,
                at: row.made_at,
                reason: row.reason,
            })
        })
        .collect()
}
