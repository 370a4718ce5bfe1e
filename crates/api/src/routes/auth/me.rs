//! `GET /v1/auth/me`

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{ApiState, Principal, Problem, Role, auth::name_of};

#[derive(Serialize, ToSchema)]
#[schema(as = Caller)]
pub(crate) struct Answer {
    /// Your id, as the journal has it: for a player, the game server's id; for a game server, its name.
    subject: String,
    /// What you sign in as, with a password.
    name: Option<String>,
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
    responses((status = 200, body = Answer), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
) -> Result<Json<Answer>, Problem> {
    let Principal { subject, org_name, role, session, games, .. } = principal;
    let name = match session {
        Some(session) => name_of(&mut *state.read_pool.acquire().await?, session).await?,
        None => None,
    };
    Ok(Json(Answer { subject, name, org: org_name, role, games }))
}
