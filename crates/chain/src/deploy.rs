//! Bringing the contracts onto a chain.

use std::time::Duration;

use alloy::{
    primitives::{Address, Bytes, U256},
    sol_types::{SolCall, SolConstructor},
};
use serde::Serialize;

use crate::{
    BlockRef, ChainError, ChainNode, KeyError, LaneSigner, NonceAt, RewardToken, RewardVault, SendError,
    TxRequest,
};

/// The most gas of a deployment.
const DEPLOY_GAS: u64 = 8_000_000;

/// The most gas of a call.
const CALL_GAS: u64 = 300_000;

/// How long to wait until a transaction is mined: several blocks of any chain in wide use.
const MINED_WITHIN: Duration = Duration::from_secs(120);

/// How often to look whether it was.
const MINED_POLL: Duration = Duration::from_millis(50);

/// What the deployer gets of the new token: a million with 18 decimals.
const MINTED: u128 = 1_000_000 * 10_u128.pow(18);

/// What was deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Deployed {
    /// The chain.
    pub chain_id: u64,
    /// The vault.
    pub vault: Address,
    /// The token.
    pub token: Address,
    /// A block before which neither exists.
    pub block: u64,
}

/// Why the contracts were not deployed.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The chain does not answer.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The node does not take a transaction.
    #[error("the node does not take a transaction of {account}: {source}")]
    Send {
        /// The deployer.
        account: Address,
        /// Why.
        #[source]
        source: SendError,
    },
    /// The transactions are in no block.
    #[error("the transactions of {0} were not mined within {MINED_WITHIN:?}")]
    NotMined(Address),
    /// A transaction was mined and left no contract.
    #[error("the deployment of {0} failed: there is no code at its address")]
    NoCode(Address),
}

/// Deploys token and vault, makes the lanes operators, and mints tokens for the deployer, who owns both.
///
/// # Errors
/// If the node does not take or mine the transactions, or a deployment fails.
pub async fn deploy_contracts(
    node: &dyn ChainNode,
    deployer: &dyn LaneSigner,
    lanes: &[Address],
) -> Result<Deployed, DeployError> {
    let chain_id = node.chain_id().await?;
    let owner = deployer.address();
    let nonce = node.nonce(owner, NonceAt::Latest).await?;
    let latest = node.block(BlockRef::Latest).await?;
    let latest = latest.ok_or_else(|| ChainError::Untrue("the node has no latest block".to_owned()))?;
    let (token, vault) = (owner.create(nonce), owner.create(nonce + 1));
    let calls = calls(owner, token, vault, lanes);
    let end = nonce + calls.len() as u64;
    let fees = node.fees().await?;
    for ((to, data, gas_limit), nonce) in calls.into_iter().zip(nonce..) {
        let request = TxRequest {
            chain_id,
            nonce,
            to,
            data,
            gas_limit,
            max_fee_per_gas: fees.base_fee.saturating_mul(2).saturating_add(fees.priority_fee),
            max_priority_fee_per_gas: fees.priority_fee,
        };
        let sent = node.send(deployer.sign(&request)?.raw).await;
        sent.map_err(|source| DeployError::Send { account: owner, source })?;
    }
    wait_for_nonce(node, owner, end).await?;
    for contract in [token, vault] {
        if node.code(contract).await?.is_empty() {
            return Err(DeployError::NoCode(contract));
        }
    }
    Ok(Deployed { chain_id, vault, token, block: latest.header.number + 1 })
}

/// The transactions, in the order of their nonces: the addresses of both contracts follow from the first two.
fn calls(
    owner: Address,
    token: Address,
    vault: Address,
    lanes: &[Address],
) -> Vec<(Option<Address>, Bytes, u64)> {
    let token_arguments = RewardToken::constructorCall {
        name_: "Laurel Reward".to_owned(),
        symbol_: "LAUREL".to_owned(),
        owner_: owner,
    };
    let vault_arguments = RewardVault::constructorCall { owner_: owner, guardian_: owner };
    let mint = RewardToken::mintCall { to: owner, amount: U256::from(MINTED) };
    let mut calls = vec![
        (None, [RewardToken::BYTECODE.as_ref(), &token_arguments.abi_encode()].concat().into(), DEPLOY_GAS),
        (None, [RewardVault::BYTECODE.as_ref(), &vault_arguments.abi_encode()].concat().into(), DEPLOY_GAS),
        (Some(token), mint.abi_encode().into(), CALL_GAS),
    ];
    for lane in lanes {
        let allow = RewardVault::setOperatorCall { operator: *lane, allowed: true };
        calls.push((Some(vault), allow.abi_encode().into(), CALL_GAS));
    }
    calls
}

async fn wait_for_nonce(node: &dyn ChainNode, account: Address, wanted: u64) -> Result<(), DeployError> {
    let mined = async {
        while node.nonce(account, NonceAt::Latest).await? < wanted {
            tokio::time::sleep(MINED_POLL).await;
        }
        Ok(())
    };
    tokio::time::timeout(MINED_WITHIN, mined).await.unwrap_or(Err(DeployError::NotMined(account)))
}
