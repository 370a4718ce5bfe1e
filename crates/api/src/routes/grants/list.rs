//! `GET /v1/grants`

use axum::{Json, extract::State};
use laurel_events::{CampaignId, GrantId};
use laurel_players::find_player;
use laurel_views::{GrantFilter, list_grant_views};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{GrantOut, STATES, show_all};
use crate::{
    ApiState, Principal, Problem,
    extract::{Page, Paging, Query, known},
};

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
    /// Only this campaign's.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    campaign_id: Option<CampaignId>,
    /// Only this player's, by the game server's id.
    #[serde(default)]
    player_id: Option<String>,
    /// Only those in this state.
    #[serde(default)]
    state: Option<String>,
}

/// All grants
#[utoipa::path(
    get, path = "/grants", tag = "grants", operation_id = "list_grants", params(Filter),
    responses((status = 200, body = Page<GrantOut>), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Query(query): Query<Filter>,
) -> Result<Json<Page<GrantOut>>, Problem> {
    let (after, limit) = Paging::parse::<GrantId>(query.cursor.as_deref(), query.limit)?;
    let wanted = known("state", query.state.as_deref(), &STATES)?;
    let mut conn = state.read_pool.acquire().await?;
    let player = match &query.player_id {
        None => None,
        Some(name) => match find_player(&mut conn, principal.org, name).await? {
            Some(player) => Some(player.id),
            // A player that nobody knows has no grants.
            None => return Ok(Json(Page { items: Vec::new(), next: None })),
        },
    };
    let filter = GrantFilter { campaign: query.campaign_id, player, state: wanted, after };
    let page = list_grant_views(&mut conn, principal.org, &filter, limit).await?;
    Ok(Json(show_all(&mut conn, &principal.org_name, page).await?))
}
