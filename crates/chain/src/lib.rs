//! Everything that knows what a chain looks like.
//!
//! ```text
//!   grants ──► GrantWord ──► Settlement (calldata) ──► LaneSigner ──► raw bytes ──► ChainNode::send
//!
//!   ChainNode::block, receipts ──► verified against the header ──► VaultLog ──► PaidMask ──► seqs
//! ```
//!
//! All talk with a chain goes through [`ChainNode`]; [`HttpNode`] speaks JSON-RPC, [`Endpoints`] is several of them. What
//! a node says is believed only as far as it can be checked: a header hashes to its hash, receipts to the header's root.

mod abi;
mod bitmap;
mod breaker;
mod deploy;
mod endpoints;
mod error;
mod finality;
mod funding;
mod holdings;
mod http;
mod identity;
mod metrics;
mod node;
mod nonces;
mod receipts;
mod refusal;
mod revert;
mod settlement;
mod signer;
mod vault_log;
mod word;

pub use self::{
    abi::{Erc20, Erc1271, RewardToken, RewardVault, Segment, Terms},
    bitmap::PaidMask,
    breaker::{Breaker, BreakerSettings, BreakerState, Pass},
    deploy::{DeployError, Deployed, deploy_contracts},
    endpoints::{Endpoint, EndpointRefused, EndpointStatus, Endpoints, EndpointsParts},
    error::{CallError, ChainError, SendError},
    finality::{FinalBlock, Finality},
    funding::{ClosingStep, NextClosingStep, funding_call, next_closing_step},
    holdings::{Holdings, vault_holdings},
    http::{CONNECT_TIMEOUT, HttpNode, RPC_TIMEOUT, SEND_TIMEOUT},
    identity::{IdentityError, deploy_block, identify_chain, require_vault_code, vault_code},
    metrics::EndpointMetrics,
    node::{Block, BlockContent, BlockRef, Call, ChainNode, Fees, NonceAt, TxReceipt, TxStatus},
    nonces::{NonceUse, NonceUser, find_nonce_use},
    receipts::{verify_receipts, verify_transactions},
    refusal::{NextStep, Refusal},
    revert::revert_reason,
    settlement::{Settlement, SettlementSegment, words_hash},
    signer::{KeyError, KeySource, LaneSigner, LocalKey, SignedTx, TxRequest},
    vault_log::{VaultLog, decode_vault_logs},
    word::GrantWord,
};
