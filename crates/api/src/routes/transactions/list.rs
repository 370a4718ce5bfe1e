//! `GET /v1/transactions`

use axum::{Json, extract::State};
use laurel_events::AttemptId;
use laurel_views::{TransactionFilter, list_transactions};
use serde::Deserialize;
use utoipa::IntoParams;

use super::out::{STATES, TransactionOut};
use crate::{
    ApiState, Principal, Problem,
    extract::{Page, Paging, Query, known},
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
    /// Only those on this chain.
    #[serde(default)]
    chain_id: Option<u64>,
    /// Only those in this state.
    #[serde(default)]
    state: Option<String>,
}

/// Every transaction that was signed
#[utoipa::path(
    get, path = "/transactions", tag = "transactions", operation_id = "list_transactions", params(Filter),
    responses((status = 200, body = Page<TransactionOut>), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Query(query): Query<Filter>,
) -> Result<Json<Page<TransactionOut>>, Problem> {
    let (after, limit) = Paging::parse::<AttemptId>(query.cursor.as_deref(), query.limit)?;
    let filter = TransactionFilter {
        chain_id: query.chain_id,
        state: known("state", query.state.as_deref(), &STATES)?,
        after,
        ..TransactionFilter::default()
    };
    let mut conn = state.read_pool.acquire().await?;
    let transactions = list_transactions(&mut conn, principal.org, &filter, limit).await?;
    let items: Vec<TransactionOut> = transactions.into_iter().map(TransactionOut::from).collect();
    Ok(Json(Page::new(items, limit, |transaction| transaction.attempt.to_string())))
}
