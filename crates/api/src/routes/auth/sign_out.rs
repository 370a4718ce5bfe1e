//! `POST /v1/auth/sign-out`

use axum::{extract::State, http::StatusCode};
use laurel_ledger::commit;

use crate::{
    ApiState, Principal, Problem,
    auth::{Ended, end_session},
    staff_log::{Change, keep_change},
};

/// Sign out
///
/// All tokens of this sign-in end at once.
#[utoipa::path(
    post, path = "/auth/sign-out", tag = "sign-in", operation_id = "sign_out",
    responses((status = 204, description = "It has ended"), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
) -> Result<StatusCode, Problem> {
    let session = principal.session.ok_or_else(|| {
        let detail = "this token came of no sign-in: it ends by itself, and an API key when it is revoked";
        Problem::conflict("no_session", detail)
    })?;
    let mut tx = state.pool.begin().await?;
    let now = state.now();
    end_session(&mut tx, now, session, Ended::SignedOut).await?;
    keep_change(&mut tx, &state, now, &principal, Change::of("staff", &principal.subject)).await?;
    commit(tx, "signed_out").await?;
    Ok(StatusCode::NO_CONTENT)
}
