//! A node that tells of the chain, as well as nodes do.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    rpc::json_rpc::ErrorPayload,
    transports::RpcError,
};
use async_trait::async_trait;
use laurel_chain::{
    Block, BlockRef, Call, CallError, ChainError, ChainNode, Fees, NonceAt, RPC_TIMEOUT, Refusal, SendError,
    TxReceipt, TxStatus,
};
use laurel_ledger::faults::{Side, reach};
use rand::Rng;

use super::{Sealed, SimChain};
use crate::{
    dice::{Dice, Fault},
    trace::Trace,
};

/// A tip that gets into blocks: 0.1 gwei, as the real node says when it knows none.
const TIP: u128 = 100_000_000;

/// How often, at the most, a node is asked while it lags.
const SPELL_MAX: u32 = 24;

/// What everything in a world shares.
#[derive(Debug)]
pub(crate) struct Shared {
    chain: Mutex<SimChain>,
    dice: Mutex<Dice>,
    trace: Mutex<Trace>,
}

impl Shared {
    pub(crate) fn new(chain: SimChain, dice: Dice, trace: Trace) -> Arc<Self> {
        Arc::new(Self { chain: Mutex::new(chain), dice: Mutex::new(dice), trace: Mutex::new(trace) })
    }

    pub(crate) fn chain(&self) -> MutexGuard<'_, SimChain> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn dice(&self) -> MutexGuard<'_, Dice> {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tell(&self, line: String) {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner).tell(line);
    }

    pub(crate) fn take_trace(&self) -> Trace {
        std::mem::take(&mut *self.trace.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// While a node tells of an older head.
struct Spell {
    head: Arc<Sealed>,
    left: u32,
}

/// A replica's node.
pub(crate) struct SimNode {
    name: String,
    shared: Arc<Shared>,
    spell: Mutex<Option<Spell>>,
}

impl fmt::Debug for SimNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimNode").field("name", &self.name).finish_non_exhaustive()
    }
}

impl SimNode {
    pub(crate) fn new(name: String, shared: Arc<Shared>) -> Self {
        Self { name, shared, spell: Mutex::new(None) }
    }

    /// Asks a question as of the head that the node knows. May not be answered.
    async fn ask<T>(
        &self,
        operation: &'static str,
        answer: impl FnOnce(&SimChain, &Arc<Sealed>) -> T,
    ) -> Result<T, ChainError> {
        let timed_out = ChainError::TimedOut { operation, after: RPC_TIMEOUT };
        if reach(operation, Side::Before).await.is_err() {
            return Err(timed_out);
        }
        let chain = self.shared.chain();
        let mut dice = self.shared.dice();
        if dice.strikes(Fault::NodeTimesOut, 0.01) {
            return Err(timed_out);
        }
        let head = self.head(&chain, &mut dice);
        drop(dice);
        Ok(answer(&chain, &head))
    }

    /// The head that the node knows: the chain's, or an older one for a while. It is never off the final chain.
    fn head(&self, chain: &SimChain, dice: &mut Dice) -> Arc<Sealed> {
        let mut spell = self.spell.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lagging) = spell.as_mut() {
            lagging.left -= 1;
            let final_block = chain.canonical(chain.final_number()).map(|block| block.block.hash);
            let below = chain.ancestor(&lagging.head, chain.final_number()).map(|block| block.block.hash);
            if lagging.left > 0 && dice.on && below.is_some() && below == final_block {
                return lagging.head.clone();
            }
            *spell = None;
        }
        let head = chain.head().clone();
        if chain.unfinal() > 0 && dice.strikes(Fault::NodeLags, 0.01) {
            let behind = dice.rng.random_range(0..=chain.unfinal());
            let number = head.block.header.number - behind;
            let left = dice.rng.random_range(1..SPELL_MAX);
            let older = chain.ancestor(&head, number).unwrap_or_else(|| head.clone());
            *spell = Some(Spell { head: older.clone(), left });
            return older;
        }
        head
    }

    /// Whether the node says that it does not have what it was asked for.
    fn forgets(&self) -> bool {
        self.shared.dice().strikes(Fault::NodeForgets, 0.01)
    }

    async fn call_on(
        &self,
        call: Call,
        at: impl FnOnce(&SimChain, &Arc<Sealed>) -> Option<Arc<Sealed>>,
    ) -> Result<Bytes, CallError> {
        let answer = self
            .ask("eth_call", |chain, head| {
                let at = at(chain, head).ok_or_else(|| "header not found".to_owned())?;
                chain.call(&at, call.from, call.to, call.data, call.gas)
            })
            .await?;
        match answer {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(revert)) => Err(CallError::Reverted(revert)),
            Err(message) => {
                let payload = ErrorPayload { code: -32_000, message: message.into(), data: None };
                Err(ChainError::Rpc { operation: "eth_call", source: RpcError::ErrorResp(payload) }.into())
            }
        }
    }
}

fn find(chain: &SimChain, head: &Arc<Sealed>, which: BlockRef) -> Option<Arc<Sealed>> {
    let number = head.block.header.number;
    match which {
        BlockRef::Latest => Some(head.clone()),
        BlockRef::Finalized => {
            chain.ancestor(head, number.saturating_sub(chain.depth).min(chain.final_number()))
        }
        BlockRef::Number(wanted) if wanted > number => None,
        BlockRef::Number(wanted) => chain.ancestor(head, wanted),
        BlockRef::Hash(hash) => chain.by_hash(hash).cloned(),
    }
}

