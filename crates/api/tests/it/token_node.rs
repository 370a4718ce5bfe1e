//! Enough of a node for campaigns to be made: the token has code, and nothing else is answered, unless calls are answered with a number.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use alloy_primitives::{Address, B256, Bytes, U256};
use async_trait::async_trait;
use laurel_chain::{
    Block, BlockRef, Call, CallError, ChainError, ChainNode, Fees, NonceAt, SendError, TxReceipt, TxStatus,
};
use tokio::sync::Mutex;

use crate::world::address;

#[derive(Debug, Default)]
pub(crate) struct TokenNode {
    /// What every call returns.
    pub(crate) returns: Option<U256>,
    /// How many calls there were.
    pub(crate) calls: AtomicUsize,
    /// Calls wait while somebody has it.
    pub(crate) hangs: Mutex<()>,
}

fn silent<T>(operation: &'static str) -> Result<T, ChainError> {
    Err(ChainError::TimedOut { operation, after: Duration::ZERO })
}

#[async_trait]
impl ChainNode for TokenNode {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        silent("eth_chainId")
    }

    async fn block(&self, _: BlockRef) -> Result<Option<Block>, ChainError> {
        silent("eth_getBlockByNumber")
    }

    async fn receipts(&self, _: B256) -> Result<Option<Vec<TxReceipt>>, ChainError> {
        silent("eth_getBlockReceipts")
    }

    async fn transactions(&self, _: B256) -> Result<Option<Vec<Bytes>>, ChainError> {
        silent("eth_getBlockByHash")
    }

    async fn nonce(&self, _: Address, _: NonceAt) -> Result<u64, ChainError> {
        silent("eth_getTransactionCount")
    }

    async fn transaction(&self, _: B256) -> Result<TxStatus, ChainError> {
        silent("eth_getTransactionByHash")
    }

    async fn balance(&self, _: Address) -> Result<U256, ChainError> {
        silent("eth_getBalance")
    }

    async fn fees(&self) -> Result<Fees, ChainError> {
        silent("eth_feeHistory")
    }

    async fn code(&self, account: Address) -> Result<Bytes, ChainError> {
        let known = [address("token"), address("another")].contains(&account);
        Ok(if known { Bytes::from_static(&[0xfe]) } else { Bytes::new() })
    }

    async fn code_at(&self, account: Address, _: u64) -> Result<Option<Bytes>, ChainError> {
        self.code(account).await.map(Some)
    }

    async fn call(&self, _: Call) -> Result<Bytes, CallError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        drop(self.hangs.lock().await);
        match self.returns {
            Some(number) => Ok(number.to_be_bytes_vec().into()),
            None => Ok(silent("eth_call")?),
        }
    }

    async fn call_at(&self, _: Call, _: u64) -> Result<Bytes, CallError> {
        Ok(silent("eth_call")?)
    }

    async fn send(&self, _: Bytes) -> Result<B256, SendError> {
        Err(SendError::PerhapsSent(ChainError::TimedOut {
            operation: "eth_sendRawTransaction",
            after: Duration::ZERO,
        }))
    }
}
