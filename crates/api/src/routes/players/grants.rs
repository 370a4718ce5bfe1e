//! `GET /v1/players/{player_id}/grants`

use std::collections::HashMap;

use axum::{Json, extract::State};
use laurel_events::GrantId;
use laurel_views::{GrantFilter, list_grant_views};
use serde::Deserialize;
use utoipa::IntoParams;

use super::player;
use crate::{
    ApiState, Principal, Problem,
    extract::{Page, Paging, Path, Query, known},
    routes::grants::{GrantOut, STATES, show_named},
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
    /// Only those in this state.
    #[serde(default)]
    state: Option<String>,
}

/// A player's grants
#[utoipa::path(
    get, path = "/players/{player_id}/grants", tag = "players", operation_id = "list_player_grants",
    params(("player_id" = String, Path, description = "The game server's id of the player"), Filter),
    responses((status = 200, body = Page<GrantOut>), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path(player_id): Path<String>,
    Query(query): Query<Filter>,
) -> Result<Json<Page<GrantOut>>, Problem> {
    let (after, limit) = Paging::parse::<GrantId>(query.cursor.as_deref(), query.limit)?;
    let wanted = known("state", query.state.as_deref(), &STATES)?;
    let mut conn = state.read_pool.acquire().await?;
    let player = player(&mut conn, &principal, &player_id).await?;
    let filter = GrantFilter { players: Some(&[player.id]), state: wanted, after, ..GrantFilter::default() };
    let page = list_grant_views(&mut conn, principal.org, &filter, limit).await?;
    let names = HashMap::from([(player.id, player_id)]);
    Ok(Json(show_named(&principal.org_name, page, &names)))
}
