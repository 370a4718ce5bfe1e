//! Which campaigns outcomes meet.

use std::collections::HashSet;

use laurel_bus::StageError;
use laurel_events::{CampaignId, Envelope, GameOutcomeRecorded};
use laurel_ledger::LedgerError;
use sqlx::PgConnection;

use crate::{ActiveCampaign, CampaignState, RuleCache, store::select};

/// The campaigns that some of `outcomes` meet, by organisation and game.
pub(crate) async fn campaigns_that_meet(
    conn: &mut PgConnection,
    outcomes: &[(&Envelope, &GameOutcomeRecorded)],
) -> Result<Vec<CampaignId>, LedgerError> {
    let orgs: HashSet<i32> = outcomes.iter().map(|(_, outcome)| outcome.org.0).collect();
    let games: HashSet<&str> = outcomes.iter().map(|(_, outcome)| outcome.game.as_str()).collect();
    let orgs: Vec<i32> = orgs.into_iter().collect();
    let games: Vec<String> = games.into_iter().map(str::to_owned).collect();
    let ids = sqlx::query_scalar!(
        r#"
        SELECT id FROM campaigns
        WHERE org = ANY ($1) AND games && $2 AND state IN ('active', 'paused')
        ORDER BY id
        "#,
        &orgs,
        &games,
    )
    .fetch_all(conn)
    .await?;
    ids.into_iter()
        .map(|id| {
            CampaignId::try_from(id).map_err(|_| LedgerError::Inconsistent {
                table: "campaigns",
                column: "id",
                id: id.to_string(),
            })
        })
        .collect()
}

/// The campaigns of `ids` that are active or paused, with their compiled rules.
pub(crate) async fn load_active(
    conn: &mut PgConnection,
    rules: &RuleCache,
    ids: &[CampaignId],
) -> Result<Vec<ActiveCampaign>, StageError> {
    let numbers: Vec<i64> = ids.iter().map(|id| id.number()).collect();
    let limit = i64::try_from(numbers.len()).unwrap_or(i64::MAX);
    let mut active = Vec::with_capacity(ids.len());
    for campaign in select(conn, Some(&numbers), None, None, 0, limit).await? {
        if !matches!(campaign.state, CampaignState::Active | CampaignState::Paused) {
            continue;
        }
        let definition = campaign.definition;
        let rule = rules
            .get(campaign.id, campaign.rule_version, &definition.rule)
            .map_err(|error| StageError::poison(format!("the rule of campaign {}: {error}", campaign.id)))?;
        active.push(ActiveCampaign {
            id: campaign.id,
            org: campaign.org,
            games: definition.games,
            state: campaign.state,
            starts_at: definition.starts_at,
            ends_at: definition.ends_at,
            wallet_deadline_hours: definition.wallet_deadline_hours,
            chain_id: definition.chain_id,
            vault: campaign.vault,
            rule_version: campaign.rule_version,
            rule,
            reward: definition.reward,
            caps: definition.caps,
        });
    }
    Ok(active)
}
