//! `GET /v1/dead-letters/{letter_id}`

use axum::{Json, extract::State};
use laurel_bus::find_letter;
use laurel_ledger::read_one;

use super::out::LetterOut;
use crate::{ApiState, Problem, extract::Path};

/// A dead letter with its event
#[utoipa::path(
    get, path = "/dead-letters/{letter_id}", tag = "operations", operation_id = "get_dead_letter",
    params(("letter_id" = i64, Path, description = "The letter's number")),
    responses((status = 200, body = LetterOut), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    Path(id): Path<i64>,
) -> Result<Json<LetterOut>, Problem> {
    let mut conn = state.read_pool.acquire().await?;
    let letter = find_letter(&mut conn, id).await?.ok_or_else(|| Problem::not_found("dead letter"))?;
    let event = read_one(&mut conn, letter.event).await?.map(|envelope| envelope.event);
    let mut out = LetterOut::from(letter);
    out.event =
        event.map(serde_json::to_value).transpose().map_err(|error| Problem::internal(&error.to_string()))?;
    Ok(Json(out))
}
