//! `GET /v1/campaigns/{campaign_id}/statistics`

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use laurel_events::{Amount, CampaignId};
use laurel_ledger::find_balances;
use laurel_views::campaign_stats;
use serde::Serialize;
use utoipa::ToSchema;

use super::campaign;
use crate::{ApiState, Principal, Problem, extract::Path};

#[derive(Serialize, ToSchema)]
#[schema(as = CampaignStatistics)]
pub(crate) struct Answer {
    /// The vault's cap, and what is overdrawn: the sum of the next four.
    #[schema(value_type = String)]
    funded: Amount,
    /// Free for grants.
    #[schema(value_type = String)]
    available: Amount,
    /// Held for grants under way.
    #[schema(value_type = String)]
    reserved: Amount,
    /// Paid on the chain.
    #[schema(value_type = String)]
    paid: Amount,
    /// Given back to the treasury.
    #[schema(value_type = String)]
    returned: Amount,
    /// What grants stand on and the vault has no cap for, since the chain took back what was final. Nothing is available then.
    #[schema(value_type = String)]
    overdrawn: Amount,
    /// How many grants there were.
    grants: u64,
    /// How many of them are complete.
    completed: u64,
    /// How many of them were compensated.
    compensated: u64,
    /// How many outcomes were declined, by reason.
    declined: BTreeMap<String, u64>,
}

/// A campaign's books and counts
#[utoipa::path(
    get, path = "/campaigns/{campaign_id}/statistics", tag = "campaigns", operation_id = "get_campaign_statistics",
    params(("campaign_id" = String, Path, description = "The campaign's id")),
    responses((status = 200, body = Answer), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path(id): Path<CampaignId>,
) -> Result<Json<Answer>, Problem> {
    let mut conn = state.read_pool.acquire().await?;
    campaign(&mut conn, &principal, id).await?;
    let books = find_balances(&mut conn, id).await?.unwrap_or_default();
    let stats = campaign_stats(&mut conn, id).await?;
    Ok(Json(Answer {
        funded: books.funded,
        available: books.available,
        reserved: books.reserved,
        paid: books.paid,
        returned: books.returned,
        overdrawn: books.overdrawn,
        grants: stats.grants,
        completed: stats.completed,
        compensated: stats.compensated,
        declined: stats.declined,
    }))
}
