//! `GET /v1/players/{player_id}/tokens`

use axum::{Json, extract::State};
use laurel_events::Amount;
use laurel_views::token_balances;
use serde::Serialize;
use utoipa::ToSchema;

use super::player;
use crate::{
    ApiState, Principal, Problem,
    extract::{Page, Path},
};

#[derive(Serialize, ToSchema)]
pub(crate) struct Balance {
    /// The chain.
    chain_id: u64,
    /// The token.
    token: String,
    /// Paid, in a final block; base units.
    #[schema(value_type = String)]
    completed: Amount,
    /// On its way; base units.
    #[schema(value_type = String)]
    pending: Amount,
}

/// What a player earned, per token
#[utoipa::path(
    get, path = "/players/{player_id}/tokens", tag = "players", operation_id = "list_player_tokens",
    params(("player_id" = String, Path, description = "The game server's id of the player")),
    responses((status = 200, body = Page<Balance>), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path(player_id): Path<String>,
) -> Result<Json<Page<Balance>>, Problem> {
    let mut conn = state.read_pool.acquire().await?;
    let player = player(&mut conn, &principal, &player_id).await?;
    let balances = token_balances(&mut conn, principal.org, player.id).await?;
    let items = balances
        .into_iter()
        .map(|((chain_id, token), balance)| Balance {
            chain_id,
            token: token.to_checksum(None),
            completed: balance.completed,
            pending: balance.pending,
        })
        .collect();
    Ok(Json(Page { items, next: None }))
}
