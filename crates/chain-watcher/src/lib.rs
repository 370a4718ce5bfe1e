//! Follows a chain and tells the journal what happened to our transactions.
//!
//! ```text
//!   node ── heads ──► reconcile ──► Removed blocks, Added blocks ──► sightings ──► BlockchainTxMined / Reorged
//!                                                                        │
//!   node ── finality ────────────────────────────────────────────────────┴──► BlockchainTxConfirmed / Reverted,
//!                                                                             CampaignFunded
//! ```
//!
//! Heads are asked for every `poll_interval_ms`; there is no subscription. Nothing is sent from here. A header must hash to its hash and name its parent, and receipts must hash to the
//! header's root before a log is believed. The chain's row in the database is the fence: a step that finds the head
//! moved by another replica changes nothing.

mod watcher;

mod facts;
mod reconcile;

mod finality;

mod advance;
mod telling;

mod rebase;

mod error;
mod metrics;
mod store;

pub use laurel_chain::{FinalBlock, Finality};

pub use self::{
    error::WatcherError,
    finality::FinalityConflict,
    metrics::WatcherMetrics,
    rebase::{Lost, Reading, Rebase, RebaseError, RebasePlan, Unread},
    reconcile::{BlockId, ReconcileError, Reconciled, reconcile},
    watcher::{Watcher, WatcherParts},
};
