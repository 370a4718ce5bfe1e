//! `GET /v1/grants/totals`

use axum::{Json, extract::State};
use laurel_events::{Amount, GrantId};
use laurel_views::grant_totals;
use serde::Serialize;
use utoipa::ToSchema;

use super::query::GrantQuery;
use crate::{
    ApiState, Principal, Problem,
    extract::{Paging, Query},
};

/// What grants add up to.
#[derive(Serialize, ToSchema)]
pub(crate) struct GrantTotalsOut {
    /// How many there are.
    grants: u64,
    /// Their amounts, in base units: ask for one token.
    #[schema(value_type = String)]
    amount: Amount,
    /// Whether that is all of them: where very many have to be looked at one by one, only the first are added up.
    complete: bool,
}

/// What grants add up to
///
/// Of all that the same filters list, on whatever page.
#[utoipa::path(
    get, path = "/grants/totals", tag = "grants", operation_id = "get_grant_totals", params(GrantQuery),
    responses((status = 200, body = GrantTotalsOut), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Query(query): Query<GrantQuery>,
) -> Result<Json<GrantTotalsOut>, Problem> {
    Paging::parse::<GrantId>(query.cursor.as_deref(), query.limit)?;
    let mut conn = state.read_pool.acquire().await?;
    let asked = query.resolve(&mut conn, principal.org).await?;
    let totals = grant_totals(&mut conn, principal.org, &asked.filter(None)).await?;
    Ok(Json(GrantTotalsOut { grants: totals.grants, amount: totals.amount, complete: totals.complete }))
}
