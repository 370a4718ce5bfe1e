//! What a node may answer instead of what was asked.

use std::time::Duration;

use alloy::{
    primitives::{Address, B256, Bytes},
    transports::{
        HttpError, RpcError, TransportError, TransportErrorKind,
        layers::{RateLimitRetryPolicy, RetryPolicy as _},
    },
};
use serde::Deserialize;

use crate::{NextStep, Refusal, revert::revert_reason};

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
    /// Every endpoint of the chain is left alone for the moment.
    #[error("chain {chain_id}: no endpoint can be asked: {why}")]
    NoEndpoint {
        /// The chain.
        chain_id: u64,
        /// Each with its reason.
        why: String,
    },
    /// No answer is that of a quorum, or two are.
    #[error("chain {chain_id}: final_quorum endpoints do not agree on an answer to {operation}")]
    Undecided {
        /// The chain.
        chain_id: u64,
        /// The JSON-RPC method.
        operation: &'static str,
    },
    /// No endpoint keeps states that old, and reading on block by block would take too long.
    #[error(
        "nobody keeps the state of block {number}, and no block from there on has transaction {nonce} of {account}: add an endpoint \
         that keeps older states (an archive) to chains.rpc_urls"
    )]
    TooFarBack {
        /// Whose transaction is looked for.
        account: Address,
        /// Its nonce.
        nonce: u64,
        /// Up to which block was read.
        number: u64,
    },
    /// Endpoints call different blocks of one number final, and no quorum decides.
    #[error(
        "block {number} is final as {one} at one endpoint and as {other} at another, and no final_quorum of them agrees: \
         find out which chains.rpc_urls are wrong, and remove them"
    )]
    Disagreement {
        /// The block's number.
        number: u64,
        /// Its hash as some have it.
        one: B256,
        /// Its hash as others have it.
        other: B256,
    },
}

/// What an error says of the endpoint that it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It was asked too often, and may have said for how long to leave it alone.
    RateLimited(Option<Duration>),
    /// It answered, with an error: the question's fault or its own.
    Refused,
    /// It did not answer in time.
    TimedOut,
    /// It was not reached, or what it says is of no use.
    Failed,
}

impl ChainError {
    /// What it says of the endpoint.
    pub(crate) fn trouble(&self) -> Trouble {
        let source = match self {
            Self::Rpc { source, .. } => source,
            Self::TimedOut { .. } => return Trouble::TimedOut,
            _ => return Trouble::Failed,
        };
        let asked_to_wait = match source {
            RpcError::Transport(TransportErrorKind::HttpErrorWithRetryAfter { error, .. }) => {
                error.status >= 400
            }
            _ => false,
        };
        let wait = || asked_rest(source);
        match said(source) {
            Some((code, message)) if Refusal::classify(code, &message) == Some(Refusal::RateLimited) => {
                Trouble::RateLimited(wait())
            }
            _ if asked_to_wait => Trouble::RateLimited(wait()),
            _ if matches!(source, RpcError::ErrorResp(_) | RpcError::NullResp) => Trouble::Refused,
            _ => Trouble::Failed,
        }
    }

