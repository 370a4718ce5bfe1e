//! `POST /v1/outcomes`

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{
    record::{Reported, record},
    validate::{OutcomeIn, check},
};
use crate::{
    ApiState, Principal, Problem,
    extract::{Body, RequestBody},
    limits::Charge,
    request_id::RequestId,
    shape::Lists,
};

/// How many outcomes one request may report.
const OUTCOMES_MAX: usize = 1_000;

/// How often a request begins again because another one recorded the same outcome in between: each time at least one
/// more is known.
const ROUNDS_MAX: usize = 5;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Outcomes)]
pub(crate) struct Request {
    /// 1 to 1,000 outcomes.
    #[schema(value_type = Vec<OutcomeIn>, min_items = 1, max_items = 1000)]
    outcomes: Vec<Box<RawValue>>,
}

impl RequestBody for Request {
    const LISTS: Lists = Lists { fields: &["outcomes"], items_apart: true };
}

/// What became of one outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// It is recorded.
    Accepted,
    /// It was recorded before, with the same content.
    Duplicate,
    /// It was recorded before, with other content; nothing changed.
    Conflict,
    /// It is not acceptable; `code` says why.
    Rejected,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ItemResult {
    /// The game server's id; null where the item has none that can be read.
    pub(super) outcome_id: Option<String>,
    /// What became of it.
    pub(super) status: Status,
    /// Why it was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<&'static str>,
    /// What to do about a conflict or a rejection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<&'static str>,
    /// What was wrong in the request: a JSON pointer (RFC 6901) as a URI fragment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "#/outcomes/0/score")]
    pub(super) pointer: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[schema(as = OutcomesTaken, example = json!({
    "accepted": 1, "duplicates": 0, "conflicts": 0, "rejected": 0,
    "results": [{ "outcome_id": "match-1", "status": "accepted" }],
}))]
pub(crate) struct Answer {
    /// How many are recorded now.
    accepted: usize,
    /// How many were recorded before.
    duplicates: usize,
    /// How many were recorded before with other content.
    conflicts: usize,
    /// How many are not acceptable.
    rejected: usize,
    /// One for each outcome, in order.
    pub(super) results: Vec<ItemResult>,
}

/// Report outcomes
///
/// Each outcome is recorded exactly once, whatever is sent again. A bad one never sinks the rest.
#[utoipa::path(
    post, path = "/outcomes", tag = "outcomes", operation_id = "post_outcomes", request_body(content = Request, example = json!({ "outcomes": [{
        "outcome_id": "match-1", "game": "quiz", "player_id": "player-7", "score": 95, "rank": 1,
        "attributes": { "level": "hard" }, "occurred_at": "2026-01-01T00:00:00Z",
    }] })),
    responses((status = 202, body = Answer), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    charge: Charge,
    request_id: RequestId,
    Body(request): Body<Request>,
) -> Result<(StatusCode, Json<Answer>), Problem> {
    if request.outcomes.is_empty() || request.outcomes.len() > OUTCOMES_MAX {
        let detail = format!("send 1 to {OUTCOMES_MAX} outcomes at once, not {}", request.outcomes.len());
        return Err(Problem::unprocessable("outcomes_count", detail).at("#/outcomes"));
    }
    charge.rest(request.outcomes.len()).await?;
    let context = state.context(&request_id);
    let checked = request.outcomes.iter().map(|raw| check(context.now, raw)).collect();
    let reported = Arc::new(Reported { principal, context, checked });
    for _ in 0..ROUNDS_MAX {
        if let Some(answer) = record(&state, &reported).await? {
            return Ok((StatusCode::ACCEPTED, Json(answer)));
        }
    }
    Err(Problem::conflict("concurrent_duplicates", "others record the same outcomes: send them again"))
}

impl Answer {
    pub(super) fn count(&mut self, status: Status) {
        match status {
            Status::Accepted => self.accepted += 1,
            Status::Duplicate => self.duplicates += 1,
            Status::Conflict => self.conflicts += 1,
            Status::Rejected => self.rejected += 1,
        }
    }
}
