//! Before every route: who is calling, and whether they may.

use std::{collections::BTreeMap, net::SocketAddr};

use axum::{
    extract::{ConnectInfo, FromRequestParts, MatchedPath, RawPathParams, Request, State},
    http::{Method, request::Parts},
    middleware::Next,
    response::Response,
};

use super::{
    Principal, Role,
    matrix::{Who, find_right},
};
use crate::{
    ApiState, Problem,
    request_id::RequestId,
    staff_log::{Origin, keep_read},
};

/// Lets a request pass if the table has its route and the caller is one of those who may call it. What people who work here read of
/// players is kept before they get it.
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
    let right = find_right(method.as_str(), path.as_str())
        .ok_or_else(|| Problem::internal("a route that the table of rights does not know"))?;
    let RequestId(request_id) = RequestId::from_request_parts(&mut parts, &state).await?;
    let address = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    let origin = Origin { action: right.operation, address, request_id };
    if right.who == Who::Everybody {
        parts.extensions.insert(origin);
        return Ok(next.run(Request::from_parts(parts, body)).await);
    }
    let principal = Principal::of(&state, &parts, origin).await?;
    let named = named(&mut parts, &state).await;
    if !may(right.who, &principal, named.as_ref()) {
        return Err(principal.refused(right.who));
    }
    parts.extensions.insert(principal.clone());
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let response = next.run(Request::from_parts(parts, body)).await;
    if right.is_personal && principal.is_staff() && response.status().is_success() {
        keep_read(&state, &principal, &named.unwrap_or_default(), &query).await?;
    }
    Ok(response)
}

/// The parameters of the path; of one that cannot be decoded there are none.
async fn named(parts: &mut Parts, state: &ApiState) -> Option<BTreeMap<String, String>> {
    let named = RawPathParams::from_request_parts(parts, state).await.ok()?;
    Some(named.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn may(who: Who, principal: &Principal, named: Option<&BTreeMap<String, String>>) -> bool {
    let Some(role) = principal.role else { return true };
    match who {
        Who::Everybody => true,
        Who::PlayerOr(_) if role == Role::Player => {
            named.is_some_and(|named| named.get("player_id") == Some(&principal.subject))
        }
        Who::Roles(roles) | Who::PlayerOr(roles) => roles.contains(&role),
    }
}
