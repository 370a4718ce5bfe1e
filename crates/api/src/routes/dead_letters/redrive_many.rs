//! `POST /v1/dead-letters/redrive`

use axum::{extract::State, http::StatusCode};
use laurel_bus::redrive_letters;
use laurel_events::EventKind;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    ApiState, Principal, Problem,
    extract::Query,
    idempotency::{Idempotency, Once, Reply},
    staff_log::Change,
};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Only those of this stage; of all stages without.
    #[serde(default)]
    stage: Option<String>,
}

/// What was redriven.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Redriven {
    /// The letters, oldest first; at most 1,000 at once.
    ids: Vec<i64>,
}

/// Have all dead letters tried again
///
/// Their stages do it, with all their attempts; the letters behind them follow. At most 1,000 at once: ask again until none is
/// left.
#[utoipa::path(
    post, path = "/dead-letters/redrive", tag = "operations", operation_id = "redrive_dead_letters",
    params(
        Which,
        ("idempotency-key" = Option<String>, Header, description = "The same for the same request sent again"),
    ),
    responses((status = 202, body = Redriven), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Query(which): Query<Which>,
    idempotency: Option<Idempotency>,
) -> Result<Reply, Problem> {
    let now = state.now();
    let mut once = match Once::begin(&state, now, &principal, idempotency.as_ref()).await? {
        Ok(once) => once,
        Err(answered) => return Ok(answered),
    };
    let redriven = redrive_letters(&mut once.tx, now, which.stage.as_deref()).await?;
    let kinds: Vec<EventKind> = redriven.iter().filter_map(|(_, kind)| kind.parse().ok()).collect();
    let ids = redriven.into_iter().map(|(id, _)| id).collect();
    let redriven = Redriven { ids };
    let change = Change::of("stage", which.stage.as_deref().unwrap_or("all")).after(&redriven)?;
    let reply = Reply::json(StatusCode::ACCEPTED, None, &redriven)?;
    let reply = once.commit("redrive", reply, Some(change)).await?;
    state.wakes.committed(kinds).await;
    Ok(reply)
}
