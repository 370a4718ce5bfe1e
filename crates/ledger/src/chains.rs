//! The chains and vaults that this database belongs to.

use std::collections::HashSet;

use alloy_primitives::{Address, B256};
use laurel_events::VaultId;
use sqlx::PgConnection;

use crate::LedgerError;

/// What a vault on a chain is recognised by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultIdentity {
    /// The chain's id (EIP-155).
    pub chain_id: u64,
    /// The hash of the chain's first block.
    pub genesis_hash: B256,
    /// The vault.
    pub vault: Address,
    /// keccak256 of the vault's code.
    pub code_hash: B256,
    /// The block that holds its deployment, or an earlier one.
    pub deploy_block: u64,
}

/// A pinned vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vault {
    /// Its number in this database.
    pub id: VaultId,
    /// What it is recognised by.
    pub identity: VaultIdentity,
}

/// A node or a configuration that does not belong to this database.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The chain's first block is another.
    #[error(
        "chain {chain_id} began with block {pinned} when this database was first used, the node says {found}: \
         it is another chain of the same id; point rpc_urls at the right one, or use a fresh database"
    )]
    Genesis {
        /// The chain.
        chain_id: u64,
        /// What is pinned.
        pinned: B256,
        /// What the node says.
        found: B256,
    },
    /// The vault's code is another.
    #[error(
        "vault {vault} had code {pinned} when this database was first used and has {found} now, so it is not trusted: \
         point chains.rpc_urls at the right node, or use a fresh database"
    )]
    Code {
        /// The vault.
        vault: Address,
        /// What is pinned.
        pinned: B256,
        /// What the node says.
        found: B256,
    },
    /// The chain was followed past the vault's blocks before the vault was pinned.
    #[error(
        "vault {vault} began in block {deploy_block}, and this database has followed chain {chain_id} to block {head} \
         without it, so what it did there would be missed: configure the vault that this database began with, or use \
         a fresh database"
    )]
    Passed {
        /// The chain.
        chain_id: u64,
        /// The vault.
        vault: Address,
        /// The block of its deployment, or an earlier one.
        deploy_block: u64,
        /// How far the chain was followed.
        head: u64,
    },
    /// The database.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<sqlx::Error> for PinError {
    fn from(error: sqlx::Error) -> Self {
        Self::Ledger(error.into())
    }
}

/// Pins a vault on its first use, unless its chain was followed past its first block by then, and compares it with what
/// is pinned ever after.
///
/// # Errors
/// If it is not the one that is pinned or comes too late (roll back then), or the database does not answer.
pub async fn pin_vault(conn: &mut PgConnection, identity: &VaultIdentity) -> Result<Vault, PinError> {
    let chain_id = identity.chain_id.cast_signed();
    sqlx::query!(
        "INSERT INTO chains (id, genesis_hash) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        chain_id,
        identity.genesis_hash.as_slice(),
    )
    .execute(&mut *conn)
    .await?;
    let inserted = sqlx::query!(
        r#"
        INSERT INTO vaults (chain_id, address, code_hash, deploy_block) VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING
        "#,
        chain_id,
        identity.vault.as_slice(),
        identity.code_hash.as_slice(),
        identity.deploy_block.cast_signed(),
    )
    .execute(&mut *conn)
    .await?;
    let vaults = list_vaults(&mut *conn, identity.chain_id).await?;
    let vault = vaults
        .into_iter()
        .find(|vault| vault.identity.vault == identity.vault)
        .ok_or_else(|| LedgerError::inconsistent("vaults", "address", identity.vault))?;
    let (pinned, found) = (vault.identity, identity);
    if pinned.genesis_hash != found.genesis_hash {
        return Err(PinError::Genesis {
            chain_id: identity.chain_id,
            pinned: pinned.genesis_hash,
            found: found.genesis_hash,
        });
    }
    if pinned.code_hash != found.code_hash {
        return Err(PinError::Code { vault: found.vault, pinned: pinned.code_hash, found: found.code_hash });
    }
    if inserted.rows_affected() == 1 {
        require_ahead(conn, identity).await?;
    }
    Ok(vault)
}

