//! `GET /v1/api-keys`

use axum::{Json, extract::State};
use uuid::Uuid;

use super::out::ApiKeyOut;
use crate::{
    ApiState, Principal, Problem,
    auth::list_api_keys,
    extract::{Page, Paging, Query},
};

/// The keys of the organisation's game servers, the newest first
#[utoipa::path(
    get, path = "/api-keys", tag = "sign-in", operation_id = "list_api_keys", params(Paging),
    responses((status = 200, body = Page<ApiKeyOut>), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<ApiKeyOut>>, Problem> {
    let (before, limit) = Paging::parse::<Uuid>(paging.cursor.as_deref(), paging.limit)?;
    let mut conn = state.read_pool.acquire().await?;
    let keys = list_api_keys(&mut conn, principal.org, before, limit).await?;
    let items: Vec<ApiKeyOut> = keys.into_iter().map(ApiKeyOut::from).collect();
    Ok(Json(Page::new(items, limit, |key| key.id.to_string())))
}
