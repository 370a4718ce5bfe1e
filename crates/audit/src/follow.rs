//! Reading a chain on, from where the last audit stopped to the ledger's own final block.

use std::sync::Arc;

use alloy::primitives::{Address, keccak256};
use laurel_chain::{BlockRef, ChainError, ChainNode};
use laurel_ledger::{Vault, list_vaults};
use sqlx::PgPool;

use crate::{
    AuditError,
    error::with_causes,
    finding::{Code, Findings},
    reading::{Logged, ReadBlock, read_blocks},
    store::{BlockAt, checkpoint, forget, keep, last_final},
};

/// How many blocks are read at a time at the most.
const BLOCKS_MAX: u64 = 256;

/// How many words of settlements are kept in memory before they are written: 8 MiB of them.
const WORDS_MAX: usize = 262_144;

/// A chain that can be asked, and the vault that the configuration names.
#[derive(Clone, Debug)]
pub struct AuditedChain {
    /// Its id (EIP-155).
    pub chain_id: u64,
    /// A node of it.
    pub node: Arc<dyn ChainNode>,
    /// The vault.
    pub vault: Address,
}

/// Checks that chain and vaults are those that this database was made with. Says whether the chain can be read.
pub(crate) async fn check_identity(
    pool: &PgPool,
    chain: &AuditedChain,
    findings: &mut Findings,
) -> Result<bool, AuditError> {
    let id = chain.chain_id;
    let about = format!("chain:{id}");
    let vaults = list_vaults(&mut *pool.acquire().await?, id).await?;
    let asked = async {
        let found = chain.node.chain_id().await?;
        let first = chain.node.block(BlockRef::Number(0)).await?;
        let first = first.ok_or_else(|| ChainError::Untrue("it has no first block".to_owned()))?;
        Ok::<_, ChainError>((found, first.hash))
    };
    let (found, genesis) = match asked.await {
        Ok(asked) => asked,
        Err(error) => {
            let detail = format!("the node cannot be asked: {}", with_causes(&error));
            findings.add(Code::ChainNotCompared, about, None, detail);
            return Ok(false);
        }
    };
    if found != id {
        let detail = format!("the ledger is of chain {id}, the node is on chain {found}");
        findings.add(Code::ChainDiffers, about, None, detail);
        return Ok(false);
    }
    for vault in &vaults {
        let pinned = vault.identity;
        if pinned.genesis_hash != genesis {
            let detail = format!(
                "the ledger's chain began with block {}, the node's with {genesis}: it is another chain of the same id",
                pinned.genesis_hash,
            );
            findings.add(Code::ChainDiffers, about, None, detail);
            return Ok(false);
        }
        check_vault(chain, vault, findings).await?;
    }
    Ok(true)
}

async fn check_vault(
    chain: &AuditedChain,
    pinned: &Vault,
    findings: &mut Findings,
) -> Result<(), AuditError> {
    let vault = pinned.identity.vault;
    let about = format!("vault:{vault}");
    if vault != chain.vault {
        let detail = format!(
            "the ledger has pinned vault {vault} on chain {}, the configuration names {}",
            chain.chain_id, chain.vault,
        );
        findings.add(Code::ForeignVault, about, None, detail);
        return Ok(());
    }
    let code_hash = keccak256(chain.node.code(vault).await?);
    if code_hash != pinned.identity.code_hash {
        let detail = format!(
            "the ledger has pinned code {}, the contract on the chain has {code_hash}",
            pinned.identity.code_hash
        );
        findings.add(Code::VaultCodeDiffers, about, None, detail);
    }
    Ok(())
}

