//! `GET /v1/campaigns/{campaign_id}/budget`

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use laurel_events::{Amount, CampaignId};
use laurel_views::{PastBooks, books_at};
use serde::Serialize;
use utoipa::ToSchema;

use super::campaign;
use crate::{
    ApiState, Principal, Problem,
    extract::{Moment, Path, Query},
};

/// What a campaign's books said at a moment, in base units of its token.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct BudgetOut {
    /// The moment.
    as_of: DateTime<Utc>,
    /// The last event of the journal that is in it, by its chunk; null where there was none.
    event_id: Option<String>,
    /// When that was recorded.
    recorded_at: Option<DateTime<Utc>>,
    /// The vault's cap, in a final block: the sum of the next four.
    #[schema(value_type = String)]
    funded: Amount,
    /// Free for grants.
    #[schema(value_type = String)]
    available: Amount,
    /// Held for grants under way.
    #[schema(value_type = String)]
    reserved: Amount,
    /// Paid, in final blocks.
    #[schema(value_type = String)]
    paid: Amount,
    /// Given back when the vault released the campaign.
    #[schema(value_type = String)]
    returned: Amount,
    /// What grants stood on and the vault had no cap for, since the chain took back what was final; counted as funded.
    #[schema(value_type = String)]
    overdrawn: Amount,
    /// How many grants there were.
    grants: u64,
    /// How many of them were paid.
    grants_paid: u64,
    /// How many of them had come to nothing, and were given back.
    grants_released: u64,
}

impl BudgetOut {
    fn new(as_of: DateTime<Utc>, books: Option<PastBooks>) -> Self {
        let balances = books.as_ref().map(|books| books.balances).unwrap_or_default();
        Self {
            as_of,
            event_id: books.as_ref().map(|books| books.last_event.to_string()),
            recorded_at: books.as_ref().map(|books| books.recorded_at),
            funded: balances.funded,
            available: balances.available,
            reserved: balances.reserved,
            paid: balances.paid,
            returned: balances.returned,
            overdrawn: balances.overdrawn,
            grants: balances.grants,
            grants_paid: books.as_ref().map_or(0, |books| books.paid),
            grants_released: books.as_ref().map_or(0, |books| books.released),
        }
    }
}

/// A campaign's books at a moment
///
/// What the journal adds up to when everything is in it that was recorded up to `as_of`, and nothing else; up to now without. Statistics tell
/// of the present, and of more.
#[utoipa::path(
    get, path = "/campaigns/{campaign_id}/budget", tag = "campaigns", operation_id = "get_campaign_budget",
    params(("campaign_id" = String, Path, description = "The campaign's id"), Moment),
    responses((status = 200, body = BudgetOut), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path(id): Path<CampaignId>,
    Query(Moment { as_of }): Query<Moment>,
) -> Result<Json<BudgetOut>, Problem> {
    let as_of = as_of.unwrap_or_else(|| state.clock.now());
    let mut conn = state.read_pool.acquire().await?;
    campaign(&mut conn, &principal, id).await?;
    let books = books_at(&mut conn, id, as_of).await?;
    Ok(Json(BudgetOut::new(as_of, books)))
}
