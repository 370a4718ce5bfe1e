//! Whether a node and a vault are what the configuration says.

use alloy::primitives::{Address, B256, keccak256};

use crate::{Block, BlockRef, ChainError, ChainNode, RewardVault};

/// A node or a vault that cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The node does not answer.
    #[error(
        "chain {chain_id}: the node cannot be asked: check that it runs and that chains.rpc_urls has its address"
    )]
    Unreachable {
        /// The configured chain.
        chain_id: u64,
        /// What came instead.
        #[source]
        source: ChainError,
    },
    /// The node is on another chain.
    #[error("chain {chain_id}: the node is on chain {found}: correct chains.id or chains.rpc_urls")]
    OtherChain {
        /// The configured chain.
        chain_id: u64,
        /// The node's.
        found: u64,
    },
    /// The node is on another chain of the same id.
    #[error(
        "chain {chain_id}: the node's first block is {found}, not {expected}: it is on another chain of the same id; \
         correct chains.rpc_urls"
    )]
    OtherGenesis {
        /// The configured chain.
        chain_id: u64,
        /// The chain's first block.
        expected: B256,
        /// The node's.
        found: B256,
    },
    /// Too few endpoints answer to say what is final.
    #[error(
        "chain {chain_id}: {reached} of {endpoints} endpoints answer, but chains.final_quorum is {quorum}: see to the \
         others, or lower it"
    )]
    TooFew {
        /// The configured chain.
        chain_id: u64,
        /// How many answer.
        reached: usize,
        /// How many there are.
        endpoints: usize,
        /// How many have to agree.
        quorum: usize,
    },
    /// The node lacks a block that every node has.
    #[error("chain {chain_id}: the node has no {which} block: it is not in sync, wait or use another")]
    NoBlock {
        /// The configured chain.
        chain_id: u64,
        /// Which block.
        which: &'static str,
    },
    /// There is no code at the vault's address.
    #[error(
        "chain {chain_id}: there is no contract at the vault's address {vault}: correct chains.vault, or deploy one \
         with `laurel deploy`"
    )]
    NoVault {
        /// The configured chain.
        chain_id: u64,
        /// The address.
        vault: Address,
    },
    /// The code at the vault's address is not the vault's.
    #[error(
        "chain {chain_id}: the contract at {vault} is no RewardVault of this build (code {found}, expected \
         {expected}): correct chains.vault, or deploy one with `laurel deploy`"
    )]
    NotAVault {
        /// The configured chain.
        chain_id: u64,
        /// The address.
        vault: Address,
        /// The code's hash.
        found: B256,
        /// This build's.
        expected: B256,
    },
    /// The vault was deployed before the block that is configured.
    #[error(
        "chain {chain_id}: the vault {vault} has code before block {deploy_block}, so what was paid and funded before \
         would be missed: correct chains.deploy_block, or leave it out to have it found"
    )]
    DeployedBefore {
        /// The configured chain.
        chain_id: u64,
        /// The address.
        vault: Address,
        /// The configured block.
        deploy_block: u64,
    },
    /// The chain has not come as far as the block that is configured.
    #[error(
        "chain {chain_id}: chains.deploy_block is {deploy_block}, but the chain's head is {head}: correct it"
    )]
    DeployedLater {
        /// The configured chain.
        chain_id: u64,
        /// The configured block.
        deploy_block: u64,
        /// The head's number.
        head: u64,
    },
    /// The deployment cannot be found, because the node has forgotten states.
    #[error(
        "chain {chain_id}: the node does not keep the state of block {number}, so the vault's deployment cannot be \
         found: set chains.deploy_block to the block that `laurel deploy` printed"
    )]
    Pruned {
        /// The configured chain.
        chain_id: u64,
        /// A block whose state is gone.
        number: u64,
    },
}

