//! `DELETE /v1/api-keys/{key_id}`

use axum::{extract::State, http::StatusCode};
use laurel_ledger::commit;
use uuid::Uuid;

use crate::{ApiState, Principal, Problem, auth::revoke_api_key, extract::Path, staff_log::{Change, keep_change}};

/// Revoke an API key
///
/// At once. One that was revoked before stays so.
#[utoipa::path(
    delete, path = "/api-keys/{key_id}", tag = "sign-in", operation_id = "revoke_api_key",
    params(("key_id" = Uuid, Path, description = "The key's id")),
    responses((status = 204, description = "It is good no more"), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    let now = state.now();
    let mut tx = state.pool.begin().await?;
    if !revoke_api_key(&mut tx, now, principal.org, id, &principal.subject).await? {
        return Err(Problem::not_found("API key"));
    }
    keep_change(&mut tx, &state, now, &principal, Change::of("api-key", id)).await?;
    commit(tx, "api_key_revoked").await?;
    Ok(StatusCode::NO_CONTENT)
}
