//! `GET /v1/exports/{export_id}`

use axum::{Json, extract::State};
use uuid::Uuid;

use crate::{
    ApiState, Principal, Problem,
    export::{ExportOut, find_export},
    extract::Path,
};

/// The manifest of an export
///
/// How many rows and bytes it has, and the SHA-256 of the whole and of each piece. The answer that is the export names it in its `link`.
#[utoipa::path(
    get, path = "/exports/{export_id}", tag = "exports", operation_id = "get_export",
    params(("export_id" = Uuid, Path, description = "The export's id")),
    responses((status = 200, body = ExportOut), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<Json<ExportOut>, Problem> {
    // Where it was written: whoever has just read the end of an export may be ahead of a replica.
    let mut conn = state.pool.acquire().await?;
    let found = find_export(&mut conn, principal.org, id).await?;
    found.map(Json).ok_or_else(|| Problem::not_found("export"))
}
