//! A node that speaks JSON-RPC over HTTP.

mod redact;

use std::{fmt, future::IntoFuture, time::Duration};

use alloy::{
    eips::{BlockId, BlockNumberOrTag, eip2718::Encodable2718 as _},
    network::{Ethereum, TransactionBuilder},
    primitives::{Address, B256, Bytes, U256, keccak256},
    providers::{Provider, RootProvider},
    rpc::{
        client::RpcClient,
        types::{TransactionReceipt, TransactionRequest},
    },
    transports::{RpcError, TransportError, http::Http},
};
use async_trait::async_trait;
use url::Url;

use self::redact::Secrets;
use crate::{
    Block, BlockRef, Call, CallError, ChainError, ChainNode, Fees, NonceAt, SendError, TxReceipt, TxStatus,
    revert::ended_in_evm,
};

/// How long a node may take to answer: longer than any healthy answer, shorter than an operator's patience.
pub const RPC_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a node may take to say whether it has a transaction: some sequencers answer only when it is in a block, which
/// may take them longer than ten seconds. Whoever gives up before does not know whether it was sent.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection may take to be made: three round trips around the world, with a lost packet.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The tip where a node knows none: 0.1 gwei.
const PRIORITY_FEE_MIN: u128 = 100_000_000;

/// How many recent blocks the tip is taken from, and which percentile of their tips.
const FEE_BLOCKS: u64 = 5;
const FEE_PERCENTILE: f64 = 50.0;

/// A node behind a URL. The URL may hold a key, so it is never shown.
#[derive(Clone)]
pub struct HttpNode {
    provider: RootProvider<Ethereum>,
    host: String,
    secrets: Secrets,
}

impl fmt::Debug for HttpNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpNode").field("host", &self.host).finish_non_exhaustive()
    }
}

impl HttpNode {
    /// A node at `url`. Does not connect yet.
    ///
    /// # Errors
    /// If `url` is none.
    pub fn new(url: &str) -> Result<Self, ChainError> {
        let parsed = Url::parse(url).map_err(|source| ChainError::Url { url: redacted(url), source })?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(ChainError::Scheme { scheme: parsed.scheme().to_owned() });
        }
        // The time limit of a question is its own; this one also ends what somebody forgets to limit.
        let client = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).timeout(SEND_TIMEOUT);
        let client = client.build().map_err(ChainError::Client)?;
        let host = parsed.host_str().unwrap_or("?").to_owned();
        let secrets = Secrets::of(&parsed);
        let transport = Http::with_client(client, parsed);
        Ok(Self { provider: RootProvider::new(RpcClient::new(transport, false)), host, secrets })
    }

    /// The node's host, which is safe to show.
    pub fn host(&self) -> &str {
        &self.host
    }

    async fn ask<T>(
        &self,
        operation: &'static str,
        question: impl IntoFuture<Output = Result<T, TransportError>>,
    ) -> Result<T, ChainError> {
        match tokio::time::timeout(RPC_TIMEOUT, question.into_future()).await {
            Ok(answer) => answer.map_err(|source| ChainError::Rpc {
                operation,
                source: self.secrets.without_address(source),
            }),
            Err(_) => Err(ChainError::TimedOut { operation, after: RPC_TIMEOUT }),
        }
    }

    async fn call_on(&self, call: Call, block: BlockId) -> Result<Bytes, CallError> {
        let mut request =
            TransactionRequest::default().with_from(call.from).with_to(call.to).with_input(call.data);
        if let Some(gas) = call.gas {
            request = request.with_gas_limit(gas);
        }
        match self.ask("eth_call", self.provider.call(request).block(block)).await {
            Err(ChainError::Rpc { source: RpcError::ErrorResp(payload), operation }) => {
                match payload.as_revert_data() {
                    Some(data) => Err(CallError::Reverted(data)),
                    None if ended_in_evm(&payload.message) => Err(CallError::Reverted(Bytes::new())),
                    None => Err(ChainError::Rpc { source: RpcError::ErrorResp(payload), operation }.into()),
                }
            }
            answer => Ok(answer?),
        }
    }
}

/// Only what stands before a user, path or query, which may hold a key.
fn redacted(url: &str) -> String {
    let end = url.find("://").map_or(0, |scheme| scheme + 3);
    format!("{}…", &url[..end])
}

fn block_id(which: BlockRef) -> BlockId {
    match which {
        BlockRef::Latest => BlockId::latest(),
        BlockRef::Finalized => BlockId::finalized(),
        BlockRef::Number(number) => BlockId::Number(BlockNumberOrTag::Number(number)),
        BlockRef::Hash(hash) => BlockId::hash(hash),
    }
}

