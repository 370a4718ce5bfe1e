//! A node that says what is not so: alone among several, it must neither move money nor stop anything for good.

use std::sync::{Arc, Mutex, PoisonError};

use alloy::{
    consensus::{
        EMPTY_ROOT_HASH, Receipt, ReceiptEnvelope,
        constants::{EMPTY_RECEIPTS, EMPTY_TRANSACTIONS},
    },
    primitives::{Address, B256, Bytes, U256, keccak256},
};
use async_trait::async_trait;
use laurel_chain::{
    Block, BlockRef, Call, CallError, ChainError, ChainNode, Fees, NonceAt, SendError, TxReceipt, TxStatus,
};
use rand::Rng;

use super::{Shared, SimNode};
use crate::dice::Fault;

/// How many answers are lies, of those that can be.
const LIES: f64 = 0.1;

/// How much more gas costs by a lie.
const DEAR: u128 = 1_000;

/// How far a block that it makes up is ahead, at the most.
const AHEAD_S: u64 = 7_200;

/// A node that lies.
#[derive(Debug)]
pub(crate) struct Liar {
    node: SimNode,
    shared: Arc<Shared>,
    /// The block that it made up last.
    made_up: Mutex<Option<Block>>,
}

impl Liar {
    pub(crate) fn new(node: SimNode, shared: Arc<Shared>) -> Self {
        Self { node, shared, made_up: Mutex::new(None) }
    }

    fn lies(&self) -> bool {
        self.shared.dice().strikes(Fault::NodeLies, LIES)
    }

    /// The block that it made up, if `is` it.
    fn made_up(&self, is: impl FnOnce(&Block) -> bool) -> Option<Block> {
        self.made_up.lock().unwrap_or_else(PoisonError::into_inner).clone().filter(is)
    }

    /// Puts a block on another that nobody else has, with nothing in it.
    fn make_up(&self, parent: &Block) -> Block {
        let mut header = parent.header.clone();
        (header.parent_hash, header.number) = (parent.hash, parent.header.number + 1);
        header.timestamp += self.shared.dice().rng.random_range(1..AHEAD_S);
        (header.gas_used, header.logs_bloom) = (0, Default::default());
        (header.transactions_root, header.receipts_root) = (EMPTY_TRANSACTIONS, EMPTY_RECEIPTS);
        header.state_root = EMPTY_ROOT_HASH;
        let block = Block { hash: header.hash_slow(), header, transactions: Vec::new() };
        *self.made_up.lock().unwrap_or_else(PoisonError::into_inner) = Some(block.clone());
        block
    }
}

#[async_trait]
impl ChainNode for Liar {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        let id = self.node.chain_id().await?;
        Ok(if self.lies() { id + 1 } else { id })
    }

    async fn block(&self, which: BlockRef) -> Result<Option<Block>, ChainError> {
        let made_up = match which {
            BlockRef::Hash(hash) => self.made_up(|block| block.hash == hash),
            BlockRef::Number(number) => self.made_up(|block| block.header.number == number),
            BlockRef::Latest | BlockRef::Finalized => None,
        };
        if made_up.is_some() {
            return Ok(made_up);
        }
        match which {
            BlockRef::Latest if self.lies() => {
                let head = self.node.block(which).await?;
                Ok(head.map(|head| self.make_up(&head)))
            }
            // What is not final yet, or what nobody else has.
            BlockRef::Finalized if self.lies() => {
                let head = self.node.block(BlockRef::Latest).await?;
                Ok(if self.lies() { head.map(|head| self.make_up(&head)) } else { head })
            }
            _ => self.node.block(which).await,
        }
    }

    async fn receipts(&self, block: B256) -> Result<Option<Vec<TxReceipt>>, ChainError> {
        if self.made_up(|made_up| made_up.hash == block).is_some() {
            return Ok(Some(Vec::new()));
        }
        let mut receipts = self.node.receipts(block).await?;
        if let Some(last) = receipts.as_mut().and_then(|receipts| receipts.last_mut())
            && self.lies()
        {
            let cumulative_gas_used = last.receipt.cumulative_gas_used();
            let failed = Receipt { status: false.into(), cumulative_gas_used, logs: Vec::new() };
            last.receipt = ReceiptEnvelope::Eip1559(failed.with_bloom());
        }
        Ok(receipts)
    }

    async fn transactions(&self, block: B256) -> Result<Option<Vec<Bytes>>, ChainError> {
        if self.made_up(|made_up| made_up.hash == block).is_some() {
            return Ok(Some(Vec::new()));
        }
        let mut transactions = self.node.transactions(block).await?;
        if let Some(transactions) = transactions.as_mut().filter(|all| !all.is_empty())
            && self.lies()
        {
            transactions.pop();
        }
        Ok(transactions)
    }

    async fn nonce(&self, account: Address, at: NonceAt) -> Result<u64, ChainError> {
        let nonce = self.node.nonce(account, at).await?;
        if !self.lies() {
            return Ok(nonce);
        }
        Ok(if self.shared.dice().rng.random_bool(0.5) { nonce + 1 } else { 0 })
    }

    async fn transaction(&self, hash: B256) -> Result<TxStatus, ChainError> {
        let status = self.node.transaction(hash).await?;
        if !self.lies() {
            return Ok(status);
        }
        Ok(match status {
            TxStatus::Mined(_) => TxStatus::Unknown,
            TxStatus::Waiting | TxStatus::Unknown => TxStatus::Mined(keccak256(hash)),
        })
    }

    async fn balance(&self, account: Address) -> Result<U256, ChainError> {
        let balance = self.node.balance(account).await?;
        Ok(if self.lies() { U256::ZERO } else { balance })
    }

    async fn fees(&self) -> Result<Fees, ChainError> {
        let Fees { base_fee, priority_fee } = self.node.fees().await?;
        let dearer = |fee| if self.lies() { fee * DEAR } else { fee };
        Ok(Fees { base_fee: dearer(base_fee), priority_fee: dearer(priority_fee) })
    }

    async fn code(&self, account: Address) -> Result<Bytes, ChainError> {
        self.node.code(account).await
    }

    async fn code_at(&self, account: Address, number: u64) -> Result<Option<Bytes>, ChainError> {
        self.node.code_at(account, number).await
    }

    async fn call(&self, call: Call) -> Result<Bytes, CallError> {
        self.node.call(call).await
    }

    async fn call_at(&self, call: Call, block: u64) -> Result<Bytes, CallError> {
        self.node.call_at(call, block).await
    }

    /// Says that it takes the transaction, and throws it away.
    async fn send(&self, raw: Bytes) -> Result<B256, SendError> {
        if self.lies() { Ok(keccak256(&raw)) } else { self.node.send(raw).await }
    }
}
