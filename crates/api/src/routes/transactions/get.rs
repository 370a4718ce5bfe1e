//! `GET /v1/transactions/{hash}`

use alloy_primitives::B256;
use axum::{Json, extract::State};
use laurel_views::{find_transaction, grants_of_transaction};

use super::out::TransactionOut;
use crate::{ApiState, Principal, Problem, extract::Path};

/// A transaction and its grants
#[utoipa::path(
    get, path = "/transactions/{hash}", tag = "transactions", operation_id = "get_transaction",
    params(("hash" = String, Path, description = "The transaction's hash")),
    responses((status = 200, body = TransactionOut), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path(hash): Path<B256>,
) -> Result<Json<TransactionOut>, Problem> {
    let mut conn = state.read_pool.acquire().await?;
    let found = find_transaction(&mut conn, principal.org, hash).await?;
    let found = found.ok_or_else(|| Problem::not_found("transaction"))?;
    let grants = grants_of_transaction(&mut conn, principal.org, found.batch).await?;
    let mut out = TransactionOut::from(found);
    out.grant_ids = Some(grants);
    Ok(Json(out))
}
