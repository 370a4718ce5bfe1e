//! Errors as RFC 9457 has them, each with a stable code.

use axum::{
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use laurel_bus::{RedriveError, StageError};
use laurel_campaign::{CampaignError, DefinitionError};
use laurel_chain::ChainError;
use laurel_ledger::LedgerError;
use laurel_players::{LinkError, PlayerError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{AuthError, pointer::pointer_to};

/// How callers say who they are (RFC 6750, section 3).
const SCHEME: HeaderValue = HeaderValue::from_static("Bearer");

/// In how many seconds whoever found something away tries again: a database or a node that is started anew takes longer, and one that
/// was only busy does not.
const TRY_AGAIN: HeaderValue = HeaderValue::from_static("1");

/// What went wrong, for people and for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({
    "type": "about:blank", "status": 422, "title": "Unprocessable Entity", "code": "invalid_body",
    "detail": "reward.amount: a reward's amounts are at least 1 base unit",
    "errors": [{ "detail": "reward.amount: a reward's amounts are at least 1 base unit", "pointer": "#/reward/amount" }],
}))]
pub struct Problem {
    /// `about:blank`: the code tells more than a link would.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The HTTP status.
    status: u16,
    /// What the status is called.
    title: &'static str,
    /// A stable code for programs.
    code: &'static str,
    /// What was wrong with this request, and what to do.
    detail: String,
    /// Where it was wrong; absent where no part of the request is to blame.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
}

/// A part of a request that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Fault {
    /// What is wrong with it, and what to do.
    detail: String,
    /// Where it stands in the body: a JSON pointer (RFC 6901) as a URI fragment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "#/reward/amount")]
    pointer: Option<String>,
    /// The parameter of the path, of the query or of the head that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "limit")]
    parameter: Option<String>,
}

impl Problem {
    /// A problem of `status`.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or("Error"),
            code,
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    /// The same, told of what stands in the body at `pointer`.
    pub(crate) fn at(self, pointer: impl Into<String>) -> Self {
        let fault = Fault { detail: self.detail.clone(), pointer: Some(pointer.into()), parameter: None };
        Self { errors: vec![fault], ..self }
    }

    /// The same, told of a parameter.
    pub(crate) fn of_parameter(self, name: &str) -> Self {
        let fault = Fault { detail: self.detail.clone(), pointer: None, parameter: Some(name.to_owned()) };
        Self { errors: vec![fault], ..self }
    }

    /// The same where what was checked stands in the body under the field `outer`.
    pub(crate) fn under(mut self, outer: &str) -> Self {
        for pointer in self.errors.iter_mut().filter_map(|fault| fault.pointer.as_mut()) {
            *pointer = pointer.replacen("#/", &format!("#/{outer}/"), 1);
        }
        self
    }

    /// 400.
    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 401.
    pub fn unauthorized(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, detail)
    }

    /// Whether it is a 401.
    pub(crate) fn is_unauthorized(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED
    }

    /// 422.
    pub fn unprocessable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// 404. Also for what belongs to another organisation: whether it exists is none of the caller's business.
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}"))
    }

    /// 409.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 500; what happened is for the log only.
    pub fn internal(what: &str) -> Self {
        tracing::error!(error = what, "a request failed");
        let detail = "the request failed on our side; quote its x-request-id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// 503 for whoever comes while too much is asked.
    pub(crate) fn overloaded() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "too much is asked at the moment, and nothing was changed: try again in a moment",
        )
    }

    fn unavailable(error: &dyn std::error::Error) -> Self {
        tracing::warn!(error = %Chain(error), "a request found something unavailable");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "try again in a moment; nothing was changed",
        )
    }
}

/// An error and its sources, one after the other.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match status {
            StatusCode::UNAUTHORIZED => drop(headers.insert(WWW_AUTHENTICATE, SCHEME)),
            StatusCode::SERVICE_UNAVAILABLE => drop(headers.insert(RETRY_AFTER, TRY_AGAIN)),
            _ => {}
        }
        response
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        if error.is_infrastructure() {
            Self::unavailable(&error)
        } else {
            Self::internal(&Chain(&error).to_string())
        }
    }
}

impl From<ChainError> for Problem {
    fn from(error: ChainError) -> Self {
        Self::unavailable(&error)
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        LedgerError::from(error).into()
    }
}

impl From<CampaignError> for Problem {
    fn from(error: CampaignError) -> Self {
        let detail = error.to_string();
        match error {
            CampaignError::Definition(error) => {
                Self::unprocessable("invalid_campaign", detail).at(pointer_to(error.field()))
            }
            CampaignError::NoVault(_) => Self::unprocessable("unknown_chain", detail).at("#/chain_id"),
            CampaignError::Unknown(_) => Self::not_found("campaign"),
            CampaignError::State(_) | CampaignError::Ended => Self::conflict("wrong_state", detail),
            CampaignError::Changed { .. } => {
                Self::new(StatusCode::PRECONDITION_FAILED, "version_changed", detail).of_parameter("if-match")
            }
            CampaignError::StateAlert(_) => Self::conflict("lasting_state", detail),
            CampaignError::Fixed(field) => Self::conflict("fixed_field", detail).at(pointer_to(field)),
            CampaignError::Over(_) => Self::unprocessable("campaign_over", detail),
            CampaignError::NotToCome => Self::unprocessable("not_to_come", detail),
            CampaignError::Unfunded => Self::conflict("unfunded", detail),
            CampaignError::Funded => Self::conflict("funded", detail),
            CampaignError::CapNotRaised { .. } => Self::conflict("cap_not_raised", detail).at("#/cap"),
            CampaignError::CapRange => Self::unprocessable("invalid_cap", detail).at("#/cap"),
            CampaignError::Ledger(error) => error.into(),
            CampaignError::Timers(StageError::Infrastructure(error)) => Self::unavailable(&*error),
            CampaignError::Timers(error) => Self::internal(&Chain(&error).to_string()),
        }
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Ledger(error) => error.into(),
            AuthError::Busy => Self::overloaded(),
            AuthError::Password => Self::unprocessable("weak_password", error.to_string()).at("#/new"),
            error => Self::internal(&Chain(&error).to_string()),
        }
    }
}

impl From<DefinitionError> for Problem {
    fn from(error: DefinitionError) -> Self {
        CampaignError::from(error).into()
    }
}

impl From<RedriveError> for Problem {
    fn from(error: RedriveError) -> Self {
        match error {
            RedriveError::Unknown(_) => Self::not_found("dead letter"),
            RedriveError::WrongState { .. } => Self::conflict("wrong_state", error.to_string()),
            RedriveError::Ledger(error) => error.into(),
        }
    }
}

impl From<PlayerError> for Problem {
    fn from(error: PlayerError) -> Self {
        match error {
            PlayerError::BadId => {
                Self::unprocessable("invalid_player_id", error.to_string()).of_parameter("player_id")
            }
            PlayerError::Ledger(error) => error.into(),
        }
    }
}

impl From<LinkError> for Problem {
    fn from(error: LinkError) -> Self {
        let detail = error.to_string();
        match error {
            LinkError::UnknownChallenge => Self::unprocessable("unknown_challenge", detail).at("#/message"),
            LinkError::StaleChallenge => Self::conflict("stale_challenge", detail).at("#/message"),
            LinkError::Reserved => Self::unprocessable("reserved_address", detail).at("#/message"),
            LinkError::WrongSignature { .. } => {
                Self::unprocessable("wrong_signature", detail).at("#/signature")
            }
            LinkError::Chain(error) => Self::unavailable(&error),
            LinkError::Ledger(error) => error.into(),
        }
    }
}
