//! The ledger against the chain, and against itself.
//!
//! ```text
//!   chain ──► headers, receipts, transactions, all hashed ──► reading ──► what was paid: (campaign, seq) -> word
//!                                                                                       │
//!   ledger ──► one snapshot at its own final block ──► checks ◄──────────────────────────┘
//!                                                        └──► findings ──► report, alerts, metrics
//! ```
//!
//! The reading is apart from the watcher's: it shares nothing with it but the functions that hash. The books' quick check
//! ([`check_books`]) adds up transfers and asks the vaults for their totals; a [`reconcile`] knows every place.

mod auditor;
mod books;
mod checks;
mod error;
mod finding;
mod follow;
mod list;
mod metrics;
mod pending;
mod reading;
mod reconcile;
mod report;
mod snapshot;
mod store;

pub use self::{
    auditor::Auditor,
    books::{BooksReport, Compared, Nodes, check_books},
    error::AuditError,
    finding::{Code, Finding, Severity, TOLD_MAX},
    follow::AuditedChain,
    list::{StoredFinding, StoredReconciliation, list_reconciliations},
    metrics::AuditMetrics,
    reconcile::{ReconciledChain, Reconciliation, Request, reconcile},
};
