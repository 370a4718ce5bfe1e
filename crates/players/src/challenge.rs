//! What a player's wallet has to sign: a message as EIP-4361 defines it.

use alloy::primitives::{Address, hex};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use laurel_events::PlayerId;
use laurel_ledger::LedgerError;
use rand::RngCore;
use sqlx::PgConnection;

use crate::hold_player;

/// How long a challenge can be answered: time enough to find the wallet, not to be phished at leisure.
pub const CHALLENGE_LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// What a signature is for. One that was given for one thing is good for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The wallet is to be paid.
    Link,
    /// Whoever has the wallet that is paid signs in.
    SignIn,
}

impl Purpose {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::SignIn => "sign_in",
        }
    }

    /// What whoever signs reads.
    const fn statement(self) -> &'static str {
        match self {
            Self::Link => "Rewards are to be paid to this wallet.",
            Self::SignIn => "Sign in to see your rewards and to say which wallet they are paid to.",
        }
    }
}

/// What a challenge is about.
#[derive(Clone, Copy, Debug)]
pub struct ChallengeRequest<'a> {
    /// What the signature is for.
    pub purpose: Purpose,
    /// Whose challenge it is.
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

/// A challenge that is kept nowhere, so that nothing answers it: for whoever asks about somebody that there is not, and is
/// not to learn it.
pub fn empty_challenge(
    now: DateTime<Utc>,
    rng: &mut (dyn RngCore + Send),
    request: &ChallengeRequest<'_>,
) -> Challenge {
    let mut random = [0; 16];
    rng.fill_bytes(&mut random);
    let nonce = hex::encode(random);
    let expires_at = now + CHALLENGE_LIFETIME;
    let message = message(request, &nonce, now, expires_at);
    Challenge { message, nonce, expires_at }
}

/// Issues a challenge and keeps it, unless the player is erased: then nobody can answer it.
///
/// # Errors
/// If the database does not answer.
pub async fn issue_challenge(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    rng: &mut (dyn RngCore + Send),
    request: ChallengeRequest<'_>,
) -> Result<Challenge, LedgerError> {
    let challenge = empty_challenge(now, rng, &request);
    let Challenge { message, nonce, expires_at } = &challenge;
    if !hold_player(conn, request.player).await? {
        return Ok(challenge);
    }
    // Whoever comes for a new challenge sweeps out the old ones, of everybody.
    sqlx::query!("DELETE FROM wallet_challenges WHERE expires_at < $1", now).execute(&mut *conn).await?;
    sqlx::query!(
        r#"
        INSERT INTO wallet_challenges (nonce, player, chain_id, message, expires_at, purpose)
        VALUES ($1, $2, $3, $4, $5, $6)
        "#,
        nonce,
        request.player.uuid(),
        request.chain_id.cast_signed(),
        message,
        expires_at,
        request.purpose.name(),
    )
    .execute(conn)
    .await?;
    Ok(challenge)
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
         {statement}\n\n\
         URI: {uri}\nVersion: 1\nChain ID: {chain_id}\nNonce: {nonce}\nIssued At: {issued}\n\
         Expiration Time: {expires}{request}",
        domain = request.domain,
        address = request.address.to_checksum(None),
        statement = request.purpose.statement(),
        uri = request.uri,
        chain_id = request.chain_id,
        issued = time(issued_at),
        expires = time(expires_at),
        request = match request.purpose {
            Purpose::Link => format!("\nRequest ID: {}", request.player),
            // Whoever asks may be anybody, and is told nothing about the player.
            Purpose::SignIn => String::new(),
        },
    )
}
