//! `GET /v1/auth/jwks`

use axum::{Json, extract::State, response::IntoResponse};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{ApiState, AuthMode, Jwk, TokenKey, head::CACHEABLE};

/// Keys (RFC 7517).
#[derive(Serialize, ToSchema)]
#[schema(as = Jwks)]
pub(crate) struct Answer {
    /// All keys that access tokens may be signed with. The first one signs new ones.
    keys: Vec<Jwk>,
}

/// The keys that access tokens are signed with
#[utoipa::path(
    get, path = "/auth/jwks", tag = "sign-in", operation_id = "list_keys", security(()),
    responses((status = 200, body = Answer)),
)]
pub(crate) async fn handler(State(state): State<ApiState>) -> impl IntoResponse {
    let keys = match &state.auth {
        AuthMode::None => Vec::new(),
        AuthMode::Jwt(keys) => keys.iter().map(TokenKey::jwk).cloned().collect(),
    };
    ([CACHEABLE], Json(Answer { keys }))
}
