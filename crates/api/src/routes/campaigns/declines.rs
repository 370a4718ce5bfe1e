//! `GET /v1/campaigns/{campaign_id}/declines`

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use laurel_events::{CampaignId, OutcomeKey, PlayerId};
use laurel_ledger::list_declines;
use laurel_players::players_of_ids;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::campaign;
use crate::{
    ApiState, Principal, Problem,
    extract::{Page, Paging, Path, Query},
};

#[derive(Serialize, ToSchema)]
pub(crate) struct DeclineOut {
    /// Its number in the campaign.
    number: u64,
    /// The outcome's key.
    #[schema(value_type = uuid::Uuid)]
    outcome_key: OutcomeKey,
    /// The player, as the game server names them; null once that is erased.
    player_id: Option<String>,
    /// A stable code.
    reason: String,
    /// The version of the rule that was in force.
    rule_version: i32,
    /// When it was decided.
    recorded_at: DateTime<Utc>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Where the page before ended, as its `next` said.
    #[serde(default)]
    cursor: Option<String>,
    /// How many items, 1 to 500; 50 without.
    #[serde(default)]
    limit: Option<u16>,
    /// Only those for this reason.
    #[serde(default)]
    reason: Option<String>,
}

/// The outcomes that a campaign declined, and why
#[utoipa::path(
    get, path = "/campaigns/{campaign_id}/declines", tag = "campaigns", operation_id = "list_campaign_declines",
    params(("campaign_id" = String, Path, description = "The campaign's id"), Filter),
    responses((status = 200, body = Page<DeclineOut>), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path(id): Path<CampaignId>,
    Query(query): Query<Filter>,
) -> Result<Json<Page<DeclineOut>>, Problem> {
    let (after, limit) = Paging::parse::<u64>(query.cursor.as_deref(), query.limit)?;
    let mut conn = state.read_pool.acquire().await?;
    campaign(&mut conn, &principal, id).await?;
    let declines = list_declines(&mut conn, id, query.reason.as_deref(), after, limit).await?;
    let players: Vec<PlayerId> = declines.iter().map(|(decline, _)| decline.player).collect();
    let names = players_of_ids(&mut conn, &players).await?;
    let items: Vec<DeclineOut> = declines
        .into_iter()
        .map(|(decline, recorded_at)| DeclineOut {
            number: decline.number,
            outcome_key: decline.outcome,
            player_id: names.get(&decline.player).cloned(),
            reason: decline.reason,
            rule_version: decline.rule_version,
            recorded_at,
        })
        .collect();
    Ok(Json(Page::new(items, limit, |decline| decline.number.to_string())))
}
