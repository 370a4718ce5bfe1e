//! `GET /v1/campaigns/{campaign_id}/grants`

use axum::{Json, extract::State};
use laurel_events::{CampaignId, GrantId};
use laurel_views::{GrantFilter, list_grant_views};

use super::campaign;
use crate::{
    ApiState, Principal, Problem, Role,
    extract::{Page, Paging, Path, Query},
    routes::grants::{GrantOut, show_all},
};

/// A campaign's grants
#[utoipa::path(
    get, path = "/campaigns/{campaign_id}/grants", tag = "campaigns", operation_id = "list_campaign_grants",
    params(("campaign_id" = String, Path, description = "The campaign's id"), Paging),
    responses((status = 200, body = Page<GrantOut>), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path(id): Path<CampaignId>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<GrantOut>>, Problem> {
    principal.require(&[Role::Manager, Role::Auditor])?;
    let (after, limit) = Paging::parse::<GrantId>(paging.cursor.as_deref(), paging.limit)?;
    let mut conn = state.read_pool.acquire().await?;
    campaign(&mut conn, &principal, id).await?;
    let filter = GrantFilter { campaign: Some(id), after, ..GrantFilter::default() };
    let grants = list_grant_views(&mut conn, principal.org, &filter, limit).await?;
    Ok(Json(show_all(&mut conn, grants, limit).await?))
}
