//! What a player's wallet has to sign: a message as EIP-4361 defines it.

use alloy::primitives::{Address, hex};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use laurel_events::PlayerId;
use laurel_ledger::LedgerError;
use rand::RngCore;
use sqlx::PgConnection;

/// How long a challenge can be answered: time enough to find the wallet, not to be phished at leisure.
pub const CHALLENGE_LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// What a challenge is about.
#[derive(Clone, Copy, Debug)]
pub struct ChallengeRequest<'a> {
    /// Who wants to link.
    pub player: PlayerId,
    /// The wallet.
    pub address: Address,
    /// The chain.
    pub chain_id: u64,
    /// The authority (host and port) that asks.
    pub domain: &'a str,
    /// The address that asks, as a URI.
    pub uri: &'a str,
}

/// A message to be signed, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The message.
    pub message: String,
    /// Its nonce.
    pub nonce: String,
    /// Until when it is accepted.
    pub expires_at: DateTime<Utc>,
}

/// Issues a challenge and keeps it.
///
/// # Errors
/// If the database does not answer.
pub async fn issue_challenge(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    rng: &mut (dyn RngCore + Send),
    request: ChallengeRequest<'_>,
) -> Result<Challenge, LedgerError> {
    let mut random = [0; 16];
    rng.fill_bytes(&mut random);
    let nonce = hex::encode(random);
    let expires_at = now + CHALLENGE_LIFETIME;
    let message = message(&request, &nonce, now, expires_at);
    // Whoever comes for a new challenge sweeps out the old ones, of everybody.
    sqlx::query!("DELETE FROM wallet_challenges WHERE expires_at < $1", now).execute(&mut *conn).await?;
    sqlx::query!(
        r#"
        INSERT INTO wallet_challenges (nonce, player, chain_id, message, expires_at) VALUES ($1, $2, $3, $4, $5)
        "#,
        nonce,
        request.player.uuid(),
        request.chain_id.cast_signed(),
        message,
        expires_at,
    )
    .execute(conn)
    .await?;
    Ok(Challenge { message, nonce, expires_at })
}

/// The message of EIP-4361, in the order that its ABNF demands.
fn message(
    request: &ChallengeRequest<'_>,
    nonce: &str,
    issued_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> String {
    let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Millis, true);
    format!(
        "{domain} wants you to sign in with your Ethereum account:\n{address}\n\n\
         Rewards are to be paid to this wallet.\n\n\
         URI: {uri}\nVersion: 1\nChain ID: {chain_id}\nNonce: {nonce}\nIssued At: {issued}\n\
         Expiration Time: {expires}\nRequest ID: {player}",
        domain = request.domain,
        address = request.address.to_checksum(None),
        uri = request.uri,
        chain_id = request.chain_id,
        issued = time(issued_at),
        expires = time(expires_at),
        player = request.player,
    )
}
