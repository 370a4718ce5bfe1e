//! `POST /v1/auth/wallet`

use alloy_primitives::Bytes;
use axum::{Json, extract::State, response::IntoResponse};
use laurel_ledger::{commit, organisation_name};
use laurel_players::{
    LinkError, Proof, Purpose, find_challenge, hold_player, player_of_id, use_challenge, wallet_of,
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::NO_STORE;
use crate::{
    ApiState, Problem, Role,
    auth::{Owner, Tokens, open_session, tokens},
    extract::{Body, RequestBody},
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WalletSignIn)]
pub(crate) struct Request {
    /// The challenge's message, unchanged.
    message: String,
    /// The wallet's signature of it, in hexadecimal.
    #[schema(value_type = String, pattern = "^(0x)?([0-9a-fA-F]{2})*$")]
    signature: Bytes,
}

impl RequestBody for Request {}

/// Sign in with a wallet
///
/// For players, with the wallet that is linked.
#[utoipa::path(
    post, path = "/auth/wallet", tag = "sign-in", operation_id = "sign_in_with_wallet", security(()),
    request_body(content = Request, example = json!({ "message": "the challenge's message, unchanged", "signature": "0x" })), responses((status = 200, body = Tokens), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    Body(Request { message, signature }): Body<Request>,
) -> Result<impl IntoResponse, Problem> {
    let now = state.now();
    let proof = Proof { message, signature };
    let asked = find_challenge(&mut *state.pool.acquire().await?, now, Purpose::SignIn, &proof).await;
    let asked = asked.map_err(refused)?;
    let (id, chain_id) = (asked.player(), asked.chain_id());
    let node = state.nodes.get(&chain_id);
    let node = node.ok_or_else(|| {
        Problem::unprocessable("unknown_chain", "this chain does not pay here").at("#/message")
    })?;
    let wallet = asked.prove(&**node, proof).await.map_err(refused)?;
    let mut rng = state.rng().await;
    let mut tx = state.pool.begin().await?;
    if !hold_player(&mut tx, id).await? {
        return Err(refused(LinkError::UnknownChallenge));
    }
    use_challenge(&mut tx, now, &wallet).await.map_err(refused)?;
    let linked = wallet_of(&mut tx, chain_id, id).await?;
    if linked.is_none_or(|linked| linked.address != wallet.address()) {
        return Err(refused(LinkError::StaleChallenge));
    }
    let player = player_of_id(&mut tx, id).await?.ok_or_else(|| refused(LinkError::StaleChallenge))?;
    let org = organisation_name(&mut tx, player.org).await?;
    let opened = open_session(&mut tx, now, &mut rng, Owner::Player(id)).await?;
    let subject = player.external_id.ok_or_else(|| refused(LinkError::StaleChallenge))?;
    let tokens = tokens(&state, now, &opened, Role::Player, org, subject)?;
    commit(tx, "signed_in").await?;
    Ok(([NO_STORE], Json(tokens)))
}

/// The same for whatever does not fit: whether there is such a player with such a wallet is nobody else's business.
fn refused(error: LinkError) -> Problem {
    match error {
        LinkError::Chain(_) | LinkError::Ledger(_) => error.into(),
        LinkError::UnknownChallenge
        | LinkError::StaleChallenge
        | LinkError::WrongSignature { .. }
        | LinkError::Reserved => {
            let detail = "the message was not issued for this player's wallet, or is over or used, or the wallet did not \
                          sign it: ask for a new one and sign it unchanged";
            Problem::unauthorized("wrong_proof", detail)
        }
    }
}
