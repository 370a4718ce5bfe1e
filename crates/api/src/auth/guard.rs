//! Before every route: who is calling, how much they have asked for, and whether they may.

use std::collections::BTreeMap;

use axum::{
    body::{Body, HttpBody as _},
    extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State},
    http::{Method, request::Parts},
    middleware::Next,
    response::Response,
};

use super::{
    Principal, Role,
    matrix::{Right, Who, find_right},
    principal::Presented,
};
use crate::{
    ApiState, Class, Problem, class_of,
    limits::{Address, Bucket, Charge, asked, client_ip, expected_bytes, read_body, with_standing},
    parameters::asked_for,
    request_id::RequestId,
    staff_log::{Origin, keep_read},
};

/// Lets a request pass if the table has its route, the caller has not asked for too much, and is one of those who may call it. What
/// people who work here read of players is kept before they get it.
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
    let right = find_right(method.as_str(), path.as_str())
        .ok_or_else(|| Problem::internal("a route that the table of rights does not know"))?;
    let class = match (class_of(method.as_str(), path.as_str()), right.who) {
        (Some(class), _) => asked(class, &parts.headers),
        (None, Who::Everybody) => return Ok(next.run(Request::from_parts(parts, body)).await),
        (None, _) => return Err(Problem::internal("a route that nothing limits, and not for everybody")),
    };
    let trusted = &state.limits.trusted_proxies;
    let ip = client_ip(&parts.extensions, &parts.headers, trusted);
    let address = Address::from(ip);
    let RequestId(request_id) = RequestId::from_request_parts(&mut parts, &state).await?;
    let origin =
        Origin { action: right.operation, address: Some(ip).filter(|ip| !ip.is_unspecified()), request_id };
    let caller = match right.who {
        Who::Everybody => Ok(None),
        Who::Roles(_) | Who::PlayerOr(_) => Presented::by(&state, &parts).map(Some),
    };
    let bucket = match &caller {
        Ok(None) => Bucket::of_address(class, address),
        Ok(Some(presented)) => presented.bucket(class),
        Err(_) => Bucket::of_address(Class::Failures, address),
    };
    let charge = Charge::new(state.limiter(), state.now(), bucket);
    let failures = Bucket::of_address(Class::Failures, address);
    parts.extensions.insert(charge.clone());
    let asking = Asking { state, right, class, failures, origin, charge: charge.clone(), parts, body };
    Ok(with_standing(asking.answer(caller, next).await, &charge))
}

/// A request whose caller is not known yet.
struct Asking {
    state: ApiState,
    right: &'static Right,
    class: Class,
    /// Whoever comes with keys that are none is charged here.
    failures: Bucket,
    origin: Origin,
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
        if matches!(caller, Ok(Some(Presented::Key(_)))) {
            // Who tries keys has a new bucket with each: one that is looked at first is charged for none.
            self.charge.unless_empty(&self.failures).await?;
        }
        self.charge.caller().await?;
        let asked = asked_for(self.right.operation, self.parts.uri.query())?;
        let (mut turn, mut read) = (None, None);
        match caller? {
            None => {
                self.parts.extensions.insert(self.origin);
            }
            Some(presented) => {
                if self.class == Class::Outcomes
                    && let Some(refused) = self.state.intake().refused()
                {
                    return Ok(refused);
                }
                turn = Some(self.state.gates().enter(self.class).await?);
                let principal =
                    principal(&self.state, &self.charge, &self.failures, presented, self.origin).await?;
                let named = named(&mut self.parts, &self.state).await;
                if !may(self.right.who, &principal, named.as_ref()) {
                    return Err(principal.refused(self.right.who));
                }
                if self.right.is_personal && principal.is_staff() {
                    let mut asked = asked;
                    asked.extend(named.unwrap_or_default());
                    read = Some((principal.clone(), asked));
                }
                self.parts.extensions.insert(principal);
            }
        }
        let Self { state, class, parts, mut body, .. } = self;
        let mut room = None;
        if !body.is_end_stream() {
            // Whoever sends slowly keeps nobody else from the database.
            turn = None;
            room = Some(state.gates().make_room(class, expected_bytes(&body, class)?).await?);
            body = read_body(body, class, state.limits.body_timeout).await?.into();
        }
        let turn = match turn {
            Some(turn) => turn,
            None => state.gates().enter(class).await?,
        };
        let response = next.run(Request::from_parts(parts, body)).await;
        drop((turn, room));
        if let Some((principal, asked)) = read
            && response.status().is_success()
        {
            keep_read(&state, &principal, asked).await?;
        }
        Ok(response)
    }
}

/// Who comes with that. Whoever tries keys is charged for those that are none.
async fn principal(
    state: &ApiState,
    charge: &Charge,
    failures: &Bucket,
    presented: Presented,
    origin: Origin,
) -> Result<Principal, Problem> {
    if !matches!(presented, Presented::Key(_)) {
        return Principal::of(state, presented, origin).await;
    }
    // Others may have failed while this one waited for its turn.
    charge.unless_empty(failures).await?;
    match Principal::of(state, presented, origin).await {
        Err(problem) if problem.is_unauthorized() => {
            charge.bucket(failures).await?;
            Err(problem)
        }
        principal => principal,
    }
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
