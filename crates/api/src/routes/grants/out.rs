//! A grant as the interface shows it.

use std::collections::HashMap;

use alloy_primitives::B256;
use chrono::{DateTime, Utc};
use laurel_events::{
    Amount, BatchId, CampaignId, Event, EventKind, GrantId, OutcomeKey, PlayerId, VoidProof,
};
use laurel_ledger::LedgerError;
use laurel_players::players_of_ids;
use laurel_views::{GrantPage, GrantView, PastGrant, TimelineEntry};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::{extract::Page, routes::transactions::TransactionOut};

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct TimelineOut {
    /// The kind of event.
    event: &'static str,
    /// When it was recorded.
    at: DateTime<Utc>,
    /// The event's id in the journal: partition, offset and index; none for the moment in which the views have not got there yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    /// The event that led to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// The request that led to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// Why the grant is held or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The batch.
    #[schema(value_type = Option<uuid::Uuid>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<BatchId>,
    /// The transaction.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    tx: Option<B256>,
    /// The block that has the transaction, or had it.
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<u64>,
}

/// What is held of the campaign's budget for a grant.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct HoldOut {
    /// reserved, paid or released.
    state: &'static str,
    /// Base units of the token.
    #[schema(value_type = String)]
    amount: Amount,
    /// When it was held.
    reserved_at: DateTime<Utc>,
    /// When it was paid or released; null while it is reserved.
    ended_at: Option<DateTime<Utc>>,
    /// What proves that no signed transaction can still pay the grant; only of what is released.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    proof: Option<VoidProof>,
}

impl HoldOut {
    /// What became of the hold on the way of a grant.
    pub(crate) fn of(amount: Amount, timeline: &[TimelineEntry]) -> Option<Self> {
        let mut hold: Option<Self> = None;
        for entry in timeline {
            match (entry.event, &mut hold) {
                (EventKind::TokenGrantRequested, None) => {
                    let reserved_at = entry.at;
                    hold = Some(Self { state: "reserved", amount, reserved_at, ended_at: None, proof: None });
                }
                (EventKind::BudgetPosted | EventKind::TokenGrantCompleted, Some(hold)) => {
                    (hold.state, hold.ended_at) = ("paid", Some(entry.at));
                }
                (EventKind::TokenGrantFailed, Some(hold)) => {
                    if let Some(Event::TokenGrantFailed(event)) = &entry.data {
                        hold.proof = Some(event.proof.clone());
                    }
                }
                (EventKind::BudgetReleased, Some(hold)) => {
                    (hold.state, hold.ended_at) = ("released", Some(entry.at));
                }
                (
                    EventKind::BudgetUnposted | EventKind::TokenGrantReopened | EventKind::BudgetReheld,
                    Some(hold),
                ) => {
                    (hold.state, hold.ended_at, hold.proof) = ("reserved", None, None);
                }
                _ => {}
            }
        }
        hold
    }
}

/// The states of a grant.
pub(crate) const STATES: [&str; 10] = [
    "requested",
    "awaiting_wallet",
    "held",
    "queued",
    "submitted",
    "mined",
    "confirmed",
    "completed",
    "failed",
    "compensated",
];

