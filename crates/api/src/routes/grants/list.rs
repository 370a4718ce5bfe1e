//! `GET /v1/grants`

use axum::{Json, extract::State};
use laurel_events::GrantId;
use laurel_views::list_grant_views;

use super::{GrantOut, query::GrantQuery, show_all};
use crate::{
    ApiState, Principal, Problem,
    extract::{Page, Paging, Query},
};

/// All grants
///
/// In the order of their ids; where blocks are asked for, in the order of their places on the chain. A page may hold fewer items than it
/// could, or none, where a rare thing is looked for among many: the list goes on for as long as `next` is not null.
#[utoipa::path(
    get, path = "/grants", tag = "grants", operation_id = "list_grants", params(GrantQuery),
    responses((status = 200, body = Page<GrantOut>), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Query(query): Query<GrantQuery>,
) -> Result<Json<Page<GrantOut>>, Problem> {
    let (after, limit) = Paging::parse::<GrantId>(query.cursor.as_deref(), query.limit)?;
    let mut conn = state.read_pool.acquire().await?;
    let Some(asked) = query.resolve(&mut conn, principal.org).await? else {
        return Ok(Json(Page { items: Vec::new(), next: None }));
    };
    let page = list_grant_views(&mut conn, principal.org, &asked.filter(after), limit).await?;
    Ok(Json(show_all(&mut conn, &principal.org_name, page).await?))
}
