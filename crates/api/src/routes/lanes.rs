//! `GET /v1/lanes`

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use laurel_grant_saga::{Lane, LaneState, list_lanes};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{ApiState, Problem, extract::Page};

/// A signer on a vault.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct LaneOut {
    /// Its number.
    id: i32,
    /// The number of its vault.
    vault_id: i32,
    /// Its account.
    address: String,
    /// active, parked, halted or retired.
    state: &'static str,
    /// Why it does not send.
    reason: Option<String>,
    /// Where its key comes from, if it was added while everything ran.
    key_source: Option<String>,
    /// The nonce that its next batch gets.
    next_nonce: u64,
    /// The replica that has it leased.
    holder: Option<String>,
    /// Until when.
    lease_until: Option<DateTime<Utc>>,
    /// How many of its batches are not final yet.
    open_batches: u64,
}

impl From<Lane> for LaneOut {
    fn from(lane: Lane) -> Self {
        Self {
            id: lane.id.0,
            vault_id: lane.vault.0,
            address: lane.address.to_checksum(None),
            state: match lane.state {
                LaneState::Active => "active",
                LaneState::Parked => "parked",
                LaneState::Halted => "halted",
                LaneState::Retired => "retired",
            },
            reason: lane.reason,
            key_source: lane.key_source,
            next_nonce: lane.next_nonce,
            holder: lane.holder,
            lease_until: lane.lease_until,
            open_batches: lane.open_batches,
        }
    }
}

/// All lanes
#[utoipa::path(
    get, path = "/lanes", tag = "operations", operation_id = "list_lanes",
    responses((status = 200, body = Page<LaneOut>), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(State(state): State<ApiState>) -> Result<Json<Page<LaneOut>>, Problem> {
    let mut conn = state.read_pool.acquire().await?;
    // A handful of keys: one page holds them all.
    let items = list_lanes(&mut conn).await?.into_iter().map(LaneOut::from).collect();
    Ok(Json(Page { items, next: None }))
}