/// A grant.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct GrantOut {
    /// The campaign's id, a hyphen, and the grant's number in it.
    #[schema(value_type = String)]
    id: GrantId,
    /// requested, awaiting_wallet, held, queued, submitted, mined, confirmed, completed, failed or compensated.
    state: String,
    /// Since when; only where it is asked for as it was at a moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<DateTime<Utc>>,
    /// Why it is held or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Until when a wallet can be linked.
    #[serde(skip_serializing_if = "Option::is_none")]
    wallet_until: Option<DateTime<Utc>>,
    /// The organisation.
    org: String,
    /// The campaign.
    #[schema(value_type = String)]
    campaign_id: CampaignId,
    /// The sequence number in the campaign's bitmap on the chain.
    seq: Option<u64>,
    /// The outcome, as the game server names it; only where one grant is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcome_id: Option<String>,
    /// Laurel's key of the outcome.
    #[schema(value_type = uuid::Uuid)]
    outcome_key: OutcomeKey,
    /// The player, as the game server names them; null once that is erased.
    player_id: Option<String>,
    /// Laurel's id of the player.
    #[schema(value_type = uuid::Uuid)]
    player: PlayerId,
    /// The wallet that is paid.
    wallet: Option<String>,
    /// Base units of the token.
    #[schema(value_type = String)]
    pub(crate) amount: Amount,
    /// The token.
    token: String,
    /// The chain.
    chain_id: u64,
    /// The vault that pays.
    vault: String,
    /// The transaction.
    #[schema(value_type = Option<String>)]
    tx: Option<B256>,
    /// Its block.
    block: Option<u64>,
    /// The version of the rule that granted it.
    rule_version: i32,
    /// When it was granted.
    granted_at: DateTime<Utc>,
    /// What is held for it; only where one grant is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hold: Option<HoldOut>,
    /// Every transaction that was signed for it, with its lane and its fees; only where one grant is asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) attempts: Vec<TransactionOut>,
    /// Its steps so far; only where one grant is asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) timeline: Vec<TimelineOut>,
}

impl GrantOut {
    pub(crate) fn new(grant: GrantView, org: &str, player_id: Option<String>) -> Self {
        Self {
            id: grant.id,
            state: grant.state,
            since: None,
            reason: grant.reason,
            wallet_until: grant.wallet_until,
            org: org.to_owned(),
            campaign_id: grant.id.campaign,
            seq: grant.seq,
            outcome_id: None,
            outcome_key: grant.outcome,
            player_id,
            player: grant.player,
            wallet: grant.wallet.map(|wallet| wallet.to_checksum(None)),
            amount: grant.amount,
            token: grant.token.to_checksum(None),
            chain_id: grant.chain_id,
            vault: grant.vault.to_checksum(None),
            tx: grant.tx,
            block: grant.block,
            rule_version: grant.rule_version,
            granted_at: grant.granted_at,
            hold: None,
            attempts: Vec::new(),
            timeline: Vec::new(),
        }
    }

    /// Shows it as it was.
    pub(crate) fn put_back(&mut self, past: PastGrant) {
        let PastGrant { state, since, reason, wallet_until, seq, wallet, tx, block, event: _ } = past;
        (self.state, self.since, self.reason) = (state.to_owned(), Some(since), reason);
        (self.wallet_until, self.seq, self.tx, self.block) = (wallet_until, seq, tx, block);
        self.wallet = wallet.map(|wallet| wallet.to_checksum(None));
    }
}

impl From<TimelineEntry> for TimelineOut {
    fn from(entry: TimelineEntry) -> Self {
        let TimelineEntry { event, at, id, cause, request_id, reason, batch, tx, block, data: _ } = entry;
        let [event_id, cause] = [id, cause].map(|id| id.map(|id| id.to_string()));
        Self { event: event.as_str(), at, event_id, cause, request_id, reason, batch, tx, block }
    }
}

/// A page of an organisation's grants, with their players' names.
pub(crate) async fn show_all(
    conn: &mut PgConnection,
    org: &str,
    page: GrantPage,
) -> Result<Page<GrantOut>, LedgerError> {
    let players: Vec<PlayerId> = page.grants.iter().map(|grant| grant.player).collect();
    Ok(show_named(org, page, &players_of_ids(conn, &players).await?))
}

/// The same with names that are known.
pub(crate) fn show_named(org: &str, page: GrantPage, names: &HashMap<PlayerId, String>) -> Page<GrantOut> {
    let items = page
        .grants
        .into_iter()
        .map(|grant| {
            let name = names.get(&grant.player).cloned();
            GrantOut::new(grant, org, name)
        })
        .collect();
    Page { items, next: page.next.map(|id| id.to_string()) }
}
