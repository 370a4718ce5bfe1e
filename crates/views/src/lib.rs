//! What is read.
//!
//! ```text
//!   grants ─┬─ exceptions ─┬─ runs ─┬─ segments ─┬─ batches ──► GrantView, with its state
//!           ╵              ╵        ╵            ╵
//!   journal ─┬─► CampaignStatsStage ──► campaign_stats ─────────────► CampaignStats
//!            ╰─► HistoryStage ────────► history ────────────────────► TimelineEntry
//! ```
//!
//! A grant's state is derived from where it is, not kept. What is kept here is a projection, which `laurel replay` drops
//! and rebuilds from the journal.

mod candidates;
mod grants;
mod history;
mod latency;
mod stats;
mod tokens;
mod transactions;

pub use self::{
    grants::{GrantFilter, GrantPage, GrantView, find_grant_view, grant_outcome_id, list_grant_views},
    history::{HistoryStage, TimelineEntry, grant_timeline, rebuild_history},
    latency::{LatencyStage, ViewsMetrics},
    stats::{CampaignStats, CampaignStatsStage, campaign_stats, rebuild_campaign_stats},
    tokens::{TokenBalance, token_balances},
    transactions::{
        TransactionFilter, TransactionView, find_transaction, grants_of_transaction, list_transactions,
    },
};
