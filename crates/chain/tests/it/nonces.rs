//! Who used a nonce, on a node that keeps the states of its last blocks only.

use alloy::{
    consensus::{SignableTransaction as _, TxEip7702, TxEnvelope},
    eips::{eip2718::Encodable2718 as _, eip7702::Authorization},
    primitives::{Address, B256, Signature, U256},
    signers::{SignerSync as _, local::PrivateKeySigner},
};
use laurel_chain::{
    ChainError, ChainNode, HttpNode, LaneSigner, LocalKey, NonceAt, NonceUse, NonceUser, TxRequest,
    find_nonce_use,
};
use laurel_devnet::{Anvil, AnvilOptions, Mining, chain_control::ChainControl, dev_keys::DEV_KEYS};
use rstest::rstest;

use crate::world::CHAIN_ID;

const STATES_KEPT: u32 = 8;

/// The blocks of the account's two transactions, and the last one.
const FIRST: u64 = 4;
const SECOND: u64 = 30;
const HEAD: u64 = 34;

struct World {
    node: HttpNode,
    control: ChainControl,
    key: LocalKey,
    _anvil: Anvil,
}

impl World {
    async fn new() -> Self {
        let options = AnvilOptions { states_kept: Some(STATES_KEPT), ..AnvilOptions::new(Mining::OnDemand) };
        let anvil = Anvil::start(options).await.unwrap();
        let (node, control) =
            (HttpNode::new(anvil.rpc_url()).unwrap(), ChainControl::new(anvil.rpc_url()).unwrap());
        let key = LocalKey::from_hex(DEV_KEYS[1].secret).unwrap();
        let world = Self { node, control, key, _anvil: anvil };
        world.control.mine(FIRST - 1).await.unwrap();
        world.send(0).await;
        world.control.mine(SECOND - FIRST).await.unwrap();
        world.send(1).await;
        world.control.mine(HEAD - SECOND + 1).await.unwrap();
        world
    }

    /// Leaves a transaction for the next block.
    async fn send(&self, nonce: u64) {
        let fees = self.node.fees().await.unwrap();
        let request = TxRequest {
            chain_id: CHAIN_ID,
            nonce,
            to: Some(self.key.address()),
            data: Default::default(),
            gas_limit: 21_000,
            max_fee_per_gas: fees.base_fee * 2 + fees.priority_fee,
            max_priority_fee_per_gas: fees.priority_fee,
        };
        self.node.send(self.key.sign(&request).unwrap().raw).await.unwrap();
    }

    async fn find(&self, nonce: u64, first: u64, last: u64, read_max: u64) -> Result<NonceUse, ChainError> {
        find_nonce_use(&self.node, self.key.address(), nonce, first..=last, read_max).await
    }
}

#[rstest]
#[case::in_a_kept_state(1, 0, HEAD, Some(SECOND))]
#[case::in_the_last_block_asked_about(1, 0, SECOND, Some(SECOND))]
#[case::in_the_first_block_asked_about(1, SECOND, HEAD, Some(SECOND))]
#[case::in_a_block_whose_state_is_gone(0, 0, HEAD, Some(FIRST))]
#[case::in_the_first_of_such_blocks(0, FIRST, HEAD, Some(FIRST))]
#[case::in_the_last_of_such_blocks(0, 0, FIRST, Some(FIRST))]
#[tokio::test]
async fn the_user_of_a_nonce_is_found(
    #[case] nonce: u64,
    #[case] first: u64,
    #[case] last: u64,
    #[case] block: Option<u64>,
) {
    let world = World::new().await;
    let gone = world.node.nonce(world.key.address(), NonceAt::Block(FIRST)).await;
    assert!(gone.is_err(), "the state of block {FIRST} is kept: {gone:?}");
    let found = world.find(nonce, first, last, 100).await.unwrap();
    let NonceUse::By(NonceUser { block_number, block_hash, tx }) = found else { panic!("{found:?}") };
    assert_eq!(Some(block_number), block);
    let transactions = world.node.transactions(block_hash).await.unwrap().unwrap();
    let hashes: Vec<B256> = transactions.iter().map(alloy::primitives::keccak256).collect();
    assert_eq!(hashes, [tx]);
}

