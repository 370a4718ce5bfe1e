//! `DELETE /v1/players/{player_id}`

use axum::{extract::State, http::StatusCode};
use laurel_campaign::unlist_player;
use laurel_events::{EventKind, PlayerErased};
use laurel_ledger::{append, commit, forget_answers};
use laurel_players::erase_player;

use super::player;
use crate::{
    ApiState, Principal, Problem,
    auth::forget_sessions_of_player,
    export::forget_player,
    extract::Path,
    request_id::RequestId,
    staff_log::{Change, keep_change},
};

/// Erase a player
///
/// For good: what they are called, their wallets, sign-ins and lists. Their grants and all sums stay, as somebody's whom nobody knows. A
/// grant that has its place in a campaign's queue is still paid; one that has none yet runs out and gives its budget back. What the chain has stays
/// there. Should the game server tell of the same player again, that is a new one: refuse them there first.
#[utoipa::path(
    delete, path = "/players/{player_id}", tag = "players", operation_id = "erase_player",
    params(("player_id" = String, Path, description = "The game server's id of the player")),
    responses((status = 204, description = "Nobody knows them any more"), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    request_id: RequestId,
    Path(player_id): Path<String>,
) -> Result<StatusCode, Problem> {
    let context = state.context(&request_id);
    let mut tx = state.pool.begin().await?;
    let gone = || Problem::not_found("player");
    let known = player(&mut tx, &principal, &player_id).await?;
    unlist_player(&mut tx, known.id).await?;
    let id = erase_player(&mut tx, &context, principal.org, &player_id).await?.ok_or_else(gone)?;
    forget_sessions_of_player(&mut tx, id).await?;
    forget_player(&mut tx, principal.org, &player_id).await?;
    forget_answers(&mut tx, principal.org, &player_id, id).await?;
    append(&mut tx, &context, &[PlayerErased { player: id, org: principal.org }.into()]).await?;
    keep_change(&mut tx, &state, context.now, &principal, Change::of("player", id)).await?;
    commit(tx, "player_erased").await?;
    state.wakes.committed([EventKind::PlayerErased]).await;
    Ok(StatusCode::NO_CONTENT)
}