#[async_trait]
impl ChainNode for HttpNode {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        self.ask("eth_chainId", self.provider.get_chain_id()).await
    }

    async fn block(&self, which: BlockRef) -> Result<Option<Block>, ChainError> {
        let Some(block) = self.ask("eth_getBlock", self.provider.get_block(block_id(which))).await? else {
            return Ok(None);
        };
        let hash = block.header.hash;
        if block.header.inner.hash_slow() != hash {
            return Err(ChainError::Untrue(format!("the header of block {hash} does not hash to it")));
        }
        let asked_other = match which {
            BlockRef::Hash(wanted) => wanted != hash,
            BlockRef::Number(wanted) => wanted != block.header.number,
            BlockRef::Latest | BlockRef::Finalized => false,
        };
        if asked_other {
            return Err(ChainError::Untrue(format!("asked for {which:?}, the node sent block {hash}")));
        }
        let transactions = block.transactions.hashes().collect();
        Ok(Some(Block { hash, header: block.header.inner, transactions }))
    }

    async fn receipts(&self, block: B256) -> Result<Option<Vec<TxReceipt>>, ChainError> {
        let receipts =
            self.ask("eth_getBlockReceipts", self.provider.get_block_receipts(BlockId::hash(block))).await?;
        Ok(receipts.map(|receipts| receipts.into_iter().map(TxReceipt::from).collect()))
    }

    async fn transactions(&self, block: B256) -> Result<Option<Vec<Bytes>>, ChainError> {
        let block = self.ask("eth_getBlockByHash", self.provider.get_block_by_hash(block).full()).await?;
        let encoded = block.map(|block| {
            let transactions = block.transactions.into_transactions();
            transactions.map(|transaction| transaction.inner.inner().encoded_2718().into()).collect()
        });
        Ok(encoded)
    }

    async fn nonce(&self, account: Address, at: NonceAt) -> Result<u64, ChainError> {
        let question = self.provider.get_transaction_count(account);
        let question = match at {
            NonceAt::Latest => question.latest(),
            NonceAt::Pending => question.pending(),
            NonceAt::Block(number) => question.number(number),
        };
        self.ask("eth_getTransactionCount", question).await
    }

    async fn transaction(&self, hash: B256) -> Result<TxStatus, ChainError> {
        let found = self.ask("eth_getTransactionByHash", self.provider.get_transaction_by_hash(hash)).await?;
        Ok(found
            .map_or(TxStatus::Unknown, |found| found.block_hash.map_or(TxStatus::Waiting, TxStatus::Mined)))
    }

    async fn balance(&self, account: Address) -> Result<U256, ChainError> {
        self.ask("eth_getBalance", self.provider.get_balance(account)).await
    }

    async fn fees(&self) -> Result<Fees, ChainError> {
        let history = self
            .ask(
                "eth_feeHistory",
                self.provider.get_fee_history(FEE_BLOCKS, BlockNumberOrTag::Latest, &[FEE_PERCENTILE]),
            )
            .await?;
        let base_fee = history.next_block_base_fee().unwrap_or(0);
        let tips = history.reward.iter().flatten().filter_map(|tips| tips.first()).copied();
        Ok(Fees { base_fee, priority_fee: tips.max().unwrap_or(0).max(PRIORITY_FEE_MIN) })
    }

    async fn code(&self, account: Address) -> Result<Bytes, ChainError> {
        self.ask("eth_getCode", self.provider.get_code_at(account)).await
    }

    async fn code_at(&self, account: Address, number: u64) -> Result<Option<Bytes>, ChainError> {
        let question = self.provider.get_code_at(account).number(number);
        match self.ask("eth_getCode", question).await {
            // Nodes have no common code for a state that they have pruned, so any refusal is taken for it.
            Err(ChainError::Rpc { source: RpcError::ErrorResp(_), .. }) => Ok(None),
            answer => answer.map(Some),
        }
    }

    async fn call(&self, call: Call) -> Result<Bytes, CallError> {
        self.call_on(call, BlockId::latest()).await
    }

    async fn call_at(&self, call: Call, block: u64) -> Result<Bytes, CallError> {
        self.call_on(call, BlockId::number(block)).await
    }

    async fn send(&self, raw: Bytes) -> Result<B256, SendError> {
        let question = self.provider.send_raw_transaction(&raw);
        match tokio::time::timeout(SEND_TIMEOUT, question).await {
            Ok(Ok(pending)) => {
                let (told, own) = (*pending.tx_hash(), keccak256(&raw));
                let other = || ChainError::Untrue(format!("asked to send {own}, the node names {told}"));
                if told == own { Ok(own) } else { Err(SendError::PerhapsSent(other())) }
            }
            Ok(Err(error)) => Err(SendError::of(self.secrets.without_address(error))),
            Err(_) => Err(SendError::PerhapsSent(ChainError::TimedOut {
                operation: "eth_sendRawTransaction",
                after: SEND_TIMEOUT,
            })),
        }
    }
}

impl From<TransactionReceipt> for TxReceipt {
    fn from(receipt: TransactionReceipt) -> Self {
        Self {
            tx: receipt.transaction_hash,
            from: receipt.from,
            gas_used: receipt.gas_used,
            effective_gas_price: receipt.effective_gas_price,
            receipt: receipt.inner.into_primitives_receipt(),
        }
    }
}
