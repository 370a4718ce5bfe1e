//! `POST /v1/players/{player_id}/wallet/challenge`

use alloy_primitives::Address;
use axum::{extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use laurel_players::{ChallengeRequest, Purpose, issue_challenge};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{player, refuse_recipient};
use crate::{
    ApiState, Principal, Problem,
    address::checksummed,
    extract::{Path, RequestBody},
    idempotency::{Keyed, Once, Reply},
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WalletChallengeWanted)]
pub(crate) struct Request {
    /// The wallet.
    #[serde(deserialize_with = "checksummed")]
    #[schema(value_type = String, format = "eip55", pattern = "^(0x)?[0-9a-fA-F]{40}$")]
    address: Address,
    /// The chain it is for.
    #[schema(maximum = 18446744073709551615u64)]
    chain_id: u64,
}

impl RequestBody for Request {}

#[derive(Serialize, ToSchema)]
#[schema(as = WalletChallenge)]
pub(crate) struct Answer {
    /// What the wallet has to sign (EIP-191), letter by letter.
    message: String,
    /// Until when the signature is accepted.
    expires_at: DateTime<Utc>,
}

/// Ask for a message to sign
///
/// The message is as EIP-4361 has it. Whoever signs it proves that the wallet is theirs.
#[utoipa::path(
    post, path = "/players/{player_id}/wallet/challenge", tag = "players", operation_id = "post_wallet_challenge",
    params(
        ("player_id" = String, Path, description = "The game server's id of the player"),
        ("idempotency-key" = String, Header, description = "The same for the same request sent again"),
    ),
    request_body(content = Request, example = json!({ "address": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "chain_id": 31337 })),
    responses((status = 201, body = Answer), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path(player_id): Path<String>,
    Keyed { request, idempotency }: Keyed<Request>,
) -> Result<Reply, Problem> {
    if !state.nodes.contains_key(&request.chain_id) {
        let detail = format!("chain {} is not one that pays here", request.chain_id);
        return Err(Problem::unprocessable("unknown_chain", detail).at("#/chain_id"));
    }
    let now = state.now();
    let mut rng = state.rng().await;
    let mut once = match Once::begin(&state, now, &principal, Some(&idempotency)).await? {
        Ok(once) => once,
        Err(answered) => return Ok(answered),
    };
    let player = player(&mut once.tx, &principal, &player_id).await?;
    refuse_recipient(&mut once.tx, request.chain_id, request.address).await?;
    let challenge = ChallengeRequest {
        purpose: Purpose::Link,
        player: player.id,
        address: request.address,
        chain_id: request.chain_id,
        domain: state.domain(),
        uri: &state.public_url,
    };
    let challenge = issue_challenge(&mut once.tx, now, &mut rng, challenge).await?;
    let answer = Answer { message: challenge.message, expires_at: challenge.expires_at };
    let reply = Reply::json(StatusCode::CREATED, None, &answer)?;
    once.commit("challenge", reply, None).await
}
