//! Linking: a signed challenge becomes the wallet that grants are paid to.

use alloy::{
    primitives::{Address, B256, Bytes, Signature, eip191_hash_message, fixed_bytes},
    sol_types::SolCall,
};
use chrono::{DateTime, Utc};
use laurel_chain::{Call, CallError, ChainError, ChainNode, Erc1271};
use laurel_events::{PlayerId, WalletKind, WalletLinked};
use laurel_ledger::{Context, LedgerError, append, reserved_addresses};
use sqlx::PgConnection;

use crate::{Purpose, hold_player};

/// What EIP-1271 has a wallet answer to a good signature.
const MAGIC_VALUE: [u8; 4] = fixed_bytes!("1626ba7e").0;

/// How much gas a wallet contract may use to check a signature.
const CHECK_GAS: u64 = 500_000;

/// What a wallet sends back: the challenge's message and the signature of it.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The message, letter by letter as it was issued.
    pub message: String,
    /// The signature: 65 bytes of a key, or whatever the contract understands.
    pub signature: Bytes,
}

/// A wallet whose signature was checked.
#[derive(Clone, Debug)]
pub struct ProvenWallet {
    address: Address,
    chain_id: u64,
    kind: WalletKind,
    nonce: String,
    hash: B256,
    signature: Bytes,
}

