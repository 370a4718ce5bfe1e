//! The chain that every world begins with: contracts, tokens, lanes, contract wallets. Made once for each process.

use std::sync::Arc;

use alloy::{
    primitives::{Address, Bytes, U256, keccak256},
    sol,
    sol_types::SolCall,
};
use anyhow::Context;
use laurel_chain::{
    BlockRef, ChainNode, Deployed, LaneSigner, LocalKey, RewardToken, TxRequest, deploy_contracts,
};
use laurel_devnet::{dev_keys::DEV_KEYS, testing::CONTRACT_WALLET};
use laurel_ledger::VaultIdentity;

use crate::{
    chain::{QUIET_BASE_FEE, Shared, SimChain, SimNode},
    dice::Dice,
    trace::Trace,
};

#[allow(missing_docs, reason = "generated from a contract that is documented there")]
mod fussy {
    super::sol!(
        #[sol(all_derives)]
        FussyToken,
        "../../contracts/artifacts/FussyToken.json"
    );
}
pub(crate) use fussy::FussyToken;

/// The chain's id: a development chain's.
pub(crate) const CHAIN_ID: u64 = 31_337;

/// When the first block was made: 2026-01-01, as the simulated clock begins.
const GENESIS_TIME: u64 = 1_767_225_000;

/// How many blocks on top make one final.
const FINAL_DEPTH: u64 = 4;

/// Lanes of the vault.
pub(crate) const LANES: usize = 2;

/// Contract wallets that exist.
pub(crate) const CONTRACT_WALLETS: u8 = 2;

/// How much of each token the vault holds, for all campaigns of a world.
const BACKING: u128 = 1_000_000_000;

/// What every account that sends has: more than any world spends on gas.
const ETHER: u128 = 10_000 * 10_u128.pow(18);

/// The chain as it is when a world begins.
#[derive(Clone, Debug)]
pub(crate) struct Genesis {
    pub(crate) chain: SimChain,
    pub(crate) identity: VaultIdentity,
    pub(crate) deployed: Deployed,
    pub(crate) fussy: Address,
}

/// A development account's key: the first is the vault's owner, the next are lanes.
pub(crate) fn key(account: usize) -> LocalKey {
    LocalKey::from_hex(DEV_KEYS[account].secret).expect("the development keys are keys")
}

/// The key of a lane.
pub(crate) fn lane_key(lane: usize) -> LocalKey {
    key(1 + lane)
}

/// A contract wallet's address.
pub(crate) fn contract_wallet(number: u8) -> Address {
    Address::from_word(keccak256([b'c', number]))
}

impl Genesis {
    /// Deploys everything, each transaction in a block of its own.
    pub(crate) async fn make() -> anyhow::Result<Self> {
        let wallet: Bytes =
            CONTRACT_WALLET.split_once("6000f3").context("the code follows its loader")?.1.parse()?;
        let ether = U256::from(ETHER);
        let mut accounts: Vec<_> = (0..=LANES).map(|account| (key(account).address(), ether, None)).collect();
        accounts.extend(
            (0..CONTRACT_WALLETS).map(|number| (contract_wallet(number), U256::ZERO, Some(wallet.clone()))),
        );
        let mut chain = SimChain::new(CHAIN_ID, GENESIS_TIME, FINAL_DEPTH, &accounts);
        chain.automine = true;
        let mut dice = Dice::new(0);
        dice.on = false;
        let shared = Shared::new(chain, dice, Trace::default());
        let node = SimNode::new("the deployer's node".to_owned(), shared.clone());
        let owner = key(0);
        let lanes: Vec<Address> = (0..LANES).map(|lane| lane_key(lane).address()).collect();
        let deployed = deploy_contracts(&node, &owner, &lanes).await?;
        let fussy = owner.address().create(owner_nonce(&shared));
        owner_sends(&shared, None, FussyToken::BYTECODE.clone())?;
        let mint = FussyToken::mintCall { to: deployed.vault, amount: U256::from(BACKING) };
        owner_sends(&shared, Some(fussy), mint.abi_encode().into())?;
        let mint = RewardToken::mintCall { to: deployed.vault, amount: U256::from(BACKING) };
        owner_sends(&shared, Some(deployed.token), mint.abi_encode().into())?;
        let genesis = node.block(BlockRef::Number(0)).await?.context("a chain has a first block")?;
        let identity = VaultIdentity {
            chain_id: CHAIN_ID,
            genesis_hash: genesis.hash,
            vault: deployed.vault,
            code_hash: keccak256(node.code(deployed.vault).await?),
            deploy_block: deployed.block,
        };
        let mut chain = shared.chain().clone();
        chain.automine = false;
        Ok(Self { chain, identity, deployed, fussy })
    }
}

