//! An Anvil with a vault, a funded campaign and a lane that settles.

use std::sync::atomic::{AtomicU64, Ordering};

use alloy::{
    primitives::{Address, B256, Bytes, U256, keccak256},
    sol_types::{SolCall, SolConstructor},
};
use laurel_chain::{
    BlockRef, ChainNode, GrantWord, HttpNode, LaneSigner, LocalKey, RewardToken, RewardVault, Settlement,
    SettlementSegment, SignedTx, Terms, TxRequest,
};
use laurel_devnet::{Anvil, Mining, chain_control::ChainControl, dev_keys::DEV_KEYS, testing};
use laurel_events::{Amount, CampaignId};
use laurel_ledger::VaultIdentity;

pub(crate) const CHAIN_ID: u64 = 31_337;

/// The campaign that the lane settles for.
pub(crate) const CAMPAIGN: u64 = 7;

/// Above what any transaction of these tests uses.
const GAS: u64 = 8_000_000;

/// What each grant pays.
pub(crate) const AMOUNT: u64 = 5;

pub(crate) struct Chain {
    pub(crate) node: HttpNode,
    pub(crate) control: ChainControl,
    pub(crate) owner: LocalKey,
    pub(crate) lane: LocalKey,
    pub(crate) token: Address,
    pub(crate) vault: Address,
    owner_nonce: AtomicU64,
    lane_nonce: AtomicU64,
    anvil: Anvil,
}

impl Chain {
    /// A chain whose vault and token are in its latest block. It mines when told.
    pub(crate) async fn new() -> Self {
        let anvil = testing::anvil(Mining::OnDemand).await.unwrap();
        let owner = LocalKey::from_hex(DEV_KEYS[0].secret).unwrap();
        let (token, vault) = (owner.address().create(0), owner.address().create(1));
        let chain = Self {
            node: HttpNode::new(anvil.rpc_url()).unwrap(),
            control: ChainControl::new(anvil.rpc_url()).unwrap(),
            owner,
            lane: LocalKey::from_hex(DEV_KEYS[1].secret).unwrap(),
            token,
            vault,
            owner_nonce: AtomicU64::new(0),
            lane_nonce: AtomicU64::new(0),
            anvil,
        };
        chain.mine(5).await;
        let owner = chain.owner.address();
        let of_token = RewardToken::constructorCall {
            name_: "Token".to_owned(),
            symbol_: "T".to_owned(),
            owner_: owner,
        };
        let of_vault = RewardVault::constructorCall { owner_: owner, guardian_: owner };
        chain.own(None, [RewardToken::BYTECODE.as_ref(), &of_token.abi_encode()].concat()).await;
        chain.own(None, [RewardVault::BYTECODE.as_ref(), &of_vault.abi_encode()].concat()).await;
        let mint = RewardToken::mintCall { to: vault, amount: U256::from(1_000_000) };
        chain.own(Some(token), mint.abi_encode()).await;
        let allow = RewardVault::setOperatorCall { operator: chain.lane.address(), allowed: true };
        chain.own(Some(vault), allow.abi_encode()).await;
        chain.mine(1).await;
        chain
    }

    /// As [`Chain::new`], with the campaign open and everything so far final.
    pub(crate) async fn funded() -> Self {
        let chain = Self::new().await;
        chain.open(CAMPAIGN, 100_000).await;
        chain.mine(6).await;
        chain
    }

    /// What the vault is recognised by.
    pub(crate) async fn identity(&self) -> VaultIdentity {
        VaultIdentity {
            chain_id: CHAIN_ID,
            genesis_hash: self.block(0).await.hash,
            vault: self.vault,
            code_hash: keccak256(self.node.code(self.vault).await.unwrap()),
            deploy_block: 6,
        }
    }

    /// Where its node is.
    pub(crate) fn rpc_url(&self) -> &str {
        self.anvil.rpc_url()
    }

    pub(crate) async fn mine(&self, blocks: u64) {
        self.control.mine(blocks).await.unwrap();
    }

    pub(crate) async fn head(&self) -> laurel_chain::Block {
        self.node.block(BlockRef::Latest).await.unwrap().unwrap()
    }

    pub(crate) async fn block(&self, number: u64) -> laurel_chain::Block {
        self.node.block(BlockRef::Number(number)).await.unwrap().unwrap()
    }

    /// Leaves a transaction of the owner with the node.
    pub(crate) async fn own(&self, to: Option<Address>, data: Vec<u8>) -> SignedTx {
        let nonce = self.owner_nonce.fetch_add(1, Ordering::SeqCst);
        let signed = self.signed(&self.owner, nonce, to, data.into()).await;
        self.node.send(signed.raw.clone()).await.unwrap();
        signed
    }

    /// Leaves the opening of a campaign with the node.
    pub(crate) async fn open(&self, campaign: u64, cap: u64) -> SignedTx {
        let call = RewardVault::openCall { campaign, terms: self.terms(cap) };
        self.own(Some(self.vault), call.abi_encode()).await
    }

    fn terms(&self, cap: u64) -> Terms {
        Terms {
            token: self.token,
            batch: true,
            grantGas: 100_000,
            cap: U256::from(cap).to(),
            windowLimit: U256::ZERO.to(),
            window: 0,
        }
    }

