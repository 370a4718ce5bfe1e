//! `GET /v1/grants`

use axum::{
    Json,
    extract::{RawQuery, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use laurel_events::GrantId;
use laurel_views::list_grant_views;

use super::{GrantOut, query::GrantQuery, sheet::GrantSource, show_all};
use crate::{
    ApiState, Principal, Problem,
    export::{Format, export},
    extract::{Page, Paging, Query},
};

/// All grants
///
/// In the order of their ids; where blocks are asked for, in the order of their places on the chain. A page may hold fewer items than it
/// could, or none, where a rare thing is looked for among many: the list goes on for as long as `next` is not null.
///
/// With `accept: text/csv` or `application/x-ndjson` the whole list is streamed, and `limit` says nothing.
#[utoipa::path(
    get, path = "/grants", tag = "grants", operation_id = "list_grants", params(GrantQuery),
    responses(
        (status = 200, content(
            (Page<GrantOut> = "application/json"),
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
    Query(query): Query<GrantQuery>,
) -> Result<Response, Problem> {
    let (after, limit) = Paging::parse::<GrantId>(query.cursor.as_deref(), query.limit)?;
    let mut conn = state.read_pool.acquire().await?;
    let asked = query.resolve(&mut conn, principal.org).await?;
    if let Some(format) = Format::wanted(&headers) {
        drop(conn);
        let source = GrantSource::new(principal.org, asked, after);
        return export(&state, &principal, format, asked_for.as_deref().unwrap_or_default(), source).await;
    }
    let page = list_grant_views(&mut conn, principal.org, &asked.filter(after), limit).await?;
    Ok(Json(show_all(&mut conn, &principal.org_name, page).await?).into_response())
}