/// Why a wallet is not linked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The message is none that was issued to this player.
    #[error(
        "the message is no challenge that was issued to this player: ask for a new one and sign it unchanged"
    )]
    UnknownChallenge,
    /// The challenge is too old, or was answered before.
    #[error("the challenge has expired or was used: ask for a new one")]
    StaleChallenge,
    /// The signature is not the wallet's.
    #[error("the signature is not that of {wallet} over this message")]
    WrongSignature {
        /// The wallet in the message.
        wallet: Address,
    },
    /// The wallet is one of our own addresses, or nobody's.
    #[error("this address is a vault, a token or a lane of Laurel and cannot be paid: send the player's")]
    Reserved,
    /// The chain could not be asked about a contract wallet.
    #[error("the chain could not be asked about the wallet")]
    Chain(#[from] ChainError),
    /// The database.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Checks a proof: the message is a challenge of `player` that still counts, and the wallet in it signed it.
///
/// # Errors
/// If it is not so, or the chain or the database does not answer.
pub async fn prove_wallet(
    conn: &mut PgConnection,
    node: &dyn ChainNode,
    now: DateTime<Utc>,
    player: PlayerId,
    proof: Proof,
) -> Result<ProvenWallet, LinkError> {
    let asked = find_challenge(conn, now, Purpose::Link, &proof).await?;
    if asked.player != player {
        return Err(LinkError::UnknownChallenge);
    }
    asked.prove(node, proof).await
}

/// A challenge that was answered and still counts.
#[derive(Clone, Debug)]
pub struct Asked {
    player: PlayerId,
    chain_id: u64,
    address: Address,
    nonce: String,
}

/// The challenge that a proof answers.
///
/// # Errors
/// If there is none for that purpose or it counts no more, or the database does not answer.
pub async fn find_challenge(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    purpose: Purpose,
    proof: &Proof,
) -> Result<Asked, LinkError> {
    let field = |name: &str| proof.message.lines().find_map(|line| line.strip_prefix(name));
    // Nonces are hexadecimal; what is none is not even looked for.
    let nonce = field("Nonce: ")
        .filter(|nonce| nonce.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .ok_or(LinkError::UnknownChallenge)?
        .to_owned();
    let challenge = sqlx::query!(
        r#"
        SELECT player, chain_id, message, expires_at, used_at FROM wallet_challenges
        WHERE nonce = $1 AND purpose = $2
        "#,
        nonce,
        purpose.name(),
    )
    .fetch_optional(conn)
    .await
    .map_err(LedgerError::from)?
    .filter(|challenge| challenge.message == proof.message)
    .ok_or(LinkError::UnknownChallenge)?;
    if challenge.used_at.is_some() || challenge.expires_at <= now {
        return Err(LinkError::StaleChallenge);
    }
    let address: Address =
        proof.message.lines().nth(1).and_then(|line| line.parse().ok()).ok_or(LinkError::UnknownChallenge)?;
    let (player, chain_id) = (challenge.player.into(), challenge.chain_id.cast_unsigned());
    Ok(Asked { player, chain_id, address, nonce })
}

impl Asked {
    /// Whose challenge it is.
    pub const fn player(&self) -> PlayerId {
        self.player
    }

    /// The chain that the wallet is on.
    pub const fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Checks that the wallet signed it.
    ///
    /// # Errors
    /// If it did not, or the chain does not answer.
    pub async fn prove(self, node: &dyn ChainNode, proof: Proof) -> Result<ProvenWallet, LinkError> {
        let Self { chain_id, address, nonce, .. } = self;
        let hash = eip191_hash_message(proof.message.as_bytes());
        let kind = check_signature(node, chain_id, address, hash, &proof.signature).await?;
        Ok(ProvenWallet { address, chain_id, kind, nonce, hash, signature: proof.signature })
    }
}

/// How `signature` proves `address`: by recovering to it, or because the contract there says so (EIP-1271).
async fn check_signature(
    node: &dyn ChainNode,
    chain_id: u64,
    address: Address,
    hash: B256,
    signature: &Bytes,
) -> Result<WalletKind, LinkError> {
    let recovered = Signature::from_raw(signature)
        .ok()
        .and_then(|parsed| parsed.recover_address_from_prehash(&hash).ok());
    if recovered == Some(address) {
        return Ok(WalletKind::Key);
    }
    if ask_contract(node, chain_id, address, hash, signature).await? {
        Ok(WalletKind::Contract)
    } else {
        Err(LinkError::WrongSignature { wallet: address })
    }
}

/// Whether the contract wallet at `address` accepts `signature` over `hash` (EIP-1271), as of the latest block of
/// chain `chain_id`. An account without code accepts nothing.
///
/// # Errors
/// If the node does not answer, or is one of another chain.
pub async fn ask_contract(
    node: &dyn ChainNode,
    chain_id: u64,
    address: Address,
    hash: B256,
    signature: &Bytes,
) -> Result<bool, ChainError> {
    // A contract's word counts for its own chain only: the same address may be somebody else's on another.
    let asked = node.chain_id().await?;
    if asked != chain_id {
        return Err(ChainError::Untrue(format!(
            "chain {asked} was asked about a wallet on chain {chain_id}"
        )));
    }
    if node.agreed_code(address).await?.is_empty() {
        return Ok(false);
    }
    let data = Erc1271::isValidSignatureCall { hash, signature: signature.clone() }.abi_encode();
    let call = Call { from: Address::ZERO, to: address, data: data.into(), gas: Some(CHECK_GAS) };
    match node.agreed_call(call).await {
        // 32 bytes of which the first four are the answer.
        Ok(answer) => Ok(answer.len() == 32 && answer[..4] == MAGIC_VALUE),
        Err(CallError::Reverted(_)) => Ok(false),
        Err(CallError::Chain(error)) => Err(error),
    }
}

impl ProvenWallet {
    /// The wallet's address.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// The chain it is for.
    pub const fn chain_id(&self) -> u64 {
        self.chain_id
    }
}

/// Uses the challenge of a proven wallet up: none is answered twice.
///
/// # Errors
/// [`LinkError::StaleChallenge`] if somebody else used the challenge first, or if the database does not answer.
pub async fn use_challenge(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    wallet: &ProvenWallet,
) -> Result<(), LinkError> {
    let used = sqlx::query!(
        "UPDATE wallet_challenges SET used_at = $2 WHERE nonce = $1 AND used_at IS NULL AND expires_at > $2",
        wallet.nonce,
        now,
    )
    .execute(conn)
    .await
    .map_err(LedgerError::from)?;
    if used.rows_affected() == 1 { Ok(()) } else { Err(LinkError::StaleChallenge) }
}

/// Links a proven wallet and uses its challenge up.
///
/// # Errors
/// [`LinkError::StaleChallenge`] if somebody else used the challenge first, [`LinkError::Reserved`], or if the
/// database does not answer.
pub async fn link_wallet(
    conn: &mut PgConnection,
    context: &Context,
    player: PlayerId,
    wallet: &ProvenWallet,
) -> Result<WalletLinked, LinkError> {
    if !reserved_addresses(conn, wallet.chain_id, &[wallet.address]).await?.is_empty() {
        return Err(LinkError::Reserved);
    }
    if !hold_player(conn, player).await? {
        return Err(LinkError::UnknownChallenge);
    }
    use_challenge(conn, context.now, wallet).await?;
    let (hash, signature) = match wallet.kind {
        WalletKind::Key => (None, None),
        WalletKind::Contract => (Some(wallet.hash.as_slice()), Some(wallet.signature.as_ref())),
    };
    let version = sqlx::query_scalar!(
        r#"
        INSERT INTO wallets (player, chain_id, address, kind, version, proof_hash, proof_signature, linked_at)
        VALUES ($1, $2, $3, $4, 1, $5, $6, $7)
        ON CONFLICT (player, chain_id) DO UPDATE
        SET address = EXCLUDED.address, kind = EXCLUDED.kind, version = wallets.version + 1,
            proof_hash = EXCLUDED.proof_hash, proof_signature = EXCLUDED.proof_signature,
            linked_at = EXCLUDED.linked_at
        RETURNING version
        "#,
        player.uuid(),
        wallet.chain_id.cast_signed(),
        wallet.address.as_slice(),
        match wallet.kind {
            WalletKind::Key => "key",
            WalletKind::Contract => "contract",
        },
        hash,
        signature,
        context.now,
    )
    .fetch_one(&mut *conn)
    .await
    .map_err(LedgerError::from)?;
    let linked = WalletLinked {
        player,
        chain_id: wallet.chain_id,
        wallet: wallet.address,
        kind: wallet.kind,
        version,
    };
    append(conn, context, &[linked.clone().into()]).await?;
    Ok(linked)
}
