//! A node that tells what was recorded from a real one, so that a fault can be forced.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use alloy::primitives::{Address, B256, Bytes, U256};
use async_trait::async_trait;
use laurel_chain::{
    Block, BlockRef, Call, CallError, ChainError, ChainNode, Fees, NonceAt, RPC_TIMEOUT, SendError,
    TxReceipt, TxStatus,
};
use tokio::sync::Semaphore;

use crate::chain::{CHAIN_ID, Chain};

/// Real blocks from the first to a head.
#[derive(Clone, Debug)]
pub(crate) struct Branch {
    pub(crate) blocks: Vec<Block>,
    pub(crate) receipts: HashMap<B256, Vec<TxReceipt>>,
    pub(crate) transactions: HashMap<B256, Vec<Bytes>>,
}

impl Branch {
    /// The whole chain as it is now.
    pub(crate) async fn of(chain: &Chain) -> Self {
        let mut branch = Self { blocks: Vec::new(), receipts: HashMap::new(), transactions: HashMap::new() };
        for number in 0..=chain.head().await.header.number {
            let block = chain.block(number).await;
            let receipts = chain.node.receipts(block.hash).await.unwrap().unwrap();
            branch.receipts.insert(block.hash, receipts);
            let transactions = chain.node.transactions(block.hash).await.unwrap().unwrap();
            branch.transactions.insert(block.hash, transactions);
            branch.blocks.push(block);
        }
        branch
    }

    /// The same up to the block `number`.
    pub(crate) fn to(&self, number: u64) -> Self {
        let mut branch = self.clone();
        branch.blocks.truncate(usize::try_from(number).unwrap() + 1);
        branch
    }

    pub(crate) fn head(&self) -> &Block {
        self.blocks.last().unwrap()
    }

    pub(crate) fn block(&self, number: u64) -> Option<&Block> {
        self.blocks.get(usize::try_from(number).unwrap())
    }
}

/// What a node says.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// Its chain.
    pub(crate) branch: Branch,
    /// What it calls final; two blocks behind the head without.
    pub(crate) finalized: Option<Block>,
    /// What it calls its head; the branch's without.
    pub(crate) latest: Option<Block>,
    /// How many questions it answers before it is silent; all without.
    pub(crate) answers: Option<u32>,
}

impl Script {
    fn of(branch: Branch) -> Self {
        Self { branch, finalized: None, latest: None, answers: None }
    }
}

/// A node that follows a script.
#[derive(Debug)]
pub(crate) struct Recorded {
    script: Mutex<Script>,
    gate: Option<Gate>,
}

/// Where a replica is stopped: at its first question for receipts.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) reached: Semaphore,
    pub(crate) opened: Semaphore,
}

impl Recorded {
    pub(crate) fn new(branch: Branch) -> Arc<Self> {
        Arc::new(Self { script: Mutex::new(Script::of(branch)), gate: None })
    }

    pub(crate) fn gated(branch: Branch) -> Arc<Self> {
        let gate = Gate { reached: Semaphore::new(0), opened: Semaphore::new(0) };
        Arc::new(Self { script: Mutex::new(Script::of(branch)), gate: Some(gate) })
    }

    pub(crate) fn gate(&self) -> &Gate {
        self.gate.as_ref().unwrap()
    }

    /// Follows another branch from now on.
    pub(crate) fn follow(&self, branch: &Branch) {
        self.change(|script| script.branch = branch.clone());
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    fn script(&self) -> Result<Script, ChainError> {
        let mut script = self.script.lock().unwrap();
        match &mut script.answers {
            Some(0) => return Err(ChainError::TimedOut { operation: "anything", after: RPC_TIMEOUT }),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(script.clone())
    }
}

fn not_recorded(operation: &'static str) -> ChainError {
    ChainError::Untrue(format!("{operation} was not recorded"))
}

#[async_trait]
impl ChainNode for Recorded {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        self.script().map(|_| CHAIN_ID)
    }

    async fn block(&self, which: BlockRef) -> Result<Option<Block>, ChainError> {
        let Script { branch, finalized, latest, .. } = self.script()?;
        Ok(match which {
            BlockRef::Latest => Some(latest.unwrap_or_else(|| branch.head().clone())),
            BlockRef::Finalized => {
                let number = branch.head().header.number.saturating_sub(2);
                finalized.or_else(|| branch.block(number).cloned())
            }
            BlockRef::Number(number) => branch.block(number).cloned(),
            BlockRef::Hash(hash) => branch.blocks.into_iter().find(|block| block.hash == hash),
        })
    }

    async fn receipts(&self, block: B256) -> Result<Option<Vec<TxReceipt>>, ChainError> {
        if let Some(gate) = &self.gate {
            gate.reached.add_permits(1);
            gate.opened.acquire().await.unwrap().forget();
        }
        Ok(self.script()?.branch.receipts.get(&block).cloned())
    }

    async fn transactions(&self, block: B256) -> Result<Option<Vec<Bytes>>, ChainError> {
        Ok(self.script()?.branch.transactions.get(&block).cloned())
    }

    async fn nonce(&self, _: Address, _: NonceAt) -> Result<u64, ChainError> {
        Err(not_recorded("eth_getTransactionCount"))
    }

    async fn transaction(&self, _: B256) -> Result<TxStatus, ChainError> {
        Err(not_recorded("eth_getTransactionByHash"))
    }

    async fn balance(&self, _: Address) -> Result<U256, ChainError> {
        Err(not_recorded("eth_getBalance"))
    }

    async fn fees(&self) -> Result<Fees, ChainError> {
        Err(not_recorded("eth_feeHistory"))
    }

    async fn code(&self, _: Address) -> Result<Bytes, ChainError> {
        Err(not_recorded("eth_getCode"))
    }

    async fn code_at(&self, _: Address, _: u64) -> Result<Option<Bytes>, ChainError> {
        Err(not_recorded("eth_getCode"))
    }

    async fn call(&self, _: Call) -> Result<Bytes, CallError> {
        Err(not_recorded("eth_call").into())
    }

    async fn call_at(&self, _: Call, _: u64) -> Result<Bytes, CallError> {
        Err(not_recorded("eth_call").into())
    }

    async fn send(&self, _: Bytes) -> Result<B256, SendError> {
        Err(SendError::PerhapsSent(not_recorded("eth_sendRawTransaction")))
    }
}
