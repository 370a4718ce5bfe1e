//! The caller.

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, header::AUTHORIZATION, request::Parts},
};
use laurel_events::OrgId;
use laurel_ledger::find_organisation;
use serde::{Deserialize, Serialize};

use super::matrix::Who;
use crate::{ApiState, Claims, Problem, TokenKey};

/// What a caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Earns rewards.
    Player,
    /// Runs campaigns.
    Manager,
    /// Reads everything of its organisation.
    Auditor,
    /// Keeps the system going.
    Operator,
    /// Reports outcomes.
    GameServer,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Player => "player",
            Self::Manager => "manager",
            Self::Auditor => "auditor",
            Self::Operator => "operator",
            Self::GameServer => "game-server",
        })
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|_| {
            format!("{text:?} is no role; there are player, manager, auditor, operator and game-server")
        })
    }
}

/// How callers prove who they are.
#[derive(Clone, Debug)]
pub enum AuthMode {
    /// Not at all: everybody may do everything in the organisation `default`. Only on loopback.
    None,
    /// With a JWT signed by one of these keys; the first one signs new ones.
    Jwt(Vec<TokenKey>),
}

/// Who is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Their name within the organisation.
    pub subject: String,
    /// Their organisation.
    pub org: OrgId,
    /// What the organisation is called.
    pub org_name: String,
    /// What they are; `None` may do everything.
    pub role: Option<Role>,
}

impl Principal {
    /// Whose token the request carries.
    ///
    /// # Errors
    /// 401 without a good one.
    pub(super) async fn of(state: &ApiState, parts: &Parts) -> Result<Self, Problem> {
        let (org_name, subject, role) = match &state.auth {
            AuthMode::None => ("default".to_owned(), "local".to_owned(), None),
            AuthMode::Jwt(keys) => {
                let claims = claims(state, keys, parts)?;
                (claims.org, claims.sub, Some(claims.role))
            }
        };
        // Only now: whoever has no token costs no connection. And not where reads go: who writes does not wait for them.
        let found = find_organisation(&mut *state.pool.acquire().await?, &org_name).await?;
        let org = found.ok_or_else(|| match role {
            None => Problem::internal("there is no organisation `default`"),
            Some(_) => unauthorized("the token's organisation does not exist: get a token of one that does"),
        })?;
        Ok(Self { subject, org, org_name, role })
    }

    /// What a caller hears who may not do what `who` may.
    pub(super) fn refused(&self, who: Who) -> Problem {
        let wanted: Vec<String> = who.roles().map(|role| role.to_string()).collect();
        let wanted = wanted.join(" or ");
        let detail = match self.role {
            Some(Role::Player) if who.roles().any(|role| role == Role::Player) => {
                format!("this is another player: use a token of theirs, or of role {wanted}")
            }
            Some(role) => format!("the token's role is {role}: use a token of role {wanted}"),
            None => format!("use a token of role {wanted}"),
        };
        Problem::new(StatusCode::FORBIDDEN, "wrong_role", detail)
    }
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
}

/// What the request's token says, if it is good.
fn claims(state: &ApiState, keys: &[TokenKey], parts: &Parts) -> Result<Claims, Problem> {
    let value = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // The scheme's name is case-insensitive (RFC 9110, section 11.1).
    let token = value
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(|| unauthorized("send an access token: authorization: Bearer …"))?;
    let now = state.now();
    keys.iter()
        .find_map(|key| key.check(now, token).ok())
        .ok_or_else(|| unauthorized("the token is malformed, over, or signed by another key: get a new one"))
}

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::internal("a request of nobody"))
    }
}
