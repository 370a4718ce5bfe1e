//! `GET /v1/campaigns/{campaign_id}`

use axum::{Json, extract::State, response::IntoResponse};
use laurel_campaign::pending_funding;
use laurel_events::CampaignId;

use super::{
    campaign,
    out::{CampaignOut, etag},
};
use crate::{ApiState, Principal, Problem, extract::Path};

/// A campaign
#[utoipa::path(
    get, path = "/campaigns/{campaign_id}", tag = "campaigns", operation_id = "get_campaign",
    params(("campaign_id" = String, Path, description = "The campaign's id")),
    responses((status = 200, body = CampaignOut), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path(id): Path<CampaignId>,
) -> Result<impl IntoResponse, Problem> {
    let mut conn = state.read_pool.acquire().await?;
    let found = campaign(&mut conn, &principal, id).await?;
    let pending = pending_funding(&mut conn, id).await?;
    let tag = etag(found.version);
    let mut out = CampaignOut::from(found);
    out.funding = pending.map(Into::into);
    Ok((tag, Json(out)))
}
