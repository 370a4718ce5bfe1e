//! A node or a vault that is not the configured one is refused with a message that says what to do.

use alloy::primitives::{Address, B256, U256, keccak256};
use async_trait::async_trait;
use laurel_chain::{
    Block, BlockRef, Call, CallError, ChainError, ChainNode, Fees, HttpNode, IdentityError, NonceAt,
    RewardVault, SendError, TxReceipt, TxStatus, deploy_block, identify_chain, require_vault_code,
    vault_code,
};

use crate::world::{CHAIN_ID, World};

#[tokio::test]
async fn the_right_chain_and_vault_are_recognised() {
    let world = World::new().await;
    let genesis = world.node.block(BlockRef::Number(0)).await.unwrap().unwrap().hash;
    assert_eq!(identify_chain(&world.node, CHAIN_ID).await.unwrap(), genesis);
    let code = vault_code(&world.node, CHAIN_ID, world.vault).await.unwrap();
    assert_eq!(code, keccak256(&RewardVault::DEPLOYED_BYTECODE));
    require_vault_code(CHAIN_ID, world.vault, code).unwrap();
}

#[tokio::test]
async fn another_chain_is_refused() {
    let world = World::new().await;
    let error = identify_chain(&world.node, 1).await.unwrap_err();
    assert!(matches!(error, IdentityError::OtherChain { chain_id: 1, found: CHAIN_ID }), "{error:?}");
    assert!(error.to_string().contains("correct chains.id or chains.rpc_urls"), "{error}");
}

#[tokio::test]
async fn a_node_that_is_down_is_named_as_such() {
    // Nothing listens on port 1.
    let node = HttpNode::new("http://127.0.0.1:1/secret-key").unwrap();
    let error = identify_chain(&node, CHAIN_ID).await.unwrap_err();
    assert!(error.to_string().contains("check that it runs and that chains.rpc_urls"), "{error}");
    let mut whole = format!("{error:?}");
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        whole += &format!("{cause} {cause:?}");
        source = cause.source();
    }
    assert!(!whole.contains("secret-key"), "the address may hold a key: {whole}");
}

#[test]
fn an_address_that_no_node_can_have_is_refused_without_showing_it() {
    for (url, saying) in [
        ("ws://127.0.0.1:8545/secret-key", "over http:// or https://, not ws://"),
        ("http://:secret-key", "is no address of a node"),
        ("secret-key", "is no address of a node"),
    ] {
        let error = HttpNode::new(url).unwrap_err();
        assert!(error.to_string().contains(saying), "{error}");
        assert!(!format!("{error} {error:?}").contains("secret-key"), "{error:?}");
    }
}

#[tokio::test]
async fn an_address_without_code_and_one_with_other_code_are_no_vault() {
    let world = World::new().await;
    let nobody = Address::repeat_byte(0x77);
    let error = vault_code(&world.node, CHAIN_ID, nobody).await.unwrap_err();
    assert!(matches!(error, IdentityError::NoVault { vault, .. } if vault == nobody), "{error:?}");
    assert!(error.to_string().contains("laurel deploy"), "{error}");

    let code = vault_code(&world.node, CHAIN_ID, world.token).await.unwrap();
    let error = require_vault_code(CHAIN_ID, world.token, code).unwrap_err();
    assert!(matches!(error, IdentityError::NotAVault { .. }), "{error:?}");
    assert!(error.to_string().contains("correct chains.vault"), "{error}");
}

#[tokio::test]
async fn the_deployment_is_found_and_a_wrong_one_refused() {
    let world = World::new().await;
    let (node, vault, block) = (&world.node, world.vault, world.deploy_block);
    assert_eq!(deploy_block(node, CHAIN_ID, vault, None).await.unwrap(), block);
    // An earlier block only takes longer.
    for configured in [0, block - 1, block] {
        assert_eq!(deploy_block(node, CHAIN_ID, vault, Some(configured)).await.unwrap(), configured);
    }
    let error = deploy_block(node, CHAIN_ID, vault, Some(block + 1)).await.unwrap_err();
    assert!(matches!(error, IdentityError::DeployedBefore { .. }), "{error:?}");
    let error = deploy_block(node, CHAIN_ID, vault, Some(block + 1_000)).await.unwrap_err();
    assert!(matches!(error, IdentityError::DeployedLater { .. }), "{error:?}");
}

#[tokio::test]
async fn a_node_that_has_forgotten_states_asks_for_the_block() {
    let world = World::new().await;
    let forgetful = Forgetful(world.node.clone());
    let error = deploy_block(&forgetful, CHAIN_ID, world.vault, None).await.unwrap_err();
    assert!(matches!(error, IdentityError::Pruned { .. }), "{error:?}");
    assert!(error.to_string().contains("set chains.deploy_block"), "{error}");
    let configured = Some(world.deploy_block);
    let found = deploy_block(&forgetful, CHAIN_ID, world.vault, configured).await.unwrap();
    assert_eq!(found, world.deploy_block);
    // A state that does not exist is what Anvil can refuse: the answer is the same.
    assert_eq!(world.node.code_at(world.vault, 1_000_000).await.unwrap(), None);
}

/// A node that keeps no old states.
#[derive(Debug)]
struct Forgetful(HttpNode);

#[async_trait]
impl ChainNode for Forgetful {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        self.0.chain_id().await
    }

    async fn block(&self, which: BlockRef) -> Result<Option<Block>, ChainError> {
        self.0.block(which).await
    }

    async fn receipts(&self, block: B256) -> Result<Option<Vec<TxReceipt>>, ChainError> {
        self.0.receipts(block).await
    }

    async fn transactions(&self, block: B256) -> Result<Option<Vec<alloy::primitives::Bytes>>, ChainError> {
        self.0.transactions(block).await
    }

    async fn nonce(&self, account: Address, at: NonceAt) -> Result<u64, ChainError> {
        self.0.nonce(account, at).await
    }

    async fn transaction(&self, hash: B256) -> Result<TxStatus, ChainError> {
        self.0.transaction(hash).await
    }

    async fn balance(&self, account: Address) -> Result<U256, ChainError> {
        self.0.balance(account).await
    }

    async fn fees(&self) -> Result<Fees, ChainError> {
        self.0.fees().await
    }

    async fn code(&self, account: Address) -> Result<alloy::primitives::Bytes, ChainError> {
        self.0.code(account).await
    }

    async fn code_at(&self, _: Address, _: u64) -> Result<Option<alloy::primitives::Bytes>, ChainError> {
        Ok(None)
    }

    async fn call(&self, call: Call) -> Result<alloy::primitives::Bytes, CallError> {
        self.0.call(call).await
    }

    async fn call_at(&self, call: Call, block: u64) -> Result<alloy::primitives::Bytes, CallError> {
        self.0.call_at(call, block).await
    }

    async fn send(&self, raw: alloy::primitives::Bytes) -> Result<B256, SendError> {
        self.0.send(raw).await
    }
}
