//! Grants as the rows of an export.

use std::collections::HashMap;

use alloy_primitives::{Address, B256};
use chrono::{DateTime, Utc};
use laurel_events::{Amount, CampaignId, GrantId, OrgId, OutcomeKey, PlayerId};
use laurel_ledger::LedgerError;
use laurel_players::players_of_ids;
use laurel_views::{GrantView, GrantWalk, list_grant_views};
use serde::Serialize;
use sqlx::PgConnection;

use super::query::Asked;
use crate::export::{Source, cell};

/// How many are read together where they are looked for one by one.
const PAGE: i64 = 500;

/// A grant as a row: as it is when it is read.
#[derive(Serialize)]
pub(crate) struct GrantRow {
    id: GrantId,
    state: String,
    reason: Option<String>,
    campaign_id: CampaignId,
    seq: Option<u64>,
    outcome_key: OutcomeKey,
    player_id: Option<String>,
    player: PlayerId,
    wallet: Option<String>,
    amount: Amount,
    token: String,
    chain_id: u64,
    vault: String,
    tx: Option<B256>,
    block: Option<u64>,
    rule_version: i32,
    granted_at: DateTime<Utc>,
    completed_at: Option<DateTime<Utc>>,
}

/// All grants that a query asks for.
pub(super) struct GrantSource {
    org: OrgId,
    asked: Asked,
    after: Option<GrantId>,
    way: Way,
    /// Addresses as they are written: the same few tokens and vaults in every row.
    written: HashMap<Address, String>,
}

/// How they are found.
enum Way {
    /// Page by page, where few are.
    Pages { over: bool },
    /// Thousands at a time, where many are.
    Walk(Option<GrantWalk>),
}

impl GrantSource {
    pub(super) fn new(org: OrgId, asked: Asked, after: Option<GrantId>) -> Self {
        let way = if asked.filter(None).finds_few() { Way::Pages { over: false } } else { Way::Walk(None) };
        Self { org, asked, after, way, written: HashMap::new() }
    }

    async fn find(&mut self, conn: &mut PgConnection) -> Result<Option<Vec<GrantView>>, LedgerError> {
        let filter = self.asked.filter(self.after);
        match &mut self.way {
            Way::Pages { over: true } => Ok(None),
            Way::Pages { over } => {
                let page = list_grant_views(conn, self.org, &filter, PAGE).await?;
                *over = page.next.is_none();
                self.after = page.next;
                Ok(Some(page.grants))
            }
            Way::Walk(walk) => {
                let mut going = match walk.take() {
                    Some(walk) => walk,
                    None => GrantWalk::begin(conn, self.org, &filter).await?,
                };
                let found = going.next(conn, &filter).await;
                *walk = Some(going);
                found
            }
        }
    }

    fn row(&mut self, grant: GrantView, player_id: Option<String>) -> GrantRow {
        let mut write = |address: Address| {
            self.written.entry(address).or_insert_with(|| address.to_checksum(None)).clone()
        };
        GrantRow {
            id: grant.id,
            reason: grant.reason,
            campaign_id: grant.id.campaign,
            seq: grant.seq,
            outcome_key: grant.outcome,
            player_id: player_id.map(cell),
            player: grant.player,
            wallet: grant.wallet.map(|wallet| wallet.to_checksum(None)),
            amount: grant.amount,
            token: write(grant.token),
            chain_id: grant.chain_id,
            vault: write(grant.vault),
            tx: grant.tx,
            block: grant.block,
            rule_version: grant.rule_version,
            granted_at: grant.granted_at,
            completed_at: grant.posted_at.filter(|_| grant.state == "completed"),
            state: grant.state,
        }
    }
}

impl Source for GrantSource {
    type Row = GrantRow;

    const WHAT: &'static str = "grants";

    const NAMES: &'static [&'static str] = &[
        "id",
        "state",
        "reason",
        "campaign_id",
        "seq",
        "outcome_key",
        "player_id",
        "player",
        "wallet",
        "amount",
        "token",
        "chain_id",
        "vault",
        "tx",
        "block",
        "rule_version",
        "granted_at",
        "completed_at",
    ];

    async fn next(&mut self, conn: &mut PgConnection) -> Result<Option<Vec<GrantRow>>, LedgerError> {
        let Some(grants) = self.find(conn).await? else { return Ok(None) };
        let mut players: Vec<PlayerId> = grants.iter().map(|grant| grant.player).collect();
        players.sort_unstable();
        players.dedup();
        let names = players_of_ids(conn, &players).await?;
        let rows = grants.into_iter().map(|grant| {
            let name = names.get(&grant.player).cloned();
            self.row(grant, name)
        });
        Ok(Some(rows.collect()))
    }
}
