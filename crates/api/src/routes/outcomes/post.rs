//! `POST /v1/outcomes`

use std::collections::HashMap;

use axum::{Json, extract::State, http::StatusCode};
use laurel_events::{EventKind, GameOutcomeRecorded, NewEvent, OutcomeKey, PlayerId};
use laurel_ledger::{
    Context, LedgerError, Place, RecordedOutcome, append, commit, find_outcomes, insert_outcomes,
};
use laurel_players::find_players;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::validate::{Checked, OutcomeIn, Rejected, advice, check, field_of};
use crate::{
    ApiState, Principal, Problem,
    extract::{Body, RequestBody},
    limits::Charge,
    pointer::pointer_to,
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
    outcome_id: Option<String>,
    /// What became of it.
    status: Status,
    /// Why it was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// What to do about a conflict or a rejection.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
    /// What was wrong in the request: a JSON pointer (RFC 6901) as a URI fragment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "#/outcomes/0/score")]
    pointer: Option<String>,
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
    results: Vec<ItemResult>,
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
    let checked: Vec<Result<Checked, Rejected>> =
        request.outcomes.iter().map(|raw| check(context.now, raw)).collect();
    for _ in 0..ROUNDS_MAX {
        if let Some(answer) = record(&state, &principal, &context, &checked).await? {
            return Ok((StatusCode::ACCEPTED, Json(answer)));
        }
    }
    Err(Problem::conflict("concurrent_duplicates", "others record the same outcomes: send them again"))
}

/// Records what is new, in one transaction; `None` if somebody else recorded one of them in between.
async fn record(
    state: &ApiState,
    principal: &Principal,
    context: &Context,
    checked: &[Result<Checked, Rejected>],
) -> Result<Option<Answer>, Problem> {
    let mut tx = state.pool.begin().await?;
    let good = || checked.iter().flatten();
    let key =
        |item: &Checked| OutcomeKey::derive(principal.org, &principal.subject, &item.outcome.outcome_id);
    let keys: Vec<OutcomeKey> = good().map(key).collect();
    let mut known = find_outcomes(&mut tx, &keys).await?;
    let names: Vec<String> = good().map(|item| item.outcome.player_id.clone()).collect();
    let players = find_players(&mut tx, principal.org, &names).await?;
    let mut answer = Answer::default();
    let mut fresh: Vec<(OutcomeKey, &Checked, PlayerId)> = Vec::new();
    for (index, item) in checked.iter().enumerate() {
        let mut at = None;
        let (outcome_id, status, code) = match item {
            Err(rejected) => {
                at = Some(rejected.pointer.clone());
                (rejected.outcome_id.clone(), Status::Rejected, Some(rejected.code))
            }
            Ok(item) => {
                let key = key(item);
                let player = players.get(&item.outcome.player_id);
                let (status, code) = if principal.may_report_of(&item.outcome.game) {
                    judge(&known, key, item, player.copied())
                } else {
                    (Status::Rejected, Some("game_not_allowed"))
                };
                if let (Status::Accepted, Some(player)) = (status, player) {
                    // The next copy in the same request is a duplicate of this one.
                    known.insert(key, item.digest);
                    fresh.push((key, item, *player));
                }
                (Some(item.outcome.outcome_id.clone()), status, code)
            }
        };
        answer.count(status);
        let detail = match status {
            Status::Conflict => Some(advice("conflict")),
            _ => code.map(advice),
        };
        let pointer = at.or_else(|| code.map(|code| pointer_to(field_of(code))));
        let pointer = pointer.map(|at| at.replacen('#', &format!("#/outcomes/{index}"), 1));
        answer.results.push(ItemResult { outcome_id, status, code, detail, pointer });
    }
    if fresh.is_empty() {
        return Ok(Some(answer));
    }
    let events: Vec<NewEvent> = fresh.iter().map(|fresh| recorded(principal, fresh)).collect();
    let places = append(&mut tx, context, &events).await?;
    let mut rows: Vec<RecordedOutcome> = fresh
        .iter()
        .zip(places)
        .map(|((key, item, _), id)| RecordedOutcome { key: *key, digest: item.digest, place: Place(id) })
        .collect();
    // In one order everywhere, so that two requests with the same outcomes wait for each other and never in a circle.
    rows.sort_unstable_by_key(|row| row.key);
    match insert_outcomes(&mut tx, principal.org, &rows).await {
        Err(LedgerError::Database(sqlx::Error::Database(error))) if error.is_unique_violation() => {
            return Ok(None);
        }
        inserted => inserted?,
    }
    commit(tx, "outcomes").await?;
    state.wakes.committed([EventKind::GameOutcomeRecorded]).await;
    Ok(Some(answer))
}

fn judge(
    known: &HashMap<OutcomeKey, [u8; 32]>,
    key: OutcomeKey,
    item: &Checked,
    player: Option<PlayerId>,
) -> (Status, Option<&'static str>) {
    match known.get(&key) {
        Some(digest) if *digest == item.digest => (Status::Duplicate, None),
        Some(_) => (Status::Conflict, None),
        None if player.is_none() => (Status::Rejected, Some("unknown_player")),
        None => (Status::Accepted, None),
    }
}

fn recorded(principal: &Principal, (key, item, player): &(OutcomeKey, &Checked, PlayerId)) -> NewEvent {
    let outcome = &item.outcome;
    let event = GameOutcomeRecorded {
        org: principal.org,
        issuer: principal.subject.clone(),
        outcome: *key,
        outcome_id: outcome.outcome_id.clone(),
        game: outcome.game.clone(),
        player: *player,
        score: item.score,
        rank: item.rank,
        attributes: outcome.attributes.clone(),
    };
    NewEvent { event: event.into(), occurred_at: Some(outcome.occurred_at), cause: None }
}

impl Answer {
    fn count(&mut self, status: Status) {
        match status {
            Status::Accepted => self.accepted += 1,
            Status::Duplicate => self.duplicates += 1,
            Status::Conflict => self.conflicts += 1,
            Status::Rejected => self.rejected += 1,
        }
    }
}
