//! CampaignStatsView: a campaign's books and what became of the outcomes it met.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use laurel_bus::{Stage, StageError};
use laurel_events::{CampaignId, Envelope, Event, EventKind, NewEvent};
use laurel_ledger::{LedgerError, commit, reset_cursors};
use sqlx::{Connection, PgConnection};

/// Counts the steps of grants and the reasons of declines per campaign.
#[derive(Clone, Copy, Debug, Default)]
pub struct CampaignStatsStage;

/// The stage's name.
const NAME: &str = "campaign-stats";

#[async_trait]
impl Stage for CampaignStatsStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn kinds(&self) -> &'static [EventKind] {
        &[
            EventKind::TokenGrantRequested,
            EventKind::TokenGrantAwaitingWallet,
            EventKind::TokenGrantHeld,
            EventKind::TokenGrantStarted,
            EventKind::TokenGrantCompleted,
            EventKind::TokenGrantReopened,
            EventKind::TokenGrantFailed,
            EventKind::BudgetReleased,
            EventKind::BudgetReheld,
            EventKind::RewardDeclined,
        ]
    }

    fn events_max(&self) -> i64 {
        // One row per campaign and fact, however many events: the larger the batch, the cheaper the event.
        5_000
    }

    async fn handle(
        &self,
        conn: &mut PgConnection,
        _now: DateTime<Utc>,
        events: &[Envelope],
    ) -> Result<Vec<NewEvent>, StageError> {
        let mut counts: BTreeMap<(CampaignId, String), i64> = BTreeMap::new();
        for envelope in events {
            if let Some(fact) = fact(&envelope.event) {
                *counts.entry(fact).or_default() += 1;
            }
        }
        let campaigns: Vec<i64> = counts.keys().map(|(campaign, _)| campaign.number()).collect();
        let facts: Vec<String> = counts.keys().map(|(_, fact)| fact.clone()).collect();
        let counts: Vec<i64> = counts.values().copied().collect();
        sqlx::query!(
            r#"
            INSERT INTO campaign_stats AS s (campaign, fact, count)
            SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[])
            ON CONFLICT (campaign, fact) DO UPDATE SET count = s.count + EXCLUDED.count
            "#,
            &campaigns,
            &facts,
            &counts,
        )
        .execute(conn)
        .await?;
        Ok(Vec::new())
    }
}

fn fact(event: &Event) -> Option<(CampaignId, String)> {
    let kind = event.kind().as_str();
    Some(match event {
        Event::TokenGrantRequested(event) => (event.grant.campaign, kind.to_owned()),
        Event::TokenGrantAwaitingWallet(event) => (event.grant.campaign, kind.to_owned()),
        Event::TokenGrantHeld(event) => (event.grant.campaign, kind.to_owned()),
        Event::TokenGrantStarted(event) => (event.grant.campaign, kind.to_owned()),
        Event::TokenGrantCompleted(event) => (event.grant.campaign, kind.to_owned()),
        Event::TokenGrantReopened(event) => (event.grant.campaign, kind.to_owned()),
        Event::BudgetReheld(event) => (event.grant.campaign, kind.to_owned()),
        Event::TokenGrantFailed(event) => (event.grant.campaign, kind.to_owned()),
        Event::BudgetReleased(event) => (event.grant.campaign, kind.to_owned()),
        Event::RewardDeclined(event) => (event.campaign, format!("{kind}/{}", event.reason)),
        _ => return None,
    })
}

/// Drops the view; its stage rebuilds it from the beginning of the journal.
///
/// # Errors
/// If the database does not answer.
pub async fn rebuild_campaign_stats(conn: &mut PgConnection) -> Result<(), LedgerError> {
    let mut tx = conn.begin().await?;
    // The cursors first: whoever is in the middle of a batch finishes it, and finds its cursor moved afterwards.
    reset_cursors(&mut tx, NAME).await?;
    sqlx::query!("DELETE FROM campaign_stats").execute(&mut *tx).await?;
    commit(tx, "stats_rebuilt").await?;
    Ok(())
}

/// What became of the outcomes that a campaign met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CampaignStats {
    /// How many grants there were.
    pub grants: u64,
    /// How many of them are complete.
    pub completed: u64,
    /// How many of them were compensated.
    pub compensated: u64,
    /// How often a grant began to await a wallet.
    pub awaited_wallet: u64,
    /// How often a grant was held.
    pub held: u64,
    /// How many outcomes were declined, by reason.
    pub declined: BTreeMap<String, u64>,
}

/// A campaign's statistics.
///
/// # Errors
/// If the database does not answer.
pub async fn campaign_stats(
    conn: &mut PgConnection,
    campaign: CampaignId,
) -> Result<CampaignStats, LedgerError> {
    let rows = sqlx::query!("SELECT fact, count FROM campaign_stats WHERE campaign = $1", campaign.number())
        .fetch_all(conn)
        .await?;
    let mut stats = CampaignStats::default();
    let (mut reopened, mut reheld) = (0, 0);
    for row in rows {
        let count = row.count.unsigned_abs();
        match row.fact.as_str() {
            "TokenGrantRequested" => stats.grants = count,
            "TokenGrantCompleted" => stats.completed = count,
            "BudgetReleased" => stats.compensated = count,
            "TokenGrantReopened" => reopened = count,
            "BudgetReheld" => reheld = count,
            "TokenGrantAwaitingWallet" => stats.awaited_wallet = count,
            "TokenGrantHeld" => stats.held = count,
            fact => {
                if let Some(reason) = fact.strip_prefix("RewardDeclined/") {
                    stats.declined.insert(reason.to_owned(), count);
                }
            }
        }
    }
    // What the chain took back. The view reads a partition after the other, but a campaign's events are in one.
    stats.completed = stats.completed.saturating_sub(reopened);
    stats.compensated = stats.compensated.saturating_sub(reheld);
    Ok(stats)
}
