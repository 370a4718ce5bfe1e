//! Before every route: who is calling, and whether they may.

use axum::{
    extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State},
    http::{Method, request::Parts},
    middleware::Next,
    response::Response,
};

use super::{
    Principal, Role,
    matrix::{Who, who_may},
};
use crate::{ApiState, Problem};

/// Lets a request pass if the table has its route and the caller is one of those who may call it.
///
/// # Errors
/// 401 without a good token, 403 with one of another role.
pub(crate) async fn with_principal(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let path = MatchedPath::from_request_parts(&mut parts, &state).await;
    let path = path.map_err(|error| Problem::internal(&error.to_string()))?;
    // Whoever may get something may ask for its head.
    let method = if parts.method == Method::HEAD { &Method::GET } else { &parts.method };
    let who = who_may(method.as_str(), path.as_str())
        .ok_or_else(|| Problem::internal("a route that the table of rights does not know"))?;
    if who == Who::Everybody {
        return Ok(next.run(Request::from_parts(parts, body)).await);
    }
    let principal = Principal::of(&state, &parts).await?;
    if !may(who, &principal, &mut parts, &state).await? {
        return Err(principal.refused(who));
    }
    parts.extensions.insert(principal);
    Ok(next.run(Request::from_parts(parts, body)).await)
}

async fn may(who: Who, principal: &Principal, parts: &mut Parts, state: &ApiState) -> Result<bool, Problem> {
    let Some(role) = principal.role else { return Ok(true) };
    match who {
        Who::Everybody => Ok(true),
        Who::Roles(roles) => Ok(roles.contains(&role)),
        Who::PlayerOr(_) if role == Role::Player => {
            // A path that cannot be decoded names nobody.
            let Ok(named) = RawPathParams::from_request_parts(parts, state).await else { return Ok(false) };
            Ok(named.iter().any(|(name, value)| name == "player_id" && value == principal.subject))
        }
        Who::PlayerOr(roles) => Ok(roles.contains(&role)),
    }
}