#[rstest]
#[case::that_is_next(2, 0, HEAD, NonceUse::Unused)]
#[case::that_is_used_after_those(1, 0, SECOND - 1, NonceUse::Unused)]
#[case::that_is_next_to_no_blocks(2, HEAD + 1, HEAD, NonceUse::Unused)]
#[case::that_was_used_before_those(1, SECOND + 1, HEAD, NonceUse::Earlier)]
#[case::that_was_used_before_those_of_which_no_state_is_left(0, FIRST + 1, HEAD, NonceUse::Earlier)]
#[case::that_was_used_before_no_blocks(1, HEAD + 1, HEAD, NonceUse::Earlier)]
#[tokio::test]
async fn a_nonce_without_a_user_in_these_blocks(
    #[case] nonce: u64,
    #[case] first: u64,
    #[case] last: u64,
    #[case] expected: NonceUse,
) {
    let world = World::new().await;
    assert_eq!(world.find(nonce, first, last, 100).await.unwrap(), expected);
}

#[tokio::test]
async fn a_search_that_would_read_too_much_is_given_up() {
    let world = World::new().await;
    let error = world.find(0, 0, HEAD, 5).await.unwrap_err();
    assert!(matches!(error, ChainError::TooFarBack { nonce: 0, .. }), "{error:?}");
}

/// Whoever has the account's key signs an authorization (EIP-7702), and anybody sends it.
#[tokio::test]
async fn the_user_of_a_nonce_may_be_somebody_elses_transaction() {
    let world = World::new().await;
    let sent = authorized(&world, 2).await;
    assert_eq!(world.node.nonce(world.key.address(), NonceAt::Latest).await.unwrap(), 3);
    let found = world.find(2, 0, HEAD + 3, 100).await.unwrap();
    let NonceUse::By(user) = found else { panic!("{found:?}") };
    assert_eq!((user.tx, user.block_number), (sent, HEAD + 1));
}

/// It is in a block, and has changed nothing.
#[tokio::test]
async fn an_authorization_that_comes_too_late_has_used_nothing() {
    let world = World::new().await;
    for nonce in [0, 1] {
        let before = world.find(nonce, 0, HEAD, 100).await.unwrap();
        authorized(&world, nonce).await;
        // No state that could tell is left.
        world.control.mine(20).await.unwrap();
        let head = world.control.block_number().await.unwrap();
        assert_eq!(world.find(nonce, 0, head, 100).await.unwrap(), before);
    }
    assert_eq!(world.node.nonce(world.key.address(), NonceAt::Latest).await.unwrap(), 2);
}

/// Somebody sends an authorization of the account with this nonce, and some blocks are made. Returns its hash.
async fn authorized(world: &World, nonce: u64) -> B256 {
    let authorization = Authorization { chain_id: U256::from(CHAIN_ID), address: Address::ZERO, nonce };
    let signature = signed(DEV_KEYS[1].secret, authorization.signature_hash());
    let fees = world.node.fees().await.unwrap();
    let request = TxEip7702 {
        chain_id: CHAIN_ID,
        nonce: world.node.nonce(DEV_KEYS[2].address.parse().unwrap(), NonceAt::Latest).await.unwrap(),
        gas_limit: 100_000,
        max_fee_per_gas: fees.base_fee * 2 + fees.priority_fee,
        max_priority_fee_per_gas: fees.priority_fee,
        to: DEV_KEYS[2].address.parse().unwrap(),
        authorization_list: vec![authorization.into_signed(signature)],
        ..TxEip7702::default()
    };
    let signature = signed(DEV_KEYS[2].secret, request.signature_hash());
    let sent = TxEnvelope::from(request.into_signed(signature));
    world.node.send(sent.encoded_2718().into()).await.unwrap();
    world.control.mine(3).await.unwrap();
    *sent.tx_hash()
}

fn signed(secret: &str, hash: B256) -> Signature {
    let signer: PrivateKeySigner = secret.parse().unwrap();
    signer.sign_hash_sync(&hash).unwrap()
}
