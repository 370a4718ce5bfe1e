//! `PUT /v1/players/{player_id}`

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use laurel_events::{EventKind, PlayerId};
use laurel_ledger::commit;
use laurel_players::put_player;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{ApiState, Principal, Problem, extract::Path, request_id::RequestId};

#[derive(Serialize, ToSchema)]
#[schema(as = PlayerPut)]
pub(crate) struct Answer {
    /// The game server's id.
    player_id: String,
    /// Laurel's id, which is all that the journal holds.
    #[schema(value_type = uuid::Uuid)]
    id: PlayerId,
    /// When the player was first heard of.
    created_at: DateTime<Utc>,
}

/// Register a player
#[utoipa::path(
    put, path = "/players/{player_id}", tag = "players", operation_id = "put_player",
    params(("player_id" = String, Path, description = "The game server's id of the player")),
    responses((status = 200, body = Answer), (status = 201, body = Answer), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    request_id: RequestId,
    Path(player_id): Path<String>,
) -> Result<(StatusCode, Json<Answer>), Problem> {
    let mut rng = state.rng().await;
    let mut tx = state.pool.begin().await?;
    let context = state.context(&request_id);
    let (player, created) = put_player(&mut tx, &context, &mut rng, principal.org, &player_id).await?;
    commit(tx, "player").await?;
    state.wakes.committed(created.then_some(EventKind::PlayerRegistered)).await;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(Answer { player_id, id: player.id, created_at: player.created_at })))
}
