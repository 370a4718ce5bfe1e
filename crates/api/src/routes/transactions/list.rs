//! `GET /v1/transactions`

use axum::{Json, extract::State};
use laurel_events::AttemptId;
use laurel_views::list_transactions;

use super::out::TransactionOut;
use crate::{
    ApiState, Principal, Problem, Role,
    extract::{Page, Paging, Query},
};

/// Every transaction that was signed
#[utoipa::path(
    get, path = "/transactions", tag = "transactions", operation_id = "list_transactions", params(Paging),
    responses((status = 200, body = Page<TransactionOut>), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<TransactionOut>>, Problem> {
    principal.require(&[Role::Auditor, Role::Manager])?;
    let (after, limit) = Paging::parse::<AttemptId>(paging.cursor.as_deref(), paging.limit)?;
    let mut conn = state.read_pool.acquire().await?;
    let transactions = list_transactions(&mut conn, principal.org, after, limit).await?;
    let items: Vec<TransactionOut> = transactions.into_iter().map(TransactionOut::from).collect();
    Ok(Json(Page::new(items, limit, |transaction| transaction.attempt.to_string())))
}