    /// Whether the question was answered, by an error or by what cannot be true: it may be the question's fault, and others may do well.
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Untrue(_)) || self.trouble() == Trouble::Refused
    }

    /// What happened, in few words: no bodies of answers, in which a server may repeat the address with its key.
    pub fn in_short(&self) -> String {
        match self {
            Self::Rpc { operation, source: RpcError::ErrorResp(payload) } => {
                format!("{operation}: {} (code {})", shortened(payload.message.to_string()), payload.code)
            }
            Self::Rpc { operation, source: RpcError::Transport(kind) } => match kind.as_http_error() {
                Some(http) => format!("{operation}: HTTP status {}", http.status),
                None => format!("{operation}: it cannot be reached"),
            },
            Self::Rpc { operation, .. } => format!("{operation}: what it answers is no JSON-RPC"),
            other => other.to_string(),
        }
    }
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
    /// The node says why it does not take the transaction. Another node, or the same one before, may have taken it.
    #[error("the node does not take the transaction: {message} ({}, code {code})", refusal.as_str())]
    Refused {
        /// What that means.
        refusal: Refusal,
        /// The node's number for it, or the HTTP status.
        code: i64,
        /// The node's words.
        message: String,
        /// For how long it wants to be left alone, where it was asked too often and says so.
        rest: Option<Duration>,
    },
    /// The node was not reached: nothing was sent.
    #[error("the transaction was not sent")]
    NotSent(#[source] ChainError),
    /// Nothing is known: it may have been sent.
    #[error("the transaction was perhaps sent")]
    PerhapsSent(#[source] ChainError),
}

impl SendError {
    /// What a failed eth_sendRawTransaction means.
    pub(crate) fn of(error: TransportError) -> Self {
        if let Some((code, message)) = said(&error)
            && let Some(refusal) = Refusal::classify(code, &message)
        {
            let reason = decoded_revert(&error).map_or_else(String::new, |reason| format!(": {reason}"));
            let rest = (refusal == Refusal::RateLimited).then(|| asked_rest(&error)).flatten();
            return Self::Refused { refusal, code, message: shortened(message + &reason), rest };
        }
        let never_left = not_connected(&error);
        let source = ChainError::Rpc { operation: "eth_sendRawTransaction", source: error };
        if never_left { Self::NotSent(source) } else { Self::PerhapsSent(source) }
    }

    /// What the node means, if it says so.
    pub const fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(*refusal),
            Self::NotSent(_) | Self::PerhapsSent(_) => None,
        }
    }

    /// What to do next.
    pub const fn next(&self) -> NextStep {
        match self {
            Self::Refused { refusal, .. } => refusal.next(),
            Self::NotSent(_) => NextStep::Later,
            Self::PerhapsSent(_) => NextStep::Confirm,
        }
    }

    /// Its name in metrics and alerts.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Refused { refusal, .. } => refusal.as_str(),
            Self::NotSent(_) => "not_sent",
            Self::PerhapsSent(_) => "perhaps_sent",
        }
    }
}

/// For how long a node wants to be left alone, as the answer's headers or its words say it; never more than five minutes.
fn asked_rest(error: &TransportError) -> Option<Duration> {
    RateLimitRetryPolicy::default().backoff_hint(error)
}

/// What the transaction would revert with, where the node says that beside its words.
fn decoded_revert(error: &TransportError) -> Option<String> {
    let data = error.as_error_resp()?.as_revert_data()?;
    (!data.is_empty()).then(|| revert_reason(&data))
}

/// How much of a node's words is kept: some send whole pages.
const MESSAGE_MAX: usize = 500;

fn shortened(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(MESSAGE_MAX));
    message
}

/// What a node says instead of an answer, with the number that it has for it or the HTTP status.
fn said(error: &TransportError) -> Option<(i64, String)> {
    match error {
        RpcError::ErrorResp(payload) => Some((payload.code, payload.message.to_string())),
        RpcError::Transport(kind) => kind.as_http_error().and_then(said_by_status),
        _ => None,
    }
}

/// What an answer without JSON-RPC says by its status. A body that is a bare error object, as one provider sends it, is read.
fn said_by_status(http: &HttpError) -> Option<(i64, String)> {
    #[derive(Deserialize)]
    struct Bare {
        code: i64,
        message: String,
    }
    if let Ok(Bare { code, message }) = serde_json::from_str(&http.body) {
        return Some((code, message));
    }
    let message = match http.status {
        429 => "too many requests",
        402 => "payment required",
        // A plan that is used up is a matter of time, a wrong key is not.
        401 | 403 if http.body.to_lowercase().contains("limit exceeded") => "too many requests",
        401 | 403 => "unauthorized",
        404 | 405 | 415 => "method not supported",
        413 => "oversized data",
        _ => return None,
    };
    Some((i64::from(http.status), message.to_owned()))
}

/// Whether no connection was made, so that not a byte has left.
fn not_connected(error: &TransportError) -> bool {
    match error {
        RpcError::SerError(_) => true,
        RpcError::Transport(TransportErrorKind::Custom(source)) => {
            source.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect)
        }
        _ => false,
    }
}
