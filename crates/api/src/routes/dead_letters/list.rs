//! `GET /v1/dead-letters`

use axum::{Json, extract::State};
use laurel_bus::list_letters;
use serde::Deserialize;
use utoipa::IntoParams;

use super::out::{LetterOut, STATES, state_of};
use crate::{
    ApiState, Problem,
    extract::{Page, Paging, Query, known},
};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Where the page before ended, as its `next` said.
    #[serde(default)]
    cursor: Option<String>,
    /// How many items, 1 to 500; 50 without.
    #[serde(default)]
    limit: Option<u16>,
    /// Only those in this state; all that are not done without.
    #[serde(default)]
    state: Option<String>,
}

/// Events that stages could not handle
#[utoipa::path(
    get, path = "/dead-letters", tag = "operations", operation_id = "list_dead_letters", params(Filter),
    responses((status = 200, body = Page<LetterOut>), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    Query(query): Query<Filter>,
) -> Result<Json<Page<LetterOut>>, Problem> {
    let (after, limit) = Paging::parse::<i64>(query.cursor.as_deref(), query.limit)?;
    let wanted = known("state", query.state.as_deref(), &STATES)?.and_then(state_of);
    let mut conn = state.read_pool.acquire().await?;
    let letters = list_letters(&mut conn, wanted, after.unwrap_or_default(), limit).await?;
    let items: Vec<LetterOut> = letters.into_iter().map(LetterOut::from).collect();
    Ok(Json(Page::new(items, limit, |letter| letter.id.to_string())))
}
