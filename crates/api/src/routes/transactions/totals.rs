//! `GET /v1/transactions/totals`

use axum::{Json, extract::State};
use laurel_events::{Amount, AttemptId};
use laurel_views::transaction_totals;
use serde::Serialize;
use utoipa::ToSchema;

use super::query::TransactionQuery;
use crate::{
    ApiState, Principal, Problem,
    extract::{Paging, Query},
};

/// What transactions add up to.
#[derive(Serialize, ToSchema)]
pub(crate) struct TransactionTotalsOut {
    /// How many there are.
    transactions: u64,
    /// How many of them are in a final block: the others cost nothing, or not yet.
    final_transactions: u64,
    /// The gas that those used.
    gas_used: u64,
    /// What that cost, in wei.
    #[schema(value_type = String)]
    fees: Amount,
}

/// What transactions add up to
///
/// Of all that the same filters list, on whatever page. What replacements cost is `replacement=true`.
#[utoipa::path(
    get, path = "/transactions/totals", tag = "transactions", operation_id = "get_transaction_totals",
    params(TransactionQuery),
    responses((status = 200, body = TransactionTotalsOut), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Query(query): Query<TransactionQuery>,
) -> Result<Json<TransactionTotalsOut>, Problem> {
    Paging::parse::<AttemptId>(query.cursor.as_deref(), query.limit)?;
    let mut conn = state.read_pool.acquire().await?;
    let totals = transaction_totals(&mut conn, principal.org, &query.filter(None)?).await?;
    Ok(Json(TransactionTotalsOut {
        transactions: totals.transactions,
        final_transactions: totals.paid_for,
        gas_used: totals.gas_used,
        fees: totals.fees,
    }))
}
