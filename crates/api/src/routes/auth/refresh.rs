//! `POST /v1/auth/refresh`

use axum::{Json, extract::State, response::IntoResponse};
use laurel_ledger::commit;
use serde::Deserialize;
use utoipa::ToSchema;

use super::NO_STORE;
use crate::{
    ApiState, Problem,
    auth::{Refreshed, Tokens, refresh_session, tokens},
    extract::{Body, RequestBody},
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Refresh)]
pub(crate) struct Request {
    /// The refresh token that came last.
    refresh_token: String,
}

impl RequestBody for Request {}

/// Get the next tokens
///
/// A refresh token is good once. When it comes again, somebody else has it: the sign-in ends, with all tokens that came of it.
#[utoipa::path(
    post, path = "/auth/refresh", tag = "sign-in", operation_id = "refresh", request_body(content = Request, example = json!({ "refresh_token": "the one that came last" })), security(()),
    responses((status = 200, body = Tokens), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    Body(request): Body<Request>,
) -> Result<impl IntoResponse, Problem> {
    let now = state.now();
    let mut rng = state.rng().await;
    let mut tx = state.pool.begin().await?;
    match refresh_session(&mut tx, now, &mut rng, &request.refresh_token).await? {
        Refreshed::Good { opened, role, org, subject } => {
            let tokens = tokens(&state, now, &opened, role, org, subject)?;
            commit(tx, "refreshed").await?;
            Ok(([NO_STORE], Json(tokens)))
        }
        Refreshed::Reused => {
            commit(tx, "refresh_token_reused").await?;
            tracing::warn!("a refresh token came again: its sign-in has ended");
            let detail = "this refresh token was used before, so its sign-in has ended: sign in again";
            Err(Problem::unauthorized("refresh_token_reused", detail))
        }
        Refreshed::Unknown => {
            let detail = "this refresh token is none, or over, or its sign-in has ended: sign in again";
            Err(Problem::unauthorized("invalid_refresh_token", detail))
        }
    }
}
