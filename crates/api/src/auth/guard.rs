//! Before every route: who is calling, how much they have asked for, and whether they may.

use axum::{
    body::{Body, HttpBody as _},
    extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State},
    http::{Method, request::Parts},
    middleware::Next,
    response::Response,
};

use super::{
    Principal, Role,
    matrix::{Who, who_may},
    principal::Presented,
};
use crate::{
    ApiState, Class, Problem, class_of,
    limits::{Address, Bucket, Charge, asked, client_address, read_body, with_standing},
};

/// Lets a request pass if the table has its route, the caller has not asked for too much, and is one of those who may call it.
///
/// # Errors
/// 401 without a good token, 403 with one of another role, 429 where a bucket is empty, 503 where too many wait.
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
    let class = class_of(method.as_str(), path.as_str()).map(|class| asked(class, &parts.headers));
    let Some(class) = class else { return Ok(next.run(Request::from_parts(parts, body)).await) };
    let address = client_address(&parts.extensions, &parts.headers, &state.limits.trusted_proxies);
    let caller = match who {
        Who::Everybody => Ok(None),
        Who::Roles(_) | Who::PlayerOr(_) => Presented::by(&state, &parts).map(Some),
    };
    let bucket = match &caller {
        Ok(None) => Bucket::of_address(class, address),
        Ok(Some(presented)) => presented.bucket(class),
        Err(_) => Bucket::of_address(Class::Failures, address),
    };
    let charge = Charge::new(state.limiter(), state.now(), bucket);
    parts.extensions.insert(charge.clone());
    let asking = Asking { state, who, class, address, charge: charge.clone(), parts, body };
    Ok(with_standing(asking.answer(caller, next).await, &charge))
}

/// A request whose caller is not known yet.
struct Asking {
    state: ApiState,
    who: Who,
    class: Class,
    address: Address,
    charge: Charge,
    parts: Parts,
    body: Body,
}

impl Asking {
    async fn answer(
        mut self,
        caller: Result<Option<Presented>, Problem>,
        next: Next,
    ) -> Result<Response, Problem> {
        self.charge.caller().await?;
        let mut turn = None;
        if let Some(presented) = caller? {
            if self.class == Class::Outcomes
                && let Some(refused) = self.state.intake().refused()
            {
                return Ok(refused);
            }
            turn = Some(self.state.gates().enter(self.class).await?);
            let principal = principal(&self.state, &self.charge, self.address, presented).await?;
            if !may(self.who, &principal, &mut self.parts, &self.state).await? {
                return Err(principal.refused(self.who));
            }
            self.parts.extensions.insert(principal);
        }
        let Self { state, class, parts, mut body, .. } = self;
        if !body.is_end_stream() {
            // Whoever sends slowly keeps nobody else from the database.
            turn = None;
            body = read_body(body, class, state.limits.body_timeout).await?.into();
        }
        let _turn = match turn {
            Some(turn) => turn,
            None => state.gates().enter(class).await?,
        };
        Ok(next.run(Request::from_parts(parts, body)).await)
    }
}

/// Who comes with that. Whoever tries keys is charged for those that are none.
async fn principal(
    state: &ApiState,
    charge: &Charge,
    address: Address,
    presented: Presented,
) -> Result<Principal, Problem> {
    if !matches!(presented, Presented::Key(_)) {
        return Principal::of(state, presented).await;
    }
    let failures = Bucket::of_address(Class::Failures, address);
    charge.unless_empty(&failures).await?;
    match Principal::of(state, presented).await {
        Err(problem) if problem.is_unauthorized() => {
            charge.bucket(&failures).await?;
            Err(problem)
        }
        principal => principal,
    }
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
