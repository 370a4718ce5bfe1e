//! `GET /v1/grants/{grant_id}`

use axum::{Json, extract::State};
use laurel_events::GrantId;
use laurel_players::players_of_ids;
use laurel_views::{find_grant_view, grant_outcome_id, grant_timeline};

use super::GrantOut;
use crate::{ApiState, Principal, Problem, extract::Path};

/// A grant and its way
#[utoipa::path(
    get, path = "/grants/{grant_id}", tag = "grants", operation_id = "get_grant",
    params(("grant_id" = String, Path, description = "The grant's id")),
    responses((status = 200, body = GrantOut), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path(id): Path<GrantId>,
) -> Result<Json<GrantOut>, Problem> {
    let mut conn = state.read_pool.acquire().await?;
    let grant = find_grant_view(&mut conn, principal.org, id).await?;
    let grant = grant.ok_or_else(|| Problem::not_found("grant"))?;
    let timeline = grant_timeline(&mut conn, &grant).await?;
    let name = players_of_ids(&mut conn, &[grant.player]).await?.remove(&grant.player);
    let outcome_id = grant_outcome_id(&mut conn, &grant).await?;
    let mut out = GrantOut::new(grant, &principal.org_name, name);
    out.outcome_id = outcome_id;
    out.timeline = timeline.into_iter().map(Into::into).collect();
    Ok(Json(out))
}