fn owner_nonce(shared: &Shared) -> u64 {
    let chain = shared.chain();
    let owner = key(0).address();
    let next = chain.nonce(chain.head(), owner);
    next + chain.pool.ready(owner, next).len() as u64
}

/// A transaction of the vault's owner goes into the pool, past any node.
pub(crate) fn owner_sends(shared: &Arc<Shared>, to: Option<Address>, data: Bytes) -> anyhow::Result<()> {
    let request = TxRequest {
        chain_id: CHAIN_ID,
        nonce: owner_nonce(shared),
        to,
        data,
        gas_limit: if to.is_some() { 500_000 } else { 8_000_000 },
        // Whatever happens to fees, the world's own transactions get through.
        max_fee_per_gas: QUIET_BASE_FEE * 10_000,
        max_priority_fee_per_gas: QUIET_BASE_FEE,
    };
    let signed = key(0).sign(&request)?;
    let sent = shared.chain().send(&signed.raw);
    sent.map_err(|(_, words)| anyhow::anyhow!("the owner's transaction is not taken: {words}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use laurel_chain::{
        Call, CallError, Erc20, RewardVault, decode_vault_logs, verify_receipts, verify_transactions,
    };

    use super::*;

    async fn world() -> (Arc<Shared>, SimNode, Genesis) {
        let genesis = Genesis::make().await.unwrap();
        let mut dice = Dice::new(0);
        dice.on = false;
        let shared = Shared::new(genesis.chain.clone(), dice, Trace::default());
        (shared.clone(), SimNode::new("node".to_owned(), shared), genesis)
    }

    #[tokio::test]
    async fn every_block_is_what_its_header_says() {
        let (shared, node, genesis) = world().await;
        let head = node.block(BlockRef::Latest).await.unwrap().unwrap().header.number;
        assert!(head >= 8, "{head}");
        let mut logs = 0;
        for number in 0..=head {
            let block = node.block(BlockRef::Number(number)).await.unwrap().unwrap();
            assert_eq!(block.header.hash_slow(), block.hash);
            let receipts = node.receipts(block.hash).await.unwrap().unwrap();
            verify_receipts(&block, &receipts).unwrap();
            verify_transactions(&block, &node.transactions(block.hash).await.unwrap().unwrap()).unwrap();
            for receipt in &receipts {
                assert!(receipt.receipt.status(), "{number}");
                logs += receipt.receipt.logs().len();
                decode_vault_logs(genesis.deployed.vault, receipt.receipt.logs()).unwrap();
            }
        }
        assert!(logs > 4, "{logs}");
        drop(shared);
    }

    #[tokio::test]
    async fn calls_and_reverts_are_told_apart() {
        let (_, node, genesis) = world().await;
        let balance = Erc20::balanceOfCall { owner: genesis.deployed.vault }.abi_encode();
        let call = |to, data: Vec<u8>| Call { from: Address::ZERO, to, data: data.into(), gas: None };
        let answer = node.call(call(genesis.fussy, balance)).await.unwrap();
        assert_eq!(U256::from_be_slice(&answer), U256::from(BACKING));
        let close = RewardVault::closeCall { campaign: 9 }.abi_encode();
        assert!(matches!(node.call(call(genesis.deployed.vault, close)).await, Err(CallError::Reverted(_))));
    }

    #[tokio::test]
    async fn what_a_reorganisation_takes_away_waits_again() {
        let (shared, node, _) = world().await;
        let before = node.block(BlockRef::Latest).await.unwrap().unwrap();
        owner_sends(&shared, Some(Address::repeat_byte(7)), Bytes::new()).unwrap();
        shared.chain().mine(0, &mut |_| true);
        let mined = node.block(BlockRef::Latest).await.unwrap().unwrap();
        assert_eq!((mined.transactions.len(), mined.header.number), (1, before.header.number + 1));
        assert_eq!(shared.chain().unwind(1, &mut |_| false), 1);
        shared.chain().mine(0, &mut |_| false);
        let other = node.block(BlockRef::Latest).await.unwrap().unwrap();
        assert_eq!((other.header.parent_hash, other.transactions.len()), (before.hash, 0));
        assert_ne!(other.hash, mined.hash);
        shared.chain().mine(0, &mut |_| true);
        let again = node.block(BlockRef::Latest).await.unwrap().unwrap();
        assert_eq!(again.transactions, mined.transactions);
    }
}
