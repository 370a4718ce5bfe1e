//! `GET /v1/auth/me`

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{Principal, Role};

#[derive(Serialize, ToSchema)]
pub(crate) struct Answer {
    /// What you are called; for a player, the game server's id.
    subject: String,
    /// Your organisation.
    org: String,
    /// What you are; null where nobody signs in and everybody may do everything.
    role: Option<Role>,
    /// The games that you may report of; null if of all.
    games: Option<Vec<String>>,
}

/// Who you are
#[utoipa::path(
    get, path = "/auth/me", tag = "sign-in", operation_id = "who_am_i",
    responses((status = 200, body = Answer), (status = "4XX", body = crate::Problem)),
)]
pub(crate) async fn handler(principal: Principal) -> Json<Answer> {
    let Principal { subject, org_name, role, games, .. } = principal;
    Json(Answer { subject, org: org_name, role, games })
}
