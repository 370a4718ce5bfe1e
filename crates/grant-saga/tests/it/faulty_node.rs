//! A real node behind a line that fails when told to.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    rpc::json_rpc::ErrorPayload,
    sol_types::{SolCall, SolError},
    transports::RpcError,
};
use async_trait::async_trait;
use laurel_chain::{
    Block, BlockRef, Call, CallError, ChainError, ChainNode, Fees, HttpNode, NonceAt, Refusal, RewardVault,
    SendError, TxReceipt, TxRequest, TxStatus,
};
use laurel_events::CampaignId;
use tokio::sync::Notify;

/// What happens to a transaction that is given to the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Line {
    /// It arrives, and so does the answer.
    #[default]
    Good,
    /// It never arrives, and nobody says so.
    Swallows,
    /// It arrives; the answer does not.
    LosesAnswers,
    /// Nothing comes back: whoever sends is stuck.
    Hangs,
    /// The node does not take what settles anything, and says why.
    RefusesSettlements(Refusal),
    /// The node does not take anything, and says why.
    Refuses(Refusal),
}

/// What the node says that a call would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Says {
    /// What it would do.
    #[default]
    True,
    /// That nobody takes what a settlement pays.
    Refused,
    /// An error to whatever a settlement of this campaign would do.
    ErrorAbout(CampaignId),
    /// Nothing.
    Nothing,
}

/// A real node behind such a line.
#[derive(Debug)]
pub(crate) struct FaultyNode {
    node: HttpNode,
    line: Mutex<Line>,
    says: Mutex<Says>,
    /// Everything that was given to be sent, in order.
    sent: Mutex<Vec<Bytes>>,
    /// The next one who asks for fees, the last thing before signing, is stopped.
    pub(crate) stop_next: AtomicBool,
    /// The next one who asks what a call would do is stopped.
    stop_call: AtomicBool,
    /// The next one who asks for a nonce is stopped.
    stop_nonce: AtomicBool,
    /// Nobody is told blocks and nonces.
    pub(crate) silent: AtomicBool,
    /// So many blocks is its head behind what it counts transactions by, as one of several nodes may be.
    pub(crate) behind: AtomicU64,
    /// Somebody was stopped.
    pub(crate) stopped: Notify,
    /// Lets whoever was stopped go on.
    pub(crate) go_on: Notify,
}

impl FaultyNode {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            node: HttpNode::new(url).unwrap(),
            line: Mutex::default(),
            says: Mutex::default(),
            sent: Mutex::default(),
            stop_next: AtomicBool::default(),
            stop_call: AtomicBool::default(),
            stop_nonce: AtomicBool::default(),
            silent: AtomicBool::default(),
            behind: AtomicU64::default(),
            stopped: Notify::default(),
            go_on: Notify::default(),
        }
    }

    pub(crate) fn set_line(&self, line: Line) {
        *self.line.lock().unwrap() = line;
    }

    pub(crate) fn set_says(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    pub(crate) fn stop_before_call(&self) {
        self.stop_call.store(true, Ordering::SeqCst);
    }

    pub(crate) fn stop_before_nonce(&self) {
        self.stop_nonce.store(true, Ordering::SeqCst);
    }

    async fn stop(&self) {
        self.stopped.notify_one();
        self.go_on.notified().await;
    }

    fn speaks(&self, operation: &'static str) -> Result<(), ChainError> {
        match self.silent.load(Ordering::SeqCst) {
            true => Err(ChainError::TimedOut { operation, after: Duration::from_secs(10) }),
            false => Ok(()),
        }
    }

    pub(crate) fn sent(&self) -> Vec<Bytes> {
        self.sent.lock().unwrap().clone()
    }
}

/// Whether a call would settle something of a campaign.
fn settles(call: &Call, campaign: CampaignId) -> bool {
    let settle = RewardVault::settleCall::abi_decode(&call.data);
    settle.is_ok_and(|settle| settle.segments.iter().any(|segment| segment.campaign == campaign.on_chain()))
}

