//! An Anvil with the contracts on it.

use alloy::{
    primitives::{Address, Bytes, U256},
    sol_types::{SolCall, SolConstructor},
};
use laurel_chain::{
    BlockRef, ChainNode, HttpNode, LaneSigner, LocalKey, NonceAt, RewardToken, RewardVault, TxRequest,
};
use laurel_devnet::{Anvil, Mining, chain_control::ChainControl, dev_keys::DEV_KEYS, testing};

pub(crate) const CHAIN_ID: u64 = 31_337;

/// Above what any transaction of these tests uses.
const GAS: u64 = 8_000_000;

pub(crate) struct World {
    pub(crate) node: HttpNode,
    pub(crate) control: ChainControl,
    pub(crate) owner: LocalKey,
    pub(crate) token: Address,
    pub(crate) vault: Address,
    /// The block that the vault was deployed in.
    pub(crate) deploy_block: u64,
    pub(crate) anvil: Anvil,
}

impl World {
    /// A chain on which a few blocks came before the contracts, and a few after; the owner has tokens, the vault too.
    pub(crate) async fn new() -> Self {
        let anvil = testing::anvil(Mining::OnDemand).await.unwrap();
        let control = ChainControl::new(anvil.rpc_url()).unwrap();
        let node = HttpNode::new(anvil.rpc_url()).unwrap();
        let owner = LocalKey::from_hex(DEV_KEYS[0].secret).unwrap();
        let (token, vault) = (owner.address().create(0), owner.address().create(1));
        let mut world = Self { node, control, owner, token, vault, deploy_block: 0, anvil };
        world.control.mine(5).await.unwrap();
        let of_token = RewardToken::constructorCall {
            name_: "Token".to_owned(),
            symbol_: "T".to_owned(),
            owner_: world.owner.address(),
        };
        let of_vault =
            RewardVault::constructorCall { owner_: world.owner.address(), guardian_: world.owner.address() };
        world.send(None, [RewardToken::BYTECODE.as_ref(), &of_token.abi_encode()].concat()).await;
        world.send(None, [RewardVault::BYTECODE.as_ref(), &of_vault.abi_encode()].concat()).await;
        for to in [world.owner.address(), vault] {
            let mint = RewardToken::mintCall { to, amount: U256::from(1_000_000) };
            world.send(Some(token), mint.abi_encode()).await;
        }
        world.control.mine(1).await.unwrap();
        world.deploy_block = world.control.block_number().await.unwrap();
        world.control.mine(5).await.unwrap();
        world
    }

    /// Leaves a transaction of the owner with the node, for the next block.
    pub(crate) async fn send(&self, to: Option<Address>, data: Vec<u8>) {
        let nonce = self.node.nonce(self.owner.address(), NonceAt::Pending).await.unwrap();
        let fees = self.node.fees().await.unwrap();
        let request = TxRequest {
            chain_id: CHAIN_ID,
            nonce,
            to,
            data: Bytes::from(data),
            gas_limit: GAS,
            max_fee_per_gas: fees.base_fee * 2 + fees.priority_fee,
            max_priority_fee_per_gas: fees.priority_fee,
        };
        self.node.send(self.owner.sign(&request).unwrap().raw).await.unwrap();
    }

    pub(crate) async fn head(&self) -> laurel_chain::Block {
        self.node.block(BlockRef::Latest).await.unwrap().unwrap()
    }
}
