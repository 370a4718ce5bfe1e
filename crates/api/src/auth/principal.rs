//! The caller.

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{StatusCode, header::AUTHORIZATION, request::Parts},
};
use laurel_events::OrgId;
use laurel_ledger::find_organisation;
use serde::{Deserialize, Serialize};

use crate::{ApiState, Problem, TokenKey};

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
    /// What they are; `None` may do everything.
    pub role: Option<Role>,
}

impl Principal {
    /// Lets the caller pass if they have one of `roles`.
    ///
    /// # Errors
    /// 403 if they have not.
    pub fn require(&self, roles: &[Role]) -> Result<(), Problem> {
        match self.role {
            Some(role) if !roles.contains(&role) => {
                Err(Problem::new(StatusCode::FORBIDDEN, "wrong_role", "the token's role may not do this"))
            }
            _ => Ok(()),
        }
    }

    /// Lets a player pass only for themselves, and the other `roles` for everybody of their organisation.
    ///
    /// # Errors
    /// 403 for another player, or another role.
    pub fn require_self_or(&self, player: &str, roles: &[Role]) -> Result<(), Problem> {
        if self.role == Some(Role::Player) && self.subject == player {
            return Ok(());
        }
        self.require(roles)
    }
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
}

impl FromRequestParts<ApiState> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let mut conn = state.read_pool.acquire().await?;
        let keys = match AuthMode::from_ref(state) {
            AuthMode::None => {
                let org = find_organisation(&mut conn, "default").await?;
                let org = org.ok_or_else(|| Problem::internal("there is no organisation `default`"))?;
                return Ok(Self { subject: "local".to_owned(), org, role: None });
            }
            AuthMode::Jwt(keys) => keys,
        };
        let token = parts
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or_else(|| unauthorized("send an access token: authorization: Bearer …"))?;
        let now = state.now();
        let claims = keys
            .iter()
            .find_map(|key| key.check(now, token).ok())
            .ok_or_else(|| unauthorized("the token is malformed, over, or signed by another key"))?;
        let org = find_organisation(&mut conn, &claims.org).await?;
        let org = org.ok_or_else(|| unauthorized("the token's organisation does not exist"))?;
        Ok(Self { subject: claims.sub, org, role: Some(claims.role) })
    }
}
