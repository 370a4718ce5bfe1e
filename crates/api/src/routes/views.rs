//! `GET /v1/views`

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use laurel_views::{ViewLag, view_lags};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{ApiState, Problem, extract::Page};

/// How far a view is behind what happened.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ViewOut {
    /// What it is called; `laurel replay` builds it anew by this name.
    #[schema(example = "campaign-stats")]
    view: &'static str,
    /// How many rows of the journal it has not read.
    rows_behind: u64,
    /// When the oldest of them was recorded; null where it is level.
    behind_since: Option<DateTime<Utc>>,
    /// For how long it has been behind, in milliseconds; 0 where it is level.
    lag_ms: u64,
}

/// How far the views are behind
///
/// Lists and statistics tell of what their views have read. Balances, states and what a moment of the past was like wait for nothing.
#[utoipa::path(
    get, path = "/views", tag = "operations", operation_id = "list_views",
    responses((status = 200, body = Page<ViewOut>), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(State(state): State<ApiState>) -> Result<Json<Page<ViewOut>>, Problem> {
    let lags = view_lags(&mut *state.read_pool.acquire().await?).await?;
    let now = state.now();
    let out = |ViewLag { view, rows, since }| {
        let lag = since.map_or(0, |since| (now - since).num_milliseconds());
        ViewOut {
            view: view.as_str(),
            rows_behind: rows,
            behind_since: since,
            lag_ms: u64::try_from(lag).unwrap_or(0),
        }
    };
    Ok(Json(Page { items: lags.into_iter().map(out).collect(), next: None }))
}
