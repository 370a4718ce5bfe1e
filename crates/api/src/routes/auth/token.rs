//! `POST /v1/auth/token`

use axum::{Extension, Json, extract::State, response::IntoResponse};
use serde::Deserialize;
use utoipa::ToSchema;

use super::NO_STORE;
use crate::{
    ApiState, Problem,
    auth::{Credentials, Tokens, sign_in},
    extract::{Body, RequestBody},
    limits::{Bucket, Charge},
    staff_log::Origin,
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SignIn)]
pub(crate) struct Request {
    /// Who you are.
    name: String,
    /// Your password.
    password: String,
    /// The code that your authenticator shows, if you have one here.
    #[serde(default)]
    totp: Option<String>,
}

impl RequestBody for Request {}

/// Sign in
///
/// For people who work here. After five wrong attempts in a row none counts for 15 minutes.
#[utoipa::path(
    post, path = "/auth/token", tag = "sign-in", operation_id = "sign_in", request_body(content = Request, example = json!({ "name": "ada", "password": "correct horse battery" })), security(()),
    responses((status = 200, body = Tokens), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    Extension(origin): Extension<Origin>,
    charge: Charge,
    Body(Request { name, password, totp }): Body<Request>,
) -> Result<impl IntoResponse, Problem> {
    charge.bucket(&Bucket::of_login(&[&name])).await?;
    let tokens = sign_in(&state, &origin, Credentials { name, password, totp }).await?;
    Ok(([NO_STORE], Json(tokens)))
}