/// Asks a node whether it is on the chain `chain_id`. Returns the hash of the chain's first block.
///
/// # Errors
/// If it is not, or does not answer.
pub async fn identify_chain(node: &dyn ChainNode, chain_id: u64) -> Result<B256, IdentityError> {
    let found = node.chain_id().await.map_err(|source| IdentityError::Unreachable { chain_id, source })?;
    if found != chain_id {
        return Err(IdentityError::OtherChain { chain_id, found });
    }
    Ok(known_block(node, chain_id, BlockRef::Number(0), "first").await?.hash)
}

/// keccak256 of the code at the vault's address.
///
/// # Errors
/// If there is none, or the node does not answer.
pub async fn vault_code(node: &dyn ChainNode, chain_id: u64, vault: Address) -> Result<B256, IdentityError> {
    let code = node.code(vault).await.map_err(|source| IdentityError::Unreachable { chain_id, source })?;
    if code.is_empty() {
        return Err(IdentityError::NoVault { chain_id, vault });
    }
    Ok(keccak256(&code))
}

/// Checks that a vault that was never used before runs the contract that this build was made for. One that is in use
/// is compared with what was pinned then, so that a later build goes on with it.
///
/// # Errors
/// If it runs another.
pub fn require_vault_code(chain_id: u64, vault: Address, code_hash: B256) -> Result<(), IdentityError> {
    let expected = keccak256(&RewardVault::DEPLOYED_BYTECODE);
    if code_hash != expected {
        return Err(IdentityError::NotAVault { chain_id, vault, found: code_hash, expected });
    }
    Ok(())
}

/// The block to begin with: the configured one, once the node agrees that the vault is no older, or the block that
/// holds the vault's deployment. Code that is there stays, so a binary search over the blocks' states finds it.
///
/// # Errors
/// If the node does not answer or has forgotten the states that tell it, or what is configured is wrong.
pub async fn deploy_block(
    node: &dyn ChainNode,
    chain_id: u64,
    vault: Address,
    configured: Option<u64>,
) -> Result<u64, IdentityError> {
    let head = known_block(node, chain_id, BlockRef::Latest, "latest").await?.header.number;
    let has_code = async |number| {
        let code = node.code_at(vault, number).await;
        let code = code.map_err(|source| IdentityError::Unreachable { chain_id, source })?;
        Ok(code.map(|code| !code.is_empty()))
    };
    if let Some(deploy_block) = configured {
        if deploy_block > head {
            return Err(IdentityError::DeployedLater { chain_id, deploy_block, head });
        }
        // A node that has forgotten the state cannot contradict.
        if deploy_block > 0 && has_code(deploy_block - 1).await? == Some(true) {
            return Err(IdentityError::DeployedBefore { chain_id, vault, deploy_block });
        }
        return Ok(deploy_block);
    }
    first_block_with_code(head, async |number| {
        has_code(number).await?.ok_or(IdentityError::Pruned { chain_id, number })
    })
    .await
}

/// The first of the blocks `0..=head` of which `has_code` is true, given that it is true of `head` and stays so.
async fn first_block_with_code<E>(
    head: u64,
    has_code: impl AsyncFn(u64) -> Result<bool, E>,
) -> Result<u64, E> {
    let (mut from, mut to) = (0, head);
    while from < to {
        let middle = from.midpoint(to);
        if has_code(middle).await? {
            to = middle;
        } else {
            from = middle + 1;
        }
    }
    Ok(to)
}

async fn known_block(
    node: &dyn ChainNode,
    chain_id: u64,
    which: BlockRef,
    name: &'static str,
) -> Result<Block, IdentityError> {
    let block = node.block(which).await;
    let block = block.map_err(|source| IdentityError::Unreachable { chain_id, source })?;
    block.ok_or(IdentityError::NoBlock { chain_id, which: name })
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, convert::Infallible};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_block_with_code_is_found_in_few_questions(head in any::<u64>(), share in 0_u64..=100) {
            let first = head / 100 * share;
            let asked = Cell::new(0);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let found: Result<u64, Infallible> = runtime.block_on(first_block_with_code(head, async |number| {
                asked.set(asked.get() + 1);
                Ok(number >= first)
            }));
            prop_assert_eq!(found, Ok(first));
            prop_assert!(asked.get() <= 64, "{} questions", asked.get());
        }
    }
}
