//! `GET /v1/transactions`

use axum::{
    Json,
    extract::{RawQuery, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use laurel_events::AttemptId;
use laurel_views::list_transactions;

use super::{out::TransactionOut, query::TransactionQuery, sheet::TransactionSource};
use crate::{
    ApiState, Principal, Problem,
    export::{Format, export},
    extract::{Page, Paging, Query},
};

/// Every transaction that was signed
///
/// In the order in which they were signed. A page may hold fewer items than it could, or none, where a rare thing is looked for among many:
/// the list goes on for as long as `next` is not null.
///
/// With `accept: text/csv` or `application/x-ndjson` the whole list is streamed, and `limit` says nothing.
#[utoipa::path(
    get, path = "/transactions", tag = "transactions", operation_id = "list_transactions", params(TransactionQuery),
    responses(
        (status = 200, content(
            (Page<TransactionOut> = "application/json"),
            (String = "text/csv"),
            (String = "application/x-ndjson"),
        )),
        (status = "4XX", body = Problem),
    ),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    headers: HeaderMap,
    RawQuery(asked_for): RawQuery,
    Query(query): Query<TransactionQuery>,
) -> Result<Response, Problem> {
    let (after, limit) = Paging::parse::<AttemptId>(query.cursor.as_deref(), query.limit)?;
    let filter = query.filter(after)?;
    if let Some(format) = Format::wanted(&headers) {
        let source = TransactionSource::new(principal.org, query, after);
        return export(&state, &principal, format, asked_for.as_deref().unwrap_or_default(), source).await;
    }
    let mut conn = state.read_pool.acquire().await?;
    let page = list_transactions(&mut conn, principal.org, &filter, limit).await?;
    let items: Vec<TransactionOut> = page.transactions.into_iter().map(TransactionOut::from).collect();
    Ok(Json(Page { items, next: page.next.map(|next| next.to_string()) }).into_response())
}