    /// Two more vaults with tokens, owned by the contract that [`Chain::open_in_both`] makes.
    pub(crate) async fn two_vaults_of_a_contract(&self) -> [Address; 2] {
        let nonce = self.owner_nonce.load(Ordering::SeqCst);
        let (first, second) = (self.owner.address().create(nonce), self.owner.address().create(nonce + 1));
        let contract = self.owner.address().create(nonce + 4);
        let of_vault = RewardVault::constructorCall { owner_: contract, guardian_: contract };
        for _ in [first, second] {
            self.own(None, [RewardVault::BYTECODE.as_ref(), &of_vault.abi_encode()].concat()).await;
        }
        for to in [first, second] {
            let mint = RewardToken::mintCall { to, amount: U256::from(1_000_000) };
            self.own(Some(self.token), mint.abi_encode()).await;
        }
        [first, second]
    }

    /// A contract whose making opens a campaign in each vault: one transaction, two vaults.
    pub(crate) async fn open_in_both(&self, vaults: [Address; 2]) -> SignedTx {
        let data = RewardVault::openCall { campaign: 3, terms: self.terms(1_000) }.abi_encode();
        let size = u16::try_from(data.len()).unwrap().to_be_bytes();
        // Per vault 39 bytes: CODECOPY of the data behind the code, then CALL, then POP. STOP ends it.
        let at = (39_u16 * 2 + 1).to_be_bytes();
        let mut code = Vec::new();
        for vault in vaults {
            code.extend([&[0x61], &size[..], &[0x61], &at, &[0x5f, 0x39]].concat());
            code.extend([&[0x5f, 0x5f, 0x61], &size[..], &[0x5f, 0x5f, 0x73], vault.as_slice()].concat());
            code.extend([0x5a, 0xf1, 0x50]);
        }
        code.push(0x00);
        self.own(None, [code, data].concat()).await
    }

    /// A signed settlement of `count` grants from `first_seq` on, with the lane's next nonce; not sent yet.
    pub(crate) async fn settlement(&self, first_seq: u64, count: u64) -> SignedTx {
        let deadline = self.head().await.header.timestamp + 600;
        let data = Settlement { deadline, segments: vec![segment(first_seq, count)] }.calldata();
        self.of_lane(data).await
    }

    /// A signed cancellation of places of the campaign, with the lane's next nonce; not sent yet.
    pub(crate) async fn cancellation(&self, word: u64, mask: u64) -> SignedTx {
        let call = RewardVault::cancelCall { campaign: 7, word, mask: U256::from(mask) };
        self.of_lane(call.abi_encode().into()).await
    }

    /// A signed settlement of two segments that begin at `first_seq`: the first has a hole where the second pays.
    pub(crate) async fn settlement_of_one_seq_twice(&self, first_seq: u64) -> SignedTx {
        let deadline = self.head().await.header.timestamp + 600;
        let mut segments = vec![segment(first_seq, 2), segment(first_seq, 2)];
        segments[0].words[1] = B256::ZERO;
        segments[1].words[0] = B256::ZERO;
        self.of_lane(Settlement { deadline, segments }.calldata()).await
    }

    /// A signed settlement that reverts: its time is over.
    pub(crate) async fn expired_settlement(&self) -> SignedTx {
        let data = Settlement { deadline: 1, segments: vec![segment(0, 1)] }.calldata();
        self.of_lane(data).await
    }

    /// A signed transaction that settles nothing, with the nonce of a settlement signed before it.
    pub(crate) async fn empty_in_the_place_of(&self, settlement: &SignedTx) -> SignedTx {
        let before = TxRequest::decode(&settlement.raw).unwrap();
        let (max_fee_per_gas, tip) = (before.max_fee_per_gas * 2, before.max_priority_fee_per_gas * 2);
        let to = Some(self.lane.address());
        let request =
            TxRequest { to, data: Bytes::new(), max_fee_per_gas, max_priority_fee_per_gas: tip, ..before };
        self.lane.sign(&request).unwrap()
    }

    async fn of_lane(&self, data: Bytes) -> SignedTx {
        let nonce = self.lane_nonce.fetch_add(1, Ordering::SeqCst);
        self.signed(&self.lane, nonce, Some(self.vault), data).await
    }

    async fn signed(&self, key: &LocalKey, nonce: u64, to: Option<Address>, data: Bytes) -> SignedTx {
        let fees = self.node.fees().await.unwrap();
        let request = TxRequest {
            chain_id: CHAIN_ID,
            nonce,
            to,
            data,
            gas_limit: GAS,
            max_fee_per_gas: fees.base_fee * 2 + fees.priority_fee,
            max_priority_fee_per_gas: fees.priority_fee,
        };
        key.sign(&request).unwrap()
    }
}

/// Grants of [`AMOUNT`] each, to a recipient per sequence number.
pub(crate) fn segment(first_seq: u64, count: u64) -> SettlementSegment {
    let word = |seq: u64| {
        let recipient = Address::from_word(B256::from(U256::from(0x0100_0000 + seq)));
        GrantWord::new(recipient, Amount::from(AMOUNT)).unwrap().encode()
    };
    SettlementSegment {
        campaign: CampaignId::from(CAMPAIGN),
        first_seq,
        words: (first_seq..first_seq + count).map(word).collect(),
    }
}
