//! The caller.

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, header::AUTHORIZATION, request::Parts},
};
use laurel_events::OrgId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    api_keys::{self, find_key_holder},
    matrix::Who,
    opaque::Opaque,
    sessions::{SignedInto, find_sessions},
};
use crate::{ApiState, Claims, Class, Problem, TokenKey, limits::Bucket, staff_log::Origin};

/// What a caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
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
        f.write_str(self.as_str())
    }
}

impl Role {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Player => "player",
            Self::Manager => "manager",
            Self::Auditor => "auditor",
            Self::Operator => "operator",
            Self::GameServer => "game-server",
        }
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
    /// The sign-in that they come of, if they come of one.
    pub session: Option<Uuid>,
    /// The games that they may report of, if not of all.
    pub games: Option<Vec<String>>,
    /// What they call for, and from where.
    pub origin: Origin,
}

/// What a request says of who is calling; nobody has asked the database yet.
#[derive(Debug)]
pub(super) enum Presented {
    /// Nothing, where nothing is asked for.
    Nothing,
    /// A token that we have signed.
    Token(Claims),
    /// What looks like an API key.
    Key(Opaque),
}

impl Presented {
    /// What the request carries.
    ///
    /// # Errors
    /// 401 if that is nothing, or a token that is not good.
    pub(super) fn by(state: &ApiState, parts: &Parts) -> Result<Self, Problem> {
        let AuthMode::Jwt(keys) = &state.auth else { return Ok(Self::Nothing) };
        let token = bearer(parts)?;
        if let Some(key) = Opaque::parse(api_keys::PREFIX, token) {
            return Ok(Self::Key(key));
        }
        let claims = state.checked().check(state.now(), keys, token);
        claims.map(Self::Token).ok_or_else(|| {
            unauthorized("the token is malformed, over, or signed by another key: get a new one")
        })
    }

    /// Whose bucket the request is charged to.
    pub(super) fn bucket(&self, class: Class) -> Bucket {
        match self {
            Self::Nothing => Bucket::of_subject(class, DEFAULT_ORG, None, LOCAL),
            Self::Token(claims) => Bucket::of_subject(class, &claims.org, Some(claims.role), &claims.sub),
            Self::Key(key) => Bucket::of_key(class, key.digest()),
        }
    }
}

/// Whose everything is, and who everybody is, where nobody signs in.
const DEFAULT_ORG: &str = "default";
const LOCAL: &str = "local";

impl Principal {
    /// Who comes with that.
    ///
    /// # Errors
    /// 401 if it is not good, or not any more.
    pub(super) async fn of(state: &ApiState, presented: Presented, origin: Origin) -> Result<Self, Problem> {
        match presented {
            Presented::Nothing => {
                Self::signed_in(state, None, DEFAULT_ORG.to_owned(), LOCAL.to_owned(), None, origin).await
            }
            Presented::Token(Claims { org, sub, role, sid, .. }) => {
                Self::signed_in(state, Some(role), org, sub, sid, origin).await
            }
            Presented::Key(key) => Self::with_key(state, &key, origin).await,
        }
    }

    async fn signed_in(
        state: &ApiState,
        role: Option<Role>,
        org_name: String,
        subject: String,
        session: Option<Uuid>,
        origin: Origin,
    ) -> Result<Self, Problem> {
        // Not where reads go: who writes does not wait for them, and
        // a sign-in that has ended has ended everywhere.
        let asked = SignedInto { org: org_name.clone(), session };
        let asking = state.clone();
        let found = state.sessions().ask(asked, move |asked| {
            let state = asking.clone();
            async move {
                let mut conn = state.pool.acquire().await?;
                Ok(find_sessions(&mut conn, state.now(), asked).await?)
            }
        });
        let found = found.await?;
        let (org, alive) = found.ok_or_else(|| match role {
            None => Problem::internal("there is no organisation `default`"),
            Some(_) => unauthorized("the token's organisation does not exist: get a token of one that does"),
        })?;
        if !alive {
            return Err(unauthorized("the sign-in that the token came of has ended: get a new one"));
        }
        Ok(Self { subject, org: OrgId(org), org_name, role, session, games: None, origin })
    }

    async fn with_key(state: &ApiState, key: &Opaque, origin: Origin) -> Result<Self, Problem> {
        let mut conn = state.pool.acquire().await?;
        let holder = find_key_holder(&mut conn, state.now(), key).await?;
        let holder = holder.ok_or_else(|| {
            unauthorized("the API key is unknown, over or revoked: get a new one of a manager")
        })?;
        Ok(Self {
            subject: holder.subject,
            org: OrgId(holder.org),
            org_name: holder.org_name,
            role: Some(Role::GameServer),
            session: None,
            games: holder.games,
            origin,
        })
    }

    /// Whether they work here: what they do is logged, and what they read of players. Whoever may do everything counts as such.
    pub(crate) const fn is_staff(&self) -> bool {
        !matches!(self.role, Some(Role::Player | Role::GameServer))
    }

    /// What they are, as it is kept: `none` where nobody signs in.
    pub(crate) const fn role_name(&self) -> &'static str {
        match self.role {
            Some(role) => role.as_str(),
            None => "none",
        }
    }

    /// Whether they may report of that game.
    pub(crate) fn may_report_of(&self, game: &str) -> bool {
        self.games.as_ref().is_none_or(|games| games.iter().any(|known| known == game))
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
    Problem::unauthorized("unauthorized", detail)
}

/// The token in the request's header.
fn bearer(parts: &Parts) -> Result<&str, Problem> {
    let value = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // The scheme's name is case-insensitive (RFC 9110, section 11.1).
    value
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(|| unauthorized("send an access token: authorization: Bearer …"))
}

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::internal("a request of nobody"))
    }
}
