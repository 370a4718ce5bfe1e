//! `GET /v1/campaigns/{campaign_id}/statistics/hours`

use axum::{Json, extract::State};
use chrono::DateTime;
use laurel_events::CampaignId;
use laurel_views::campaign_hours;

use super::campaign;
use crate::{
    ApiState, Principal, Problem,
    extract::{Page, Paging, Path, Query, invalid_cursor},
    statistics::HourOut,
};

/// What was granted, declined and paid in each hour
///
/// The newest first; hours in which nothing was recorded are left out.
#[utoipa::path(
    get, path = "/campaigns/{campaign_id}/statistics/hours", tag = "campaigns", operation_id = "list_campaign_hours",
    params(("campaign_id" = String, Path, description = "The campaign's id"), Paging),
    responses((status = 200, body = Page<HourOut>), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path(id): Path<CampaignId>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<HourOut>>, Problem> {
    let (before, limit) = Paging::parse::<i64>(paging.cursor.as_deref(), paging.limit)?;
    let before = before.map(|seconds| {
        DateTime::from_timestamp_secs(seconds)
            .filter(|at| *at >= DateTime::UNIX_EPOCH && at.timestamp() < YEAR_9999)
            .ok_or_else(invalid_cursor)
    });
    let before = before.transpose()?;
    let mut conn = state.read_pool.acquire().await?;
    campaign(&mut conn, &principal, id).await?;
    let hours = campaign_hours(&mut conn, id, None, before, limit).await?;
    let full = i64::try_from(hours.len()).is_ok_and(|found| found >= limit);
    let next = hours.last().filter(|_| full).map(|hour| hour.hour.timestamp().to_string());
    Ok(Json(Page { items: hours.into_iter().map(HourOut::from).collect(), next }))
}

/// The database keeps no later times.
const YEAR_9999: i64 = 253_402_300_799;
