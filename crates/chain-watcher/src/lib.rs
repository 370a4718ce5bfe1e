//! Follows a chain and tells the journal what happened to our transactions.
//!
//! ```text
//!   node ── heads ──► reconcile ──► Removed blocks, Added blocks ──► sightings ──► BlockchainTxMined / Reorged
//!                                                                        │
//!   node ── finality ────────────────────────────────────────────────────┴──► BlockchainTxConfirmed / Reverted,
//!                                                                             CampaignFunded
//! ```
//!
//! Nothing is sent from here. A header must hash to its hash and name its parent, and receipts must hash to the
//! header's root before a log is believed. The chain's row in the database is the fence: a step that finds the head
//! moved by another replica changes nothing.

mod facts;
mod finality;
mod metrics;
mod reconcile;
mod store;
mod watcher;

pub use self::{
    finality::Finality,
    metrics::WatcherMetrics,
    reconcile::{BlockId, ReconcileError, Reconciled, reconcile},
    watcher::{Watcher, WatcherError, WatcherParts},
};
