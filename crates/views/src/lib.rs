//! What is read.
//!
//! ```text
//!   grants ─┬─ exceptions ─┬─ runs ─┬─ segments ─┬─ batches ──► GrantView, with its state
//!           ╵              ╵        ╵            ╵
//!   journal ─┬─► CampaignStatsStage ──► campaign_stats ─────────────► CampaignStats
//!            │                         campaign_journal ───────────► PastBooks, which numbers were granted when
//!            ├─► HistoryStage ────────► history ────────────────────► TimelineEntry, PastGrant
//!            ╰─► WalletLinksStage ────► wallet_links ───────────────► whose a wallet is
//! ```
//!
//! A grant's state is derived from where it is, not kept. What is kept here is a projection, which `laurel replay` builds anew
//! from the journal, beside the one that is in use.

mod balances;
mod bulk;
mod campaign_journal;
mod candidates;
mod forecast;
mod grants;
mod history;
mod journal;
mod lag;
mod latency;
mod past;
mod rebuild;
mod states;
mod stats;
mod timeline;
mod tokens;
mod totals;
mod transactions;
mod vaults;
mod wallets;

use std::time::Duration;

/// How long views let events gather: what they show is less than a second old.
const GATHER: Duration = Duration::from_millis(200);

pub use self::{
    balances::{Account, DayBalance, day_balances},
    bulk::GrantWalk,
    campaign_journal::{PastBooks, books_at},
    candidates::Span,
    forecast::{FORECAST_HOURS, Forecast, forecast, forecast_from},
    grants::{GrantFilter, GrantPage, GrantView, find_grant_view, grant_outcome_id, list_grant_views},
    history::HistoryStage,
    journal::{
        JournalCursor, JournalEntry, JournalFilter, JournalPage, NoJournalCursor, find_event, list_journal,
    },
    lag::{ViewLag, view_lags},
    latency::{LatencyStage, ViewsMetrics},
    past::{PastGrant, grant_at},
    rebuild::{RebuildError, Rebuilt, View, rebuild},
    states::grant_counts,
    stats::{CampaignHour, CampaignStats, CampaignStatsStage, campaign_hours, campaign_stats},
    timeline::{TimelineEntry, grant_batches, grant_timeline},
    tokens::{TokenBalance, token_balances},
    totals::{GrantTotals, grant_totals},
    transactions::{
        TransactionFilter, TransactionKind, TransactionPage, TransactionTotals, TransactionView,
        find_transaction, grants_of_transaction, list_transactions, transaction_totals,
    },
    vaults::{VaultShare, vault_shares},
    wallets::{WalletLinksStage, own_players_of_wallets, players_of_wallet},
};
