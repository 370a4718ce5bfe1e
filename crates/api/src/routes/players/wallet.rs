//! `PUT /v1/players/{player_id}/wallet`

use alloy_primitives::Bytes;
use axum::{Json, extract::State};
use laurel_events::EventKind;
use laurel_ledger::commit;
use laurel_players::{Proof, link_wallet, prove_wallet, wallet_of};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::player;
use crate::{
    ApiState, Principal, Problem,
    auth::end_sessions_of_player,
    extract::{Body, Path, RequestBody},
    request_id::RequestId,
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WalletProof)]
pub(crate) struct Request {
    /// The challenge's message, unchanged.
    message: String,
    /// The wallet's signature of it, in hexadecimal.
    #[schema(value_type = String, pattern = "^(0x)?([0-9a-fA-F]{2})*$")]
    signature: Bytes,
}

impl RequestBody for Request {}

#[derive(Serialize, ToSchema)]
#[schema(as = WalletLinked)]
pub(crate) struct Answer {
    /// The chain.
    chain_id: u64,
    /// The wallet that grants are paid to from now on.
    address: String,
}

/// Link a wallet
///
/// Grants that were made before, and waited for a wallet, are paid to it as well. Where it takes the place of another one, the
/// player's sign-ins end.
#[utoipa::path(
    put, path = "/players/{player_id}/wallet", tag = "players", operation_id = "put_wallet",
    params(("player_id" = String, Path, description = "The game server's id of the player")), request_body(content = Request, example = json!({ "message": "the challenge's message, unchanged", "signature": "0x" })),
    responses((status = 200, body = Answer), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    request_id: RequestId,
    Path(player_id): Path<String>,
    Body(request): Body<Request>,
) -> Result<Json<Answer>, Problem> {
    let context = state.context(&request_id);
    let mut conn = state.pool.acquire().await?;
    let player = player(&mut conn, &principal, &player_id).await?;
    let proof = Proof { message: request.message, signature: request.signature };
    let chain = proof.message.lines().find_map(|line| line.strip_prefix("Chain ID: "));
    let node = chain.and_then(|id| state.nodes.get(&id.parse().ok()?));
    let node = node.ok_or_else(|| {
        Problem::unprocessable("unknown_chain", "the message names no chain that pays here").at("#/message")
    })?;
    let wallet = prove_wallet(&mut conn, &**node, context.now, player.id, proof).await?;
    drop(conn);
    let mut tx = state.pool.begin().await?;
    let before = wallet_of(&mut tx, wallet.chain_id(), player.id).await?;
    let linked = link_wallet(&mut tx, &context, player.id, &wallet).await?;
    if before.is_some_and(|before| before.address != linked.wallet) {
        end_sessions_of_player(&mut tx, context.now, player.id).await?;
    }
    commit(tx, "wallet").await?;
    state.wakes.committed([EventKind::WalletLinked]).await;
    Ok(Json(Answer { chain_id: linked.chain_id, address: linked.wallet.to_checksum(None) }))
}