/// Whether a transaction settles nothing.
pub(crate) fn is_empty(raw: &Bytes) -> bool {
    TxRequest::decode(raw).unwrap().data.is_empty()
}

#[async_trait]
impl ChainNode for FaultyNode {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        self.node.chain_id().await
    }

    async fn block(&self, which: BlockRef) -> Result<Option<Block>, ChainError> {
        self.speaks("eth_getBlock")?;
        let block = self.node.block(which).await?;
        let behind = self.behind.load(Ordering::SeqCst);
        match block {
            Some(latest) if which == BlockRef::Latest && behind > 0 => {
                self.node.block(BlockRef::Number(latest.header.number - behind)).await
            }
            block => Ok(block),
        }
    }

    async fn receipts(&self, block: B256) -> Result<Option<Vec<TxReceipt>>, ChainError> {
        self.node.receipts(block).await
    }

    async fn transactions(&self, block: B256) -> Result<Option<Vec<Bytes>>, ChainError> {
        self.node.transactions(block).await
    }

    async fn nonce(&self, account: Address, at: NonceAt) -> Result<u64, ChainError> {
        if self.stop_nonce.swap(false, Ordering::SeqCst) {
            self.stop().await;
        }
        self.speaks("eth_getTransactionCount")?;
        self.node.nonce(account, at).await
    }

    async fn transaction(&self, hash: B256) -> Result<TxStatus, ChainError> {
        self.node.transaction(hash).await
    }

    async fn balance(&self, account: Address) -> Result<U256, ChainError> {
        self.node.balance(account).await
    }

    async fn fees(&self) -> Result<Fees, ChainError> {
        if self.stop_next.swap(false, Ordering::SeqCst) {
            self.stop().await;
        }
        self.node.fees().await
    }

    async fn code(&self, account: Address) -> Result<Bytes, ChainError> {
        self.node.code(account).await
    }

    async fn code_at(&self, account: Address, number: u64) -> Result<Option<Bytes>, ChainError> {
        self.node.code_at(account, number).await
    }

    async fn call(&self, call: Call) -> Result<Bytes, CallError> {
        if self.stop_call.swap(false, Ordering::SeqCst) {
            self.stop().await;
        }
        let says = *self.says.lock().unwrap();
        match says {
            Says::Refused if call.data.starts_with(&RewardVault::settleCall::SELECTOR) => {
                let nobody = RewardVault::NothingPaid { campaign: 7, firstSeq: 0 };
                Err(CallError::Reverted(nobody.abi_encode().into()))
            }
            Says::ErrorAbout(campaign) if settles(&call, campaign) => {
                let message = "so be it".into();
                let source = RpcError::ErrorResp(ErrorPayload { code: -32_000, message, data: None });
                Err(ChainError::Rpc { operation: "eth_call", source }.into())
            }
            Says::Nothing => Err(ChainError::Untrue("the line is dead".to_owned()).into()),
            Says::True | Says::Refused | Says::ErrorAbout(_) => self.node.call(call).await,
        }
    }

    async fn call_at(&self, call: Call, block: u64) -> Result<Bytes, CallError> {
        self.node.call_at(call, block).await
    }

    async fn send(&self, raw: Bytes) -> Result<B256, SendError> {
        self.sent.lock().unwrap().push(raw.clone());
        let line = *self.line.lock().unwrap();
        match line {
            Line::Good => self.node.send(raw).await,
            Line::Swallows => {
                Err(SendError::PerhapsSent(ChainError::Untrue("the line went dead".to_owned())))
            }
            Line::LosesAnswers => {
                self.node.send(raw).await?;
                Err(SendError::PerhapsSent(ChainError::Untrue("the answer never came".to_owned())))
            }
            Line::Hangs => std::future::pending().await,
            Line::RefusesSettlements(_) if is_empty(&raw) => self.node.send(raw).await,
            Line::RefusesSettlements(refusal) | Line::Refuses(refusal) => {
                Err(SendError::Refused { refusal, code: -32_000, message: "so be it".to_owned(), rest: None })
            }
        }
    }
}
