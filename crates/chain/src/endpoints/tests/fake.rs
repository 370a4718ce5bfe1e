//! A node that says what its script says.

use std::{sync::Mutex, time::Duration};

use alloy::{
    consensus::Header,
    primitives::{Address, B256, Bytes, U256, keccak256},
    rpc::json_rpc::ErrorPayload,
    transports::{RpcError, TransportErrorKind},
};
use async_trait::async_trait;

use crate::{
    Block, BlockRef, Call, CallError, ChainError, ChainNode, Fees, NonceAt, Refusal, SendError, TxReceipt,
    TxStatus,
};

pub(super) const CHAIN_ID: u64 = 31_337;

/// How a node is at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fault {
    #[default]
    None,
    /// It cannot be reached.
    Down,
    /// Its time limit goes by.
    Hangs,
    /// Nothing comes back, not even that.
    Stuck,
    /// It was asked too often, and says for how many seconds to leave it alone.
    Limits(Option<u64>),
    /// It answers with an error.
    Refuses,
}

#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) fault: Fault,
    pub(super) chain_id: u64,
    pub(super) head: u64,
    /// The head's time.
    pub(super) time: u64,
    pub(super) last_final: Option<u64>,
    /// From this block on it has others than everybody else.
    pub(super) fork: Option<u64>,
    /// It has another block of this number, and of no other.
    pub(super) forked_number: Option<u64>,
    pub(super) nonce: u64,
    /// The base fee, and the tip.
    pub(super) fees: (u128, u128),
    /// What calls return; without it they revert.
    pub(super) returns: Option<&'static [u8]>,
    pub(super) status: TxStatus,
    /// Whether it keeps receipts and old states.
    pub(super) keeps: bool,
    /// What it says to a transaction: "accepted" or the name of an error.
    pub(super) send: &'static str,
    /// For how long it wants to be left alone when it does not take a transaction.
    pub(super) rest: Option<Duration>,
}

/// A node.
#[derive(Debug)]
pub(super) struct Fake {
    script: Mutex<Script>,
    asked: Mutex<Vec<&'static str>>,
}

impl Default for Fake {
    fn default() -> Self {
        let script = Script {
            fault: Fault::None,
            chain_id: CHAIN_ID,
            head: 100,
            time: 1_000,
            last_final: Some(90),
            fork: None,
            forked_number: None,
            nonce: 0,
            fees: (1, 1),
            returns: None,
            status: TxStatus::Unknown,
            keeps: true,
            send: "accepted",
            rest: None,
        };
        Self { script: Mutex::new(script), asked: Mutex::default() }
    }
}

impl Fake {
    pub(super) fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    /// What it was asked since the last time.
    pub(super) fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    async fn script(&self, operation: &'static str) -> Result<Script, ChainError> {
        self.asked.lock().unwrap().push(operation);
        if self.script.lock().unwrap().fault == Fault::Stuck {
            std::future::pending::<()>().await;
        }
        let script = self.script.lock().unwrap().clone();
        let rpc = |source| Err(ChainError::Rpc { operation, source });
        match script.fault {
            Fault::None | Fault::Stuck => Ok(script),
            Fault::Down => rpc(TransportErrorKind::custom_str("connection refused")),
            Fault::Hangs => Err(ChainError::TimedOut { operation, after: Duration::from_secs(10) }),
            Fault::Limits(seconds) => {
                let wait = seconds.map(Duration::from_secs);
                rpc(TransportErrorKind::http_error_with_retry_after(429, "/key".to_owned(), wait))
            }
            Fault::Refuses => {
                let message = "header not found".into();
                rpc(RpcError::ErrorResp(ErrorPayload { code: -32_000, message, data: None }))
            }
        }
    }
}

/// The block of that number, as a node has it that has others from `fork` on.
pub(super) fn block(number: u64, fork: Option<u64>, time: u64) -> Block {
    let header = Header {
        number,
        timestamp: time,
        extra_data: if fork.is_some_and(|fork| number >= fork) {
            Bytes::from_static(b"fork")
        } else {
            Bytes::new()
        },
        ..Header::default()
    };
    Block { hash: header.hash_slow(), header, transactions: Vec::new() }
}

/// The block of that number, as everybody has it.
pub(super) fn common(number: u64) -> B256 {
    block(number, None, 0).hash
}

impl Script {
    fn block(&self, number: u64) -> Option<Block> {
        let fork = self.forked_number.filter(|forked| *forked == number).or(self.fork);
        (number <= self.head).then(|| block(number, fork, 0))
    }
}

#[async_trait]
impl ChainNode for Fake {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        Ok(self.script("chain_id").await?.chain_id)
    }

    async fn block(&self, which: BlockRef) -> Result<Option<Block>, ChainError> {
        let script = self.script(match which {
            BlockRef::Latest => "latest",
            BlockRef::Finalized => "finalized",
            BlockRef::Number(0) => "genesis",
            BlockRef::Number(_) => "number",
            BlockRef::Hash(_) => "hash",
        });
        let script = script.await?;
        Ok(match which {
            BlockRef::Latest => Some(block(script.head, script.fork, script.time)),
            BlockRef::Finalized => script.last_final.map(|number| block(number, script.fork, 0)),
            BlockRef::Number(number) => script.block(number),
            BlockRef::Hash(hash) => {
                (0..=script.head).filter_map(|number| script.block(number)).find(|block| block.hash == hash)
            }
        })
    }

    async fn receipts(&self, _: B256) -> Result<Option<Vec<TxReceipt>>, ChainError> {
        Ok(self.script("receipts").await?.keeps.then(Vec::new))
    }

    async fn transactions(&self, _: B256) -> Result<Option<Vec<Bytes>>, ChainError> {
        Ok(self.script("transactions").await?.keeps.then(Vec::new))
    }

    async fn nonce(&self, _: Address, _: NonceAt) -> Result<u64, ChainError> {
        Ok(self.script("nonce").await?.nonce)
    }

    async fn transaction(&self, _: B256) -> Result<TxStatus, ChainError> {
        Ok(self.script("transaction").await?.status)
    }

    async fn balance(&self, _: Address) -> Result<U256, ChainError> {
        self.script("balance").await.map(|_| U256::ZERO)
    }

    async fn fees(&self) -> Result<Fees, ChainError> {
        let (base_fee, priority_fee) = self.script("fees").await?.fees;
        Ok(Fees { base_fee, priority_fee })
    }

    async fn code(&self, _: Address) -> Result<Bytes, ChainError> {
        self.script("code").await.map(|_| Bytes::new())
    }

    async fn code_at(&self, _: Address, _: u64) -> Result<Option<Bytes>, ChainError> {
        Ok(self.script("code_at").await?.keeps.then(Bytes::new))
    }

    async fn call(&self, _: Call) -> Result<Bytes, CallError> {
        let returns = self.script("call").await?.returns;
        returns.map(Bytes::from_static).ok_or(CallError::Reverted(Bytes::from_static(b"no")))
    }

    async fn call_at(&self, call: Call, _: u64) -> Result<Bytes, CallError> {
        self.call(call).await
    }

    async fn send(&self, raw: Bytes) -> Result<B256, SendError> {
        let script = self.script("send").await.map_err(SendError::PerhapsSent)?;
        match script.send {
            "accepted" => Ok(keccak256(&raw)),
            name => {
                let refusal = Refusal::ALL.into_iter().find(|refusal| refusal.as_str() == name).unwrap();
                Err(SendError::Refused {
                    refusal,
                    code: -32_000,
                    message: name.to_owned(),
                    rest: script.rest,
                })
            }
        }
    }
}