#[async_trait]
impl ChainNode for SimNode {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        self.ask("eth_chainId", |chain, _| chain.chain_id).await
    }

    async fn block(&self, which: BlockRef) -> Result<Option<Block>, ChainError> {
        let found = self.ask("eth_getBlock", |chain, head| find(chain, head, which)).await?;
        let may_lack = !matches!(which, BlockRef::Latest | BlockRef::Finalized);
        Ok(found.filter(|_| !(may_lack && self.forgets())).map(|sealed| sealed.block.clone()))
    }

    async fn receipts(&self, block: B256) -> Result<Option<Vec<TxReceipt>>, ChainError> {
        let found = self.ask("eth_getBlockReceipts", |chain, _| chain.by_hash(block).cloned()).await?;
        Ok(found.filter(|_| !self.forgets()).map(|sealed| sealed.receipts.clone()))
    }

    async fn transactions(&self, block: B256) -> Result<Option<Vec<Bytes>>, ChainError> {
        let found = self.ask("eth_getBlockByHash", |chain, _| chain.by_hash(block).cloned()).await?;
        let raws = |sealed: Arc<Sealed>| sealed.txs.iter().map(|tx| tx.raw.clone()).collect();
        Ok(found.filter(|_| !self.forgets()).map(raws))
    }

    async fn nonce(&self, account: Address, at: NonceAt) -> Result<u64, ChainError> {
        self.ask("eth_getTransactionCount", |chain, head| match at {
            NonceAt::Latest => chain.nonce(head, account),
            NonceAt::Pending => {
                let next = chain.nonce(head, account);
                next + chain.pool.ready(account, next).len() as u64
            }
            NonceAt::Block(number) => {
                chain.ancestor(head, number).map_or(0, |block| chain.nonce(&block, account))
            }
        })
        .await
    }

    async fn transaction(&self, hash: B256) -> Result<TxStatus, ChainError> {
        let found = self
            .ask("eth_getTransactionByHash", |chain, head| {
                let mut at = Some(head.clone());
                while let Some(sealed) = at.filter(|sealed| sealed.block.header.number > 0) {
                    if sealed.block.transactions.contains(&hash) {
                        return TxStatus::Mined(sealed.block.hash);
                    }
                    at = chain.by_hash(sealed.block.header.parent_hash).cloned();
                }
                let waits = chain.pool.all().any(|tx| tx.hash == hash);
                if waits { TxStatus::Waiting } else { TxStatus::Unknown }
            })
            .await?;
        Ok(if found != TxStatus::Unknown && self.forgets() { TxStatus::Unknown } else { found })
    }

    async fn balance(&self, account: Address) -> Result<U256, ChainError> {
        self.ask("eth_getBalance", |chain, head| chain.balance(head, account)).await
    }

    async fn fees(&self) -> Result<Fees, ChainError> {
        self.ask("eth_feeHistory", |chain, _| Fees { base_fee: chain.base_fee, priority_fee: TIP }).await
    }

    async fn code(&self, account: Address) -> Result<Bytes, ChainError> {
        self.ask("eth_getCode", |chain, head| chain.code(head, account)).await
    }

    async fn code_at(&self, account: Address, number: u64) -> Result<Option<Bytes>, ChainError> {
        self.ask("eth_getCode", |chain, head| {
            chain.ancestor(head, number).map(|block| chain.code(&block, account))
        })
        .await
    }

    async fn call(&self, call: Call) -> Result<Bytes, CallError> {
        self.call_on(call, |_, head| Some(head.clone())).await
    }

    async fn call_at(&self, call: Call, block: u64) -> Result<Bytes, CallError> {
        self.call_on(call, |chain, head| find(chain, head, BlockRef::Number(block))).await
    }

    async fn send(&self, raw: Bytes) -> Result<B256, SendError> {
        const OPERATION: &str = "eth_sendRawTransaction";
        let lost =
            || SendError::PerhapsSent(ChainError::TimedOut { operation: OPERATION, after: RPC_TIMEOUT });
        if reach(OPERATION, Side::Before).await.is_err() {
            return Err(lost());
        }
        if self.shared.dice().strikes(Fault::SendLost, 0.03) {
            return Err(lost());
        }
        let replaced = self.shared.chain().pool.replaced;
        let answer = self.shared.chain().send(&raw);
        if self.shared.chain().pool.replaced > replaced {
            self.shared.dice().count(Fault::TxReplaced);
        }
        let told = answer.as_ref().map_or_else(|(_, words)| words.clone(), ToString::to_string);
        self.shared.tell(format!("  {} is sent a transaction: {told}", self.name));
        if let Ok(hash) = &answer
            && self.shared.dice().strikes(Fault::SendSwallowed, 0.03)
        {
            self.shared.chain().pool.drop_one(*hash);
        }
        let answer_lost = self.shared.dice().strikes(Fault::SendAnswerLost, 0.03);
        if reach(OPERATION, Side::After).await.is_err() || answer_lost {
            return Err(lost());
        }
        answer.map_err(|(code, message)| match Refusal::classify(code, &message) {
            Some(refusal) => SendError::Refused { refusal, code, message, rest: None },
            None => lost(),
        })
    }
}
