//! `GET /v1/exports`

use axum::{Json, extract::State};
use uuid::Uuid;

use crate::{
    ApiState, Principal, Problem,
    export::{ExportOut, list_exports},
    extract::{Page, Paging, Query},
};

/// What was exported, the newest first
#[utoipa::path(
    get, path = "/exports", tag = "exports", operation_id = "list_exports", params(Paging),
    responses((status = 200, body = Page<ExportOut>), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<ExportOut>>, Problem> {
    let (before, limit) = Paging::parse::<Uuid>(paging.cursor.as_deref(), paging.limit)?;
    let mut conn = state.read_pool.acquire().await?;
    let exports = list_exports(&mut conn, principal.org, before, limit).await?;
    Ok(Json(Page::new(exports, limit, |export| export.id.to_string())))
}
