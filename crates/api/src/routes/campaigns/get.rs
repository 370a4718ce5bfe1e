//! `GET /v1/campaigns/{campaign_id}`

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use laurel_campaign::{campaign_at, pending_funding};
use laurel_events::CampaignId;

use super::{
    campaign,
    out::{CampaignOut, etag},
};
use crate::{
    ApiState, Principal, Problem,
    extract::{Moment, Path, Query},
};

/// A campaign
#[utoipa::path(
    get, path = "/campaigns/{campaign_id}", tag = "campaigns", operation_id = "get_campaign",
    params(("campaign_id" = String, Path, description = "The campaign's id"), Moment),
    responses((status = 200, body = CampaignOut), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path(id): Path<CampaignId>,
    Query(Moment { as_of }): Query<Moment>,
) -> Result<Response, Problem> {
    let mut conn = state.read_pool.acquire().await?;
    let found = campaign(&mut conn, &principal, id).await?;
    if let Some(as_of) = as_of {
        let past = campaign_at(&mut conn, found, as_of).await?;
        let past = past.ok_or_else(|| Problem::not_found("campaign at that moment"))?;
        // Nobody changes the past, so it has no ETag.
        return Ok(Json(CampaignOut::from(past)).into_response());
    }
    let pending = pending_funding(&mut conn, id).await?;
    let tag = etag(found.version);
    let mut out = CampaignOut::from(found);
    out.funding = pending.map(Into::into);
    Ok((tag, Json(out)).into_response())
}
