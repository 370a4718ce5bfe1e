//! The grant saga: a requested grant gets its place on the chain, goes into a batch, and is sent until it is final.
//!
//! ```text
//!   TokenGrantRequested ──► GrantStage ── no wallet ──► awaiting, with a deadline
//!                               │
//!                        seq and word for life
//!                               ▼
//!                 runs: the queue of a campaign ──► LaneDriver ── sign, COMMIT, then send ──► chain
//!                               ▲                                                              │
//!                               └─────── requeues ◄── SettlementStage ◄── chain-watcher ◄──────┘
//! ```
//!
//! [`GrantStage`] and [`SettlementStage`] are stages: SQL only. [`LaneDriver`] sends to the chain, and whatever it sends
//! was committed before: nonce, segments, deadline and the signed bytes. [`WalletChecker`] asks contract wallets whether
//! they still accept what was signed for them, and queues what was held until then.

mod account;
mod adoption;
mod alerts;
mod compensation;
mod exceptions;
mod fees;
mod grants;
mod guardian;
mod lane;
mod lanes;
mod metrics;
mod operate;
mod orphans;
mod plan;
#[cfg(feature = "faults")]
mod planted;
mod queue;
mod recipients;
mod recovery;
mod refused;
mod requeues;
mod seats;
mod setbacks;
mod settlements;
mod simulate;
mod skipping;
mod state;
mod submit;
mod treasury;
mod undoing;
mod wallet_checks;

/// So many places ahead of a campaign's queue are passed over because the chain has used one, at the most: a restore may lose millions of grants,
/// and whoever else may settle or cancel can name any place. What is beyond is met when the queue comes there.
const AHEAD_MAX: u64 = 1 << 24;

pub use self::{
    account::CallFailed,
    grants::GrantStage,
    guardian::{Guardian, GuardianError, pause_vault, unpause_vault},
    lane::{LaneDriver, LaneError, LaneParts, LaneSettings, Progress},
    lanes::{Lane, LaneState, list_lanes, register_lane},
    metrics::SagaMetrics,
    operate::{OperateError, retire_lane, settle_lane},
    recovery::{Found, Imported, RecoverError, Recovery, Waiting},
    settlements::SettlementStage,
    state::{Applied, GrantState, IllegalTransition, SagaEvent, Seat},
    treasury::{Treasury, TreasuryError},
    wallet_checks::{WalletCheckError, WalletChecker},
};
