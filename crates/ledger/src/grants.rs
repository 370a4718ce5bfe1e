//! Reading grants: a row that is inserted once and never changed.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use laurel_events::{Amount, CampaignId, GrantId, OrgId, OutcomeKey, PlayerId};
use sqlx::PgConnection;

use crate::{LedgerError, Place, numeric::amount_from_sql};

/// A grant as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRow {
    /// Which.
    pub id: GrantId,
    /// The outcome that earned it.
    pub outcome: OutcomeKey,
    /// Who earned it.
    pub player: PlayerId,
    /// How much.
    pub amount: Amount,
    /// The rule that granted it.
    pub rule_version: i32,
    /// When.
    pub recorded_at: DateTime<Utc>,
}

struct Row {
    campaign: i64,
    number: i64,
    outcome: uuid::Uuid,
    player: uuid::Uuid,
    amount: bigdecimal::BigDecimal,
    rule_version: i32,
    recorded_at: DateTime<Utc>,
}

impl TryFrom<Row> for GrantRow {
    type Error = LedgerError;

    fn try_from(row: Row) -> Result<Self, LedgerError> {
        let id = format!("{}-{}", row.campaign, row.number);
        Ok(Self {
            amount: amount_from_sql(&row.amount, "grants", "amount", &id)?,
            id: id.parse().map_err(|_| LedgerError::inconsistent("grants", "number", &id))?,
            outcome: row.outcome.into(),
            player: row.player.into(),
            rule_version: row.rule_version,
            recorded_at: row.recorded_at,
        })
    }
}

/// The grant of that id.
///
/// # Errors
/// If the row is inconsistent or the database does not answer.
pub async fn find_grant(conn: &mut PgConnection, id: GrantId) -> Result<Option<GrantRow>, LedgerError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT campaign, number, outcome, player, amount, rule_version, recorded_at
        FROM grants
        WHERE campaign = $1 AND number = $2
        "#,
        id.campaign.number(),
        id.number.cast_signed(),
    )
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// Whose some grants are.
///
/// # Errors
/// If the database does not answer.
pub async fn players_of_grants(
    conn: &mut PgConnection,
    grants: &[(OrgId, GrantId)],
) -> Result<HashMap<(OrgId, GrantId), PlayerId>, LedgerError> {
    let orgs: Vec<i32> = grants.iter().map(|(org, _)| org.0).collect();
    let campaigns: Vec<i64> = grants.iter().map(|(_, grant)| grant.campaign.number()).collect();
    let numbers: Vec<i64> = grants.iter().map(|(_, grant)| grant.number.cast_signed()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT u.at AS "at!", g.player
        FROM unnest($1::integer[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS u (org, campaign, number, at)
        JOIN campaigns c ON c.id = u.campaign AND c.org = u.org
        JOIN grants g ON g.campaign = u.campaign AND g.number = u.number
        "#,
        &orgs,
        &campaigns,
        &numbers,
    )
    .fetch_all(conn)
    .await?;
    let found = rows.into_iter().filter_map(|row| {
        let grant = grants.get(usize::try_from(row.at).ok()?.checked_sub(1)?)?;
        Some((*grant, row.player.into()))
    });
    Ok(found.collect())
}

/// What campaigns made of the outcome at `place`: the grants, and the declines with their reason.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn grants_of_outcome(
    conn: &mut PgConnection,
    place: Place,
) -> Result<(Vec<GrantRow>, Vec<(CampaignId, String)>), LedgerError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT campaign, number, outcome, player, amount, rule_version, recorded_at
        FROM grants
        WHERE position = $1 AND part = $2 AND idx = $3
        ORDER BY campaign
        "#,
        place.0.offset,
        place.0.partition.number(),
        place.0.index,
    )
    .fetch_all(&mut *conn)
    .await?;
    let grants = rows.into_iter().map(GrantRow::try_from).collect::<Result<_, _>>()?;
    let declines = sqlx::query!(
        "SELECT campaign, reason FROM declines WHERE position = $1 AND part = $2 AND idx = $3 ORDER BY campaign",
        place.0.offset,
        place.0.partition.number(),
        place.0.index,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(|row| {
        let campaign = CampaignId::try_from(row.campaign)
            .map_err(|_| LedgerError::inconsistent("declines", "campaign", row.campaign))?;
        Ok((campaign, row.reason))
    })
    .collect::<Result<_, LedgerError>>()?;
    Ok((grants, declines))
}
