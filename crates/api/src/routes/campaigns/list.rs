//! `GET /v1/campaigns`

use axum::{Json, extract::State};
use laurel_campaign::{CampaignState, list_campaigns};
use laurel_events::CampaignId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::out::CampaignOut;
use crate::{
    ApiState, Principal, Problem,
    extract::{Page, Paging, Query, invalid_cursor, known},
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

/// All campaigns
#[utoipa::path(
    get, path = "/campaigns", tag = "campaigns", operation_id = "list_campaigns", params(Filter),
    responses((status = 200, body = Page<CampaignOut>), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Query(query): Query<Filter>,
) -> Result<Json<Page<CampaignOut>>, Problem> {
    let (after, limit) = Paging::parse::<CampaignId>(query.cursor.as_deref(), query.limit)?;
    if after.is_some_and(|after| after.number() < 0) {
        return Err(invalid_cursor());
    }
    let states = CampaignState::ALL.map(CampaignState::as_str);
    let wanted = known("state", query.state.as_deref(), &states)?.and_then(|state| state.parse().ok());
    let mut conn = state.read_pool.acquire().await?;
    let campaigns = list_campaigns(&mut conn, principal.org, wanted, after, limit).await?;
    let items: Vec<CampaignOut> = campaigns.into_iter().map(CampaignOut::from).collect();
    Ok(Json(Page::new(items, limit, |campaign| campaign.id.to_string())))
}