/// Reads a chain up to the ledger's own final block. Returns that block; `None` if there is none yet, or if it is not the
/// chain's, which is a finding.
pub(crate) async fn catch_up(
    pool: &PgPool,
    chain: &AuditedChain,
    findings: &mut Findings,
) -> Result<Option<BlockAt>, AuditError> {
    let id = chain.chain_id;
    let mut conn = pool.acquire().await?;
    let vaults = list_vaults(&mut conn, id).await?;
    let target = last_final(&mut conn, id).await?;
    drop(conn);
    let Some(first) = vaults.iter().map(|vault| vault.identity.deploy_block).min() else { return Ok(None) };
    // Where the ledger itself has not come so far, there is nothing to compare yet.
    let Some(target) = target.filter(|target| target.number >= first) else { return Ok(None) };
    let there = chain.node.block(BlockRef::Number(target.number)).await?;
    if there.as_ref().is_none_or(|block| block.hash != target.hash) {
        let theirs = there.map_or_else(|| "none".to_owned(), |block| block.hash.to_string());
        let detail = format!(
            "the ledger's final block {} is {}, the chain has {theirs} there",
            target.number, target.hash
        );
        findings.add(Code::FinalBlockDiffers, format!("chain:{id}"), None, detail);
        return Ok(None);
    }
    let addresses: Vec<Address> = vaults.iter().map(|vault| vault.identity.vault).collect();
    read_to(pool, chain, &addresses, first, target).await?;
    Ok(Some(target))
}

async fn read_to(
    pool: &PgPool,
    chain: &AuditedChain,
    vaults: &[Address],
    first: u64,
    target: BlockAt,
) -> Result<(), AuditError> {
    let id = chain.chain_id;
    loop {
        let before = checkpoint(&mut *pool.acquire().await?, id).await?;
        let before = match before {
            // The ledger went another way since: what was read is not its chain.
            Some(before) if before.number > target.number => {
                // Another audit was quicker.
                if is_canonical(chain, before).await? {
                    return Ok(());
                }
                forget(pool, id).await?;
                None
            }
            Some(before) if before.number == target.number && before.hash != target.hash => {
                forget(pool, id).await?;
                None
            }
            before => before,
        };
        let from = before.map_or(first, |before| before.number + 1);
        if from > target.number {
            return Ok(());
        }
        let read = read_some(chain, vaults, from, target.number, before).await;
        // The checkpoint may be of a chain that was left; if it is not, it is the node that lies.
        if let (Err(ChainError::Untrue(problem)), Some(before)) = (&read, before)
            && !is_canonical(chain, before).await?
        {
            tracing::warn!(chain.id = id, problem, "what was read of the chain is read again");
            forget(pool, id).await?;
            continue;
        }
        let blocks = read?;
        let last = blocks.last().map(|block| (block.number, block.hash));
        if last.is_some_and(|(number, hash)| number == target.number && hash != target.hash) {
            forget(pool, id).await?;
            let problem = format!("its headers do not lead to its own block {}", target.number);
            return Err(ChainError::Untrue(problem).into());
        }
        keep(pool, id, before, &blocks).await?;
    }
}

/// Whether a checkpoint is still of the chain.
async fn is_canonical(chain: &AuditedChain, before: BlockAt) -> Result<bool, AuditError> {
    let block = chain.node.block(BlockRef::Number(before.number)).await?;
    Ok(block.is_some_and(|block| block.hash == before.hash))
}

/// Reads some blocks: as many as memory is meant for.
async fn read_some(
    chain: &AuditedChain,
    vaults: &[Address],
    from: u64,
    to: u64,
    before: Option<BlockAt>,
) -> Result<Vec<ReadBlock>, ChainError> {
    let mut parent = before.map(|before| before.hash);
    let mut blocks: Vec<ReadBlock> = Vec::new();
    let mut words = 0;
    let mut next = from;
    while next <= to && next < from + BLOCKS_MAX && words < WORDS_MAX {
        let upto = to.min(next + READ_AHEAD - 1);
        let read = read_blocks(&*chain.node, vaults, next, upto, parent).await?;
        for block in &read {
            words += block.logs.iter().map(|log| words_of(&log.logged)).sum::<usize>();
        }
        parent = read.last().map(|block| block.hash);
        next = upto + 1;
        blocks.extend(read);
    }
    Ok(blocks)
}

/// Blocks whose headers are read before their logs: few, because a block may be full of settlements.
const READ_AHEAD: u64 = 16;

fn words_of(logged: &Logged) -> usize {
    match logged {
        Logged::Settled(settled) => settled.words.len(),
        _ => 0,
    }
}
