//! `POST /v1/dead-letters/{letter_id}/redrive`

use axum::{extract::State, http::StatusCode};
use laurel_bus::{find_letter, redrive_letter};
use laurel_events::Subject;
use laurel_ledger::orgs_of_subjects;

use super::out::LetterOut;
use crate::{
    ApiState, Principal, Problem,
    extract::Path,
    idempotency::{Idempotency, Once, Reply},
    staff_log::Change,
};

/// Have a dead letter tried again
///
/// Its stage does it, with all its attempts; the letters behind it follow when it is handled.
#[utoipa::path(
    post, path = "/dead-letters/{letter_id}/redrive", tag = "operations", operation_id = "redrive_dead_letter",
    params(
        ("letter_id" = i64, Path, description = "The letter's number"),
        ("idempotency-key" = Option<String>, Header, description = "The same for the same request sent again"),
    ),
    responses((status = 202, body = LetterOut), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path(id): Path<i64>,
    idempotency: Option<Idempotency>,
) -> Result<Reply, Problem> {
    let now = state.now();
    let mut once = match Once::begin(&state, now, &principal, idempotency.as_ref()).await? {
        Ok(once) => once,
        Err(answered) => return Ok(answered),
    };
    let gone = || Problem::not_found("dead letter");
    let before = LetterOut::from(find_letter(&mut once.tx, id).await?.ok_or_else(gone)?);
    redrive_letter(&mut once.tx, now, id).await?;
    let letter = find_letter(&mut once.tx, id).await?.ok_or_else(gone)?;
    let subject = Subject::from_text(letter.subject.clone());
    let whose = orgs_of_subjects(&mut once.tx, std::slice::from_ref(&subject)).await?;
    let (kind, letter) = (letter.kind.parse().ok(), LetterOut::from(letter));
    let change = Change::of("dead-letter", id).of_org(whose.get(&subject).copied());
    let change = change.before(&before)?.after(&letter)?;
    let reply = Reply::json(StatusCode::ACCEPTED, None, &letter)?;
    let reply = once.commit("redrive", reply, Some(change)).await?;
    state.wakes.committed(kind).await;
    Ok(reply)
}
