//! `/v1/auth/totp`

use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
use laurel_ledger::commit;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{NO_STORE, caller, require_password};
use crate::{
    ApiState, Principal, Problem,
    auth::{Codes, about_totp, begin_totp, confirm_totp, end_other_sessions, secrets_key},
    extract::{Body, RequestBody},
    staff_log::{Change, keep_change},
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BeginTotp)]
pub(crate) struct Begin {
    /// Your password.
    password: String,
}

impl RequestBody for Begin {}

#[derive(Serialize, ToSchema)]
#[schema(as = TotpBegun)]
pub(crate) struct Begun {
    /// What an authenticator reads as a QR code. It is shown once.
    uri: String,
}

fn have_one() -> Problem {
    let detail = "you have an authenticator already: whoever runs this can have it forgotten (laurel user forget-totp)";
    Problem::conflict("totp_is_on", detail)
}

/// Get a secret for your authenticator
///
/// It counts only after you have sent a code of it. Asked for again before, there is a new one.
#[utoipa::path(
    post, path = "/auth/totp", tag = "sign-in", operation_id = "begin_totp", request_body(content = Begin, example = json!({ "password": "correct horse battery" })),
    responses((status = 200, body = Begun), (status = "4XX", body = Problem)),
)]
pub(crate) async fn begin(
    State(state): State<ApiState>,
    principal: Principal,
    Body(Begin { password }): Body<Begin>,
) -> Result<impl IntoResponse, Problem> {
    require_password(&state, &principal, password).await?;
    let mut rng = state.rng().await;
    let mut tx = state.pool.begin().await?;
    let staff = caller(&mut tx, &principal).await?;
    if staff.totp {
        return Err(have_one());
    }
    let codes = Codes::generate(&mut rng, &staff.name)?;
    let sealed = secrets_key(&state)?.seal(&mut rng, &about_totp(staff.id), codes.secret())?;
    begin_totp(&mut tx, staff.id, &sealed).await?;
    let begun = Begun { uri: codes.uri()? };
    keep_change(&mut tx, &state, state.now(), &principal, Change::of("staff", staff.id)).await?;
    commit(tx, "totp_begun").await?;
    Ok(([NO_STORE], Json(begun)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ConfirmTotp)]
pub(crate) struct Confirm {
    /// The code that your authenticator shows now.
    code: String,
}

impl RequestBody for Confirm {}

/// Show that your authenticator has the secret
///
/// From now on nobody signs in as you without a code of it. Your other sign-ins end.
#[utoipa::path(
    put, path = "/auth/totp", tag = "sign-in", operation_id = "confirm_totp", request_body(content = Confirm, example = json!({ "code": "123456" })),
    responses((status = 204, description = "Codes are asked for from now on"), (status = "4XX", body = Problem)),
)]
pub(crate) async fn confirm(
    State(state): State<ApiState>,
    principal: Principal,
    Body(Confirm { code }): Body<Confirm>,
) -> Result<StatusCode, Problem> {
    let now = state.now();
    let mut tx = state.pool.begin().await?;
    let staff = caller(&mut tx, &principal).await?;
    let sealed = match staff.totp_secret {
        _ if staff.totp => return Err(have_one()),
        Some(sealed) => sealed,
        None => return Err(Problem::conflict("no_totp", "ask for a secret first: POST /v1/auth/totp")),
    };
    let codes = Codes::of(secrets_key(&state)?.open(&about_totp(staff.id), &sealed)?, &staff.name)?;
    let step = codes.check(now, &code, staff.totp_step).ok_or_else(|| {
        let detail = "this is not the code of the secret that was given last: is the clock of your authenticator right?";
        Problem::unprocessable("wrong_code", detail).at("#/code")
    })?;
    confirm_totp(&mut tx, now, staff.id, step).await?;
    end_other_sessions(&mut tx, now, staff.id, principal.session).await?;
    keep_change(&mut tx, &state, now, &principal, Change::of("staff", staff.id)).await?;
    commit(tx, "totp_confirmed").await?;
    Ok(StatusCode::NO_CONTENT)
}
