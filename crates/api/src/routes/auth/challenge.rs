//! `POST /v1/auth/wallet/challenge`

use std::net::Ipv6Addr;

use alloy_primitives::Address;
use axum::{Extension, Json, extract::State, http::StatusCode, response::IntoResponse};
use chrono::{DateTime, Utc};
use laurel_events::PlayerId;
use laurel_ledger::{commit, find_organisation};
use laurel_players::{ChallengeRequest, Purpose, empty_challenge, find_player, issue_challenge, wallet_of};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    ApiState, Problem,
    address::checksummed,
    extract::{Body, RequestBody},
    limits::{self, Bucket, Charge},
    staff_log::Origin,
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SignInChallengeWanted)]
pub(crate) struct Request {
    /// The organisation whose player you are.
    org: String,
    /// The game server's id of you.
    player_id: String,
    /// The chain that your wallet is linked on.
    #[schema(maximum = 18446744073709551615u64)]
    chain_id: u64,
    /// The wallet that is linked there.
    #[serde(deserialize_with = "checksummed")]
    #[schema(value_type = String, format = "eip55", pattern = "^(0x)?[0-9a-fA-F]{40}$")]
    address: Address,
}

impl RequestBody for Request {}

#[derive(Serialize, ToSchema)]
#[schema(as = SignInChallenge)]
pub(crate) struct Answer {
    /// What the wallet has to sign (EIP-191), letter by letter.
    message: String,
    /// Until when the signature is accepted.
    expires_at: DateTime<Utc>,
}

/// Ask for a message that signs you in
///
/// The message is as EIP-4361 has it. Whether there is such a player with such a wallet, the answer does not tell.
#[utoipa::path(
    post, path = "/auth/wallet/challenge", tag = "sign-in", operation_id = "post_sign_in_challenge", security(()),
    request_body(content = Request, example = json!({
        "org": "default", "player_id": "player-7", "chain_id": 31337,
        "address": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    })), responses((status = 200, body = Answer), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    Extension(origin): Extension<Origin>,
    charge: Charge,
    Body(request): Body<Request>,
) -> Result<impl IntoResponse, Problem> {
    // By where it comes from as well: anybody may ask, and nobody keeps a player out by that.
    let from = limits::Address::from(origin.address.unwrap_or(Ipv6Addr::UNSPECIFIED.into()));
    charge.bucket(&Bucket::of_login(&[&request.org, &request.player_id, &from.to_string()])).await?;
    let now = state.now();
    let mut rng = state.rng().await;
    let mut tx = state.pool.begin().await?;
    let player = owner(&mut tx, &request).await?;
    let challenge = ChallengeRequest {
        purpose: Purpose::SignIn,
        player: player.unwrap_or_else(|| Uuid::nil().into()),
        address: request.address,
        chain_id: request.chain_id,
        domain: state.domain(),
        uri: &state.public_url,
    };
    let challenge = match player {
        Some(_) => issue_challenge(&mut tx, now, &mut rng, challenge).await?,
        None => empty_challenge(now, &mut rng, &challenge),
    };
    commit(tx, "challenge").await?;
    Ok((StatusCode::OK, Json(Answer { message: challenge.message, expires_at: challenge.expires_at })))
}

/// The player who has that wallet.
async fn owner(conn: &mut PgConnection, request: &Request) -> Result<Option<PlayerId>, Problem> {
    // Nobody is called that, and PostgreSQL would not even look.
    if request.org.contains('\0') || request.player_id.contains('\0') {
        return Ok(None);
    }
    let Some(org) = find_organisation(conn, &request.org).await? else { return Ok(None) };
    let Some(player) = find_player(conn, org, &request.player_id).await? else { return Ok(None) };
    let wallet = wallet_of(conn, request.chain_id, player.id).await?;
    Ok(wallet.filter(|wallet| wallet.address == request.address).map(|_| player.id))
}
