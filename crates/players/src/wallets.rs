//! Where players are paid.

use std::collections::{BTreeMap, HashMap};

use alloy::primitives::{Address, B256, Bytes};
use chrono::{DateTime, Utc};
use laurel_events::{PlayerId, WalletKind};
use laurel_ledger::LedgerError;
use sqlx::PgConnection;
use uuid::Uuid;

/// A player's wallet on a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wallet {
    /// Its address.
    pub address: Address,
    /// How it was proved.
    pub kind: WalletKind,
    /// How many links the player made on that chain, this one included.
    pub version: i32,
    /// When it was linked.
    pub linked_at: DateTime<Utc>,
}

/// The wallets of `players` on a chain. Whoever has none is absent, and stays so for other transactions until this one
/// ends: a link under way waits, or is seen.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn resolve_wallets(
    conn: &mut PgConnection,
    chain_id: u64,
    players: &[PlayerId],
) -> Result<HashMap<PlayerId, Wallet>, LedgerError> {
    let mut found = load(conn, chain_id, players).await?;
    let mut missing: Vec<Uuid> =
        players.iter().filter(|player| !found.contains_key(player)).map(|player| player.uuid()).collect();
    if missing.is_empty() {
        return Ok(found);
    }
    missing.sort_unstable();
    missing.dedup();
    sqlx::query!(
        r#"
        INSERT INTO wallets (player, chain_id)
        SELECT player, $2 FROM unnest($1::uuid[]) WITH ORDINALITY AS m (player, ord) ORDER BY ord
        ON CONFLICT DO NOTHING
        "#,
        &missing,
        chain_id.cast_signed(),
    )
    .execute(&mut *conn)
    .await?;
    let missing: Vec<PlayerId> = missing.into_iter().map(PlayerId::from).collect();
    found.extend(keep_wallets(conn, chain_id, &missing).await?);
    Ok(found)
}

/// A player's wallet on a chain.
///
/// # Errors
/// If its row is inconsistent or the database does not answer.
pub async fn wallet_of(
    conn: &mut PgConnection,
    chain_id: u64,
    player: PlayerId,
) -> Result<Option<Wallet>, LedgerError> {
    Ok(load(conn, chain_id, &[player]).await?.remove(&player))
}

/// A player's wallets, by chain.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn wallets_of(
    conn: &mut PgConnection,
    player: PlayerId,
) -> Result<BTreeMap<u64, Wallet>, LedgerError> {
    let chains = sqlx::query_scalar!(
        "SELECT chain_id FROM wallets WHERE player = $1 AND address IS NOT NULL ORDER BY chain_id",
        player.uuid(),
    );
    let mut wallets = BTreeMap::new();
    for chain_id in chains.fetch_all(&mut *conn).await? {
        let chain_id = chain_id.cast_unsigned();
        if let Some(wallet) = wallet_of(conn, chain_id, player).await? {
            wallets.insert(chain_id, wallet);
        }
    }
    Ok(wallets)
}

/// What a contract wallet accepted when it was linked (EIP-1271), to ask it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalletProof {
    /// The contract.
    pub address: Address,
    /// The hash that was signed.
    pub hash: B256,
    /// The signature.
    pub signature: Bytes,
    /// The link that it belongs to.
    pub version: i32,
}

/// What a player's contract wallet on a chain accepted when it was linked; `None` if the wallet is no contract.
///
/// # Errors
/// If its row is inconsistent or the database does not answer.
pub async fn wallet_proof(
    conn: &mut PgConnection,
    chain_id: u64,
    player: PlayerId,
) -> Result<Option<WalletProof>, LedgerError> {
    let row = sqlx::query!(
        r#"
        SELECT address AS "address!", proof_hash, proof_signature, version
        FROM wallets
        WHERE player = $1 AND chain_id = $2 AND kind = 'contract'
        "#,
        player.uuid(),
        chain_id.cast_signed(),
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let wrong = |column| LedgerError::Inconsistent { table: "wallets", column, id: player.to_string() };
    let hash = row.proof_hash.ok_or_else(|| wrong("proof_hash"))?;
    Ok(Some(WalletProof {
        address: Address::try_from(row.address.as_slice()).map_err(|_| wrong("address"))?,
        hash: B256::try_from(hash.as_slice()).map_err(|_| wrong("proof_hash"))?,
        signature: row.proof_signature.ok_or_else(|| wrong("proof_signature"))?.into(),
        version: row.version,
    }))
}

/// The wallets of `players` on a chain, which stay as they are until this transaction ends: a link under way waits.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn keep_wallets(
    conn: &mut PgConnection,
    chain_id: u64,
    players: &[PlayerId],
) -> Result<HashMap<PlayerId, Wallet>, LedgerError> {
    let ids: Vec<Uuid> = players.iter().map(|player| player.uuid()).collect();
    sqlx::query!(
        "SELECT FROM wallets WHERE chain_id = $2 AND player = ANY ($1) ORDER BY player FOR SHARE",
        &ids,
        chain_id.cast_signed(),
    )
    .execute(&mut *conn)
    .await?;
    load(conn, chain_id, players).await
}

async fn load(
    conn: &mut PgConnection,
    chain_id: u64,
    players: &[PlayerId],
) -> Result<HashMap<PlayerId, Wallet>, LedgerError> {
    let players: Vec<Uuid> = players.iter().map(|player| player.uuid()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT player, address AS "address!", kind AS "kind!", version, linked_at AS "linked_at!"
        FROM wallets
        WHERE chain_id = $2 AND player = ANY ($1) AND address IS NOT NULL
        "#,
        &players,
        chain_id.cast_signed(),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let wrong =
                |column| LedgerError::Inconsistent { table: "wallets", column, id: row.player.to_string() };
            let address = Address::try_from(row.address.as_slice()).map_err(|_| wrong("address"))?;
            let kind = match row.kind.as_str() {
                "key" => WalletKind::Key,
                "contract" => WalletKind::Contract,
                _ => return Err(wrong("kind")),
            };
            Ok((row.player.into(), Wallet { address, kind, version: row.version, linked_at: row.linked_at }))
        })
        .collect()
}
