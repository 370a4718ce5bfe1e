//! `GET /v1/players/{player_id}/grants`

use axum::{Json, extract::State};
use laurel_events::GrantId;
use laurel_views::{GrantFilter, list_grant_views};

use super::player;
use crate::{
    ApiState, Principal, Problem, Role,
    extract::{Page, Paging, Path, Query},
    routes::grants::{GrantOut, show_all},
};

/// A player's grants
#[utoipa::path(
    get, path = "/players/{player_id}/grants", tag = "players", operation_id = "list_player_grants",
    params(("player_id" = String, Path, description = "The game server's id of the player"), Paging),
    responses((status = 200, body = Page<GrantOut>), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path(player_id): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<GrantOut>>, Problem> {
    principal.require_self_or(&player_id, &[Role::GameServer, Role::Manager, Role::Auditor])?;
    let (after, limit) = Paging::parse::<GrantId>(paging.cursor.as_deref(), paging.limit)?;
    let mut conn = state.read_pool.acquire().await?;
    let player = player(&mut conn, &principal, &player_id).await?;
    let filter = GrantFilter { player: Some(player.id), after, ..GrantFilter::default() };
    let grants = list_grant_views(&mut conn, principal.org, &filter, limit).await?;
    Ok(Json(show_all(&mut conn, grants, limit).await?))
}
