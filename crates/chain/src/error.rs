//! What a node may answer instead of what was asked.

use std::time::Duration;

use alloy::{
    primitives::Bytes,
    transports::{RpcError, TransportError},
};

/// A question to a node that brought no answer to rely on. Asking again, or another node, may.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The node answered with an error, or not at all.
    #[error("{operation}: the node did not answer it")]
    Rpc {
        /// The JSON-RPC method.
        operation: &'static str,
        /// What came instead.
        #[source]
        source: TransportError,
    },
    /// The node did not answer in time.
    #[error("{operation}: no answer within {after:?}")]
    TimedOut {
        /// The JSON-RPC method.
        operation: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// What the node said contradicts itself.
    #[error("the node's answer cannot be true: {0}")]
    Untrue(String),
    /// The address of the node is no URL.
    #[error("{url:?} is no address of a node")]
    Url {
        /// What was configured.
        url: String,
        /// What is wrong with it.
        #[source]
        source: url::ParseError,
    },
    /// The address of the node is for something else than JSON-RPC over HTTP.
    #[error("a node is spoken to over http:// or https://, not {scheme}://: correct chains.rpc_urls")]
    Scheme {
        /// What was configured.
        scheme: String,
    },
    /// The client for the node could not be made.
    #[error("the client for the node could not be made")]
    Client(#[source] reqwest::Error),
}

/// A call that brought no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The contract reverted, with this data.
    #[error("the call reverts with {0}")]
    Reverted(Bytes),
    /// The node.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

/// A transaction that the node did not plainly accept.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The node has it already: as good as accepted.
    #[error("the node has the transaction already")]
    AlreadyKnown,
    /// The account has used the nonce. Says nothing about which transaction used it.
    #[error("the nonce is used")]
    NonceTooLow,
    /// The fees are too low to be taken, or to replace another transaction of the nonce.
    #[error("the fees are too low: {0}")]
    Underpriced(String),
    /// The account cannot pay for the gas.
    #[error("the account has too little to pay for the gas: {0}")]
    InsufficientFunds(String),
    /// The node will not take it as it is.
    #[error("the node refuses the transaction: {0}")]
    Refused(String),
    /// Nothing is known: it may have been sent.
    #[error("the transaction was perhaps sent")]
    PerhapsSent(#[source] ChainError),
}

impl SendError {
    /// What an answer to eth_sendRawTransaction means. Texts are those of Anvil, geth and reth.
    pub(crate) fn classify(error: TransportError) -> Self {
        let RpcError::ErrorResp(payload) = &error else {
            return Self::PerhapsSent(ChainError::Rpc { operation: "eth_sendRawTransaction", source: error });
        };
        let text = payload.message.to_lowercase();
        let says = |wanted: &[&str]| wanted.iter().any(|wanted| text.contains(wanted));
        if says(&["already known", "already imported", "known transaction"]) {
            Self::AlreadyKnown
        } else if says(&["nonce too low"]) {
            Self::NonceTooLow
        } else if says(&["underpriced", "max fee per gas less than block base fee", "fee too low"]) {
            Self::Underpriced(text)
        } else if says(&["insufficient funds"]) {
            Self::InsufficientFunds(text)
        } else if says(&[
            "intrinsic gas too low",
            "exceeds block gas limit",
            "invalid sender",
            "nonce too high",
        ]) {
            Self::Refused(text)
        } else {
            Self::PerhapsSent(ChainError::Rpc { operation: "eth_sendRawTransaction", source: error })
        }
    }
}
