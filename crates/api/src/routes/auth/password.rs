//! `PUT /v1/auth/password`

use axum::{extract::State, http::StatusCode};
use laurel_ledger::commit;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{caller, require_password};
use crate::{
    ApiState, Password, Principal, Problem,
    extract::{Body, RequestBody},
    set_password,
    staff_log::{Change, keep_change},
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewPassword)]
pub(crate) struct Request {
    /// The password that you have.
    current: String,
    /// The one that you want: 12 characters or more, with no other rules.
    #[schema(min_length = 12, max_length = 512)]
    new: String,
}

impl RequestBody for Request {}

/// Change your password
///
/// All your sign-ins end, this one as well: sign in with the new one.
#[utoipa::path(
    put, path = "/auth/password", tag = "sign-in", operation_id = "put_password", request_body(content = Request, example = json!({ "current": "correct horse battery", "new": "a passphrase of my own" })),
    responses((status = 204, description = "It is changed"), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Body(Request { current, new }): Body<Request>,
) -> Result<StatusCode, Problem> {
    let new = Password::choose(new)?;
    let compared = require_password(&state, &principal, current).await?;
    let hash = new.hash(&mut state.rng().await).await?;
    let mut tx = state.pool.begin().await?;
    let staff = caller(&mut tx, &principal).await?;
    if staff.password_hash.as_deref() != Some(&compared) {
        return Err(Problem::conflict("password_changed", "somebody changed the password meanwhile"));
    }
    let now = state.now();
    set_password(&mut tx, now, &staff.name, &hash).await?;
    keep_change(&mut tx, &state, now, &principal, Change::of("staff", staff.id)).await?;
    commit(tx, "password_changed").await?;
    Ok(StatusCode::NO_CONTENT)
}