/// Refuses a new vault whose first blocks were read without it. The row is locked, so that no watcher moves meanwhile.
async fn require_ahead(conn: &mut PgConnection, identity: &VaultIdentity) -> Result<(), PinError> {
    let head = sqlx::query_scalar!(
        "SELECT head_number FROM chains WHERE id = $1 FOR NO KEY UPDATE",
        identity.chain_id.cast_signed(),
    )
    .fetch_one(conn)
    .await?;
    match head.map(i64::cast_unsigned).filter(|head| *head >= identity.deploy_block) {
        Some(head) => Err(PinError::Passed {
            chain_id: identity.chain_id,
            vault: identity.vault,
            deploy_block: identity.deploy_block,
            head,
        }),
        None => Ok(()),
    }
}

/// The vaults on a chain.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn list_vaults(conn: &mut PgConnection, chain_id: u64) -> Result<Vec<Vault>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT v.id, v.address, v.code_hash, v.deploy_block, c.genesis_hash
        FROM vaults v JOIN chains c ON c.id = v.chain_id
        WHERE v.chain_id = $1
        ORDER BY v.id
        "#,
        chain_id.cast_signed(),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let wrong = |column| LedgerError::inconsistent("vaults", column, row.id);
            let hash = |bytes: &[u8], column| B256::try_from(bytes).map_err(|_| wrong(column));
            Ok(Vault {
                id: VaultId(row.id),
                identity: VaultIdentity {
                    chain_id,
                    genesis_hash: hash(&row.genesis_hash, "genesis_hash")?,
                    vault: Address::try_from(row.address.as_slice()).map_err(|_| wrong("address"))?,
                    code_hash: hash(&row.code_hash, "code_hash")?,
                    deploy_block: u64::try_from(row.deploy_block).map_err(|_| wrong("deploy_block"))?,
                },
            })
        })
        .collect()
}

/// Whether `address` is a vault or a lane on a chain: such an address is never a token.
///
/// # Errors
/// If the database does not answer.
pub async fn is_vault_or_lane(
    conn: &mut PgConnection,
    chain_id: u64,
    address: Address,
) -> Result<bool, LedgerError> {
    let found = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
            SELECT FROM vaults v
            WHERE v.chain_id = $1
              AND (v.address = $2 OR EXISTS (SELECT FROM lanes l WHERE l.vault = v.id AND l.address = $2))
        ) AS "found!"
        "#,
        chain_id.cast_signed(),
        address.as_slice(),
    )
    .fetch_one(conn)
    .await?;
    Ok(found)
}

/// Which of `addresses` are a vault, a token, a lane, or nobody on a chain: such an address is never a recipient.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn reserved_addresses(
    conn: &mut PgConnection,
    chain_id: u64,
    addresses: &[Address],
) -> Result<HashSet<Address>, LedgerError> {
    let wanted: Vec<&[u8]> = addresses.iter().map(|address| address.as_slice()).collect();
    let rows = sqlx::query_scalar!(
        r#"
        SELECT a.address AS "address!"
        FROM unnest($2::bytea[]) AS a (address)
        WHERE a.address = decode(repeat('00', 20), 'hex')
           OR EXISTS (
               SELECT FROM vaults v
               WHERE v.chain_id = $1
                 AND (v.address = a.address
                      OR EXISTS (SELECT FROM lanes l WHERE l.vault = v.id AND l.address = a.address)
                      OR EXISTS (SELECT FROM campaigns c WHERE c.vault = v.id AND c.token = a.address)))
        "#,
        chain_id.cast_signed(),
        &wanted as &[&[u8]],
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|address| {
            Address::try_from(address.as_slice())
                .map_err(|_| LedgerError::inconsistent("vaults", "address", chain_id))
        })
        .collect()
}
