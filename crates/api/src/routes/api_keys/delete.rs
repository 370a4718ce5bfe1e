//! `DELETE /v1/api-keys/{key_id}`

use axum::{extract::State, http::StatusCode};
use laurel_ledger::commit;
use uuid::Uuid;

use super::out::ApiKeyOut;
use crate::{
    ApiState, Principal, Problem,
    auth::revoke_api_key,
    extract::Path,
    staff_log::{Change, keep_change},
};

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
    let revoked = revoke_api_key(&mut tx, now, principal.org, id, &principal.subject).await?;
    let (before, after) = revoked.ok_or_else(|| Problem::not_found("API key"))?;
    let change = Change::of("api-key", id);
    let change = change.before(&ApiKeyOut::from(before))?.after(&ApiKeyOut::from(after))?;
    keep_change(&mut tx, &state, now, &principal, change).await?;
    commit(tx, "api_key_revoked").await?;
    Ok(StatusCode::NO_CONTENT)
}
