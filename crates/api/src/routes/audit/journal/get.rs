//! `GET /v1/audit/journal/{partition}/{offset}/{index}`

use axum::{Json, extract::State};
use laurel_events::{EventId, Partition};
use laurel_views::find_event;

use super::list::EventOut;
use crate::{ApiState, Principal, Problem, extract::Path};

/// One event, by its id
///
/// As grants' timelines, causes and records of the audit log name it.
#[utoipa::path(
    get, path = "/audit/journal/{partition}/{offset}/{index}", tag = "audit", operation_id = "get_event",
    params(
        ("partition" = u8, Path, description = "The partition, 0 to 15"),
        ("offset" = i64, Path, description = "The row's offset"),
        ("index" = i32, Path, description = "The event's index in the row"),
    ),
    responses((status = 200, body = EventOut), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path((partition, offset, index)): Path<(i16, i64, i32)>,
) -> Result<Json<EventOut>, Problem> {
    let unknown = || Problem::not_found("event");
    let partition = Partition::new(partition).ok_or_else(unknown)?;
    let mut conn = state.read_pool.acquire().await?;
    let found = find_event(&mut conn, principal.org, EventId { partition, offset, index }).await?;
    Ok(Json(found.ok_or_else(unknown)?.into()))
}
