//! `laurel deploy`

use std::{sync::Arc, time::Duration};

use alloy::{
    primitives::{Address, Bytes, U256},
    sol_types::{SolCall, SolConstructor},
};
use anyhow::{Context, bail};
use laurel_chain::{
    BlockRef, ChainNode, HttpNode, LaneSigner, LocalKey, NonceAt, RewardToken, RewardVault, TxRequest,
};
use serde::Serialize;

use crate::{cli::Deploy, environment::Environment};

/// The environment variable with the deployer's key.
const DEPLOYER_KEY: &str = "LAUREL_DEPLOYER_KEY";

/// The most gas of a deployment.
const DEPLOY_GAS: u64 = 8_000_000;

/// The most gas of a call.
const CALL_GAS: u64 = 300_000;

/// How long to wait until a transaction is mined.
const MINED_WITHIN: Duration = Duration::from_secs(120);

/// How often to look whether it was.
const MINED_POLL: Duration = Duration::from_millis(50);

/// What the deployer gets of the new token: a million with 18 decimals.
const MINTED: u128 = 1_000_000 * 10_u128.pow(18);

/// What was deployed.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Deployed {
    pub(crate) chain_id: u64,
    pub(crate) vault: Address,
    pub(crate) token: Address,
    pub(crate) block: u64,
}

/// Deploys with the key in the environment, and prints the addresses.
pub(crate) async fn run(deploy: Deploy, environment: &Environment) -> anyhow::Result<()> {
    let key = environment.get(DEPLOYER_KEY);
    let key = key.with_context(|| format!("put the deployer's key into {DEPLOYER_KEY}"))?;
    let key =
        LocalKey::from_hex(key.trim()).with_context(|| format!("{DEPLOYER_KEY} holds no secp256k1 key"))?;
    let node: Arc<dyn ChainNode> = Arc::new(HttpNode::new(&deploy.rpc_url)?);
    let deployed = deploy_contracts(&*node, &key, &deploy.lane).await?;
    let json = serde_json::to_string_pretty(&deployed)?;
    match deploy.json {
        Some(file) => std::fs::write(&file, json).with_context(|| format!("write {}", file.display()))?,
        None => super::print(&json),
    }
    Ok(())
}

/// Deploys token and vault, makes the lanes operators, and mints tokens for the deployer, who owns both.
pub(crate) async fn deploy_contracts(
    node: &dyn ChainNode,
    deployer: &LocalKey,
    lanes: &[Address],
) -> anyhow::Result<Deployed> {
    let chain_id = node.chain_id().await?;
    let owner = deployer.address();
    let nonce = node.nonce(owner, NonceAt::Latest).await?;
    let block =
        node.block(BlockRef::Latest).await?.context("the node has no latest block")?.header.number + 1;
    let (token, vault) = (owner.create(nonce), owner.create(nonce + 1));
    let token_arguments = RewardToken::constructorCall {
        name_: "Laurel Reward".to_owned(),
        symbol_: "LAUREL".to_owned(),
        owner_: owner,
    };
    let vault_arguments = RewardVault::constructorCall { owner_: owner, guardian_: owner };
    let mut calls = vec![
        (None, [RewardToken::BYTECODE.as_ref(), &token_arguments.abi_encode()].concat(), DEPLOY_GAS),
        (None, [RewardVault::BYTECODE.as_ref(), &vault_arguments.abi_encode()].concat(), DEPLOY_GAS),
        (Some(token), RewardToken::mintCall { to: owner, amount: U256::from(MINTED) }.abi_encode(), CALL_GAS),
    ];
    for lane in lanes {
        let allow = RewardVault::setOperatorCall { operator: *lane, allowed: true };
        calls.push((Some(vault), allow.abi_encode(), CALL_GAS));
    }
    let fees = node.fees().await?;
    let count = calls.len() as u64;
    for ((to, data, gas_limit), nonce) in calls.into_iter().zip(nonce..) {
        let request = TxRequest {
            chain_id,
            nonce,
            to,
            data: Bytes::from(data),
            gas_limit,
            max_fee_per_gas: fees.base_fee * 2 + fees.priority_fee,
            max_priority_fee_per_gas: fees.priority_fee,
        };
        node.send(deployer.sign(&request)?.raw).await?;
    }
    wait_for_nonce(node, owner, nonce + count).await?;
    for contract in [token, vault] {
        if node.code(contract).await?.is_empty() {
            bail!("the deployment of {contract} failed");
        }
    }
    Ok(Deployed { chain_id, vault, token, block })
}

async fn wait_for_nonce(node: &dyn ChainNode, account: Address, wanted: u64) -> anyhow::Result<()> {
    let mined = async {
        while node.nonce(account, NonceAt::Latest).await? < wanted {
            tokio::time::sleep(MINED_POLL).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(MINED_WITHIN, mined)
        .await
        .with_context(|| format!("the transactions of {account} were not mined within {MINED_WITHIN:?}"))?
}
