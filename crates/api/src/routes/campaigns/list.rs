//! `GET /v1/campaigns`

use axum::{Json, extract::State};
use laurel_campaign::list_campaigns;
use laurel_events::CampaignId;

use super::out::CampaignOut;
use crate::{
    ApiState, Principal, Problem, Role,
    extract::{Page, Paging, Query},
};

/// All campaigns
#[utoipa::path(
    get, path = "/campaigns", tag = "campaigns", operation_id = "list_campaigns", params(Paging),
    responses((status = 200, body = Page<CampaignOut>), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<CampaignOut>>, Problem> {
    principal.require(&[Role::Manager, Role::Auditor])?;
    let (after, limit) = Paging::parse::<CampaignId>(paging.cursor.as_deref(), paging.limit)?;
    let mut conn = state.read_pool.acquire().await?;
    let campaigns = list_campaigns(&mut conn, principal.org, after, limit).await?;
    let items: Vec<CampaignOut> = campaigns.into_iter().map(CampaignOut::from).collect();
    Ok(Json(Page::new(items, limit, |campaign| campaign.id.to_string())))
}
