//! `GET /v1/players/{player_id}`

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use laurel_events::PlayerId;
use laurel_players::wallet_of;
use serde::Serialize;
use utoipa::ToSchema;

use super::player;
use crate::{ApiState, Principal, Problem, extract::Path};

#[derive(Serialize, ToSchema)]
pub(crate) struct Wallet {
    /// The address.
    address: String,
    /// When it was linked.
    linked_at: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Player)]
pub(crate) struct Answer {
    /// The game server's id.
    player_id: String,
    /// Laurel's id.
    #[schema(value_type = uuid::Uuid)]
    id: PlayerId,
    /// When the player was first heard of.
    created_at: DateTime<Utc>,
    /// The wallets by chain id.
    #[schema(value_type = BTreeMap<String, Wallet>)]
    wallets: BTreeMap<u64, Wallet>,
}

/// A player and their wallets
#[utoipa::path(
    get, path = "/players/{player_id}", tag = "players", operation_id = "get_player",
    params(("player_id" = String, Path, description = "The game server's id of the player")),
    responses((status = 200, body = Answer), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path(player_id): Path<String>,
) -> Result<Json<Answer>, Problem> {
    let mut conn = state.read_pool.acquire().await?;
    let player = player(&mut conn, &principal, &player_id).await?;
    let mut wallets = BTreeMap::new();
    for chain_id in state.nodes.keys() {
        if let Some(wallet) = wallet_of(&mut conn, *chain_id, player.id).await? {
            let address = wallet.address.to_checksum(None);
            wallets.insert(*chain_id, Wallet { address, linked_at: wallet.linked_at });
        }
    }
    Ok(Json(Answer { player_id, id: player.id, created_at: player.created_at, wallets }))
}
