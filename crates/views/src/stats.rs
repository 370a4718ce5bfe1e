//! CampaignStatsView: what became of the outcomes that campaigns met, who takes part, what is spent when, and what the books said at any
//! moment.
//!
//! A batch of events is a handful of rows: the counts of its campaigns, and of their hours. Only a player whom a campaign meets for the first
//! time, or grants something for the first time, is a row of their own.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_trait::async_trait;
use bigdecimal::BigDecimal;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use laurel_bus::{Stage, StageError};
use laurel_events::{
    Amount, CampaignId, Envelope, Event, EventKind, NewEvent, PlayerId, TokenGrantFailed, VoidProof,
};
use laurel_ledger::{LedgerError, amount_to_sql};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{GATHER, campaign_journal};

/// Counts the steps of grants and the reasons of declines per campaign, the players who take part, and the amounts of each hour.
#[derive(Clone, Copy, Debug, Default)]
pub struct CampaignStatsStage;

/// The stage's name.
pub(crate) const NAME: &str = "campaign-stats";

/// Its tables.
pub(crate) const TABLES: &[&str] =
    &["campaign_stats", "campaign_met", "campaign_hours", campaign_journal::TABLE];

/// The players whose outcomes a campaign met, and those whom it granted something, as facts.
const PLAYERS: &str = "players";
const WINNERS: &str = "winners";

/// Grants that failed without ever having had a place.
const NEVER_QUEUED: &str = "TokenGrantFailed/never_queued";

#[async_trait]
impl Stage for CampaignStatsStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn gathers_for(&self) -> Duration {
        GATHER
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
            EventKind::BudgetPosted,
            EventKind::BudgetUnposted,
            EventKind::BudgetReleased,
            EventKind::BudgetReheld,
            EventKind::BudgetFunded,
            EventKind::BudgetUnfunded,
            EventKind::BudgetReturned,
            EventKind::BudgetReclaimed,
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
        let mut batch = Batch::default();
        for envelope in events {
            batch.count(envelope)?;
        }
        batch.count_players(conn).await?;
        batch.save_facts(conn).await?;
        batch.save_hours(conn).await?;
        campaign_journal::note(conn, events).await?;
        Ok(Vec::new())
    }
}

/// What an hour adds up to.
#[derive(Debug, Default)]
struct Sums {
    granted: (i64, BigDecimal),
    declined: i64,
    released: (i64, BigDecimal),
    paid: (i64, BigDecimal),
}

/// What a batch of events adds.
#[derive(Debug, Default)]
struct Batch {
    facts: BTreeMap<(CampaignId, String), i64>,
    met: BTreeSet<(CampaignId, PlayerId, bool)>,
    hours: BTreeMap<(CampaignId, DateTime<Utc>), Sums>,
}

impl Batch {
    fn count(&mut self, envelope: &Envelope) -> Result<(), StageError> {
        if let Some((campaign, fact)) = fact(&envelope.event) {
            *self.facts.entry((campaign, fact)).or_default() += 1;
        }
        if let Event::TokenGrantFailed(TokenGrantFailed { grant, proof: VoidProof::NeverQueued, .. }) =
            &envelope.event
        {
            *self.facts.entry((grant.campaign, NEVER_QUEUED.to_owned())).or_default() += 1;
        }
        let hour = hour_of(envelope.recorded_at)?;
        let add = |sum: &mut (i64, BigDecimal), count: i64, amount: Amount| {
            sum.0 += count;
            let amount = amount_to_sql(amount);
            sum.1 += if count < 0 { -amount } else { amount };
        };
        match &envelope.event {
            Event::TokenGrantRequested(event) => {
                let campaign = event.grant.campaign;
                add(&mut self.sums(campaign, hour).granted, 1, event.amount);
                self.met.extend([false, true].map(|granted| (campaign, event.player, granted)));
            }
            Event::RewardDeclined(event) => {
                self.sums(event.campaign, hour).declined += 1;
                self.met.insert((event.campaign, event.player, false));
            }
            Event::BudgetReleased(event) => {
                add(&mut self.sums(event.grant.campaign, hour).released, 1, event.amount)
            }
            Event::BudgetReheld(event) => {
                add(&mut self.sums(event.grant.campaign, hour).released, -1, event.amount)
            }
            Event::BudgetPosted(event) => {
                add(&mut self.sums(event.campaign, hour).paid, event.grants.into(), event.amount);
            }
            Event::BudgetUnposted(event) => {
                add(&mut self.sums(event.campaign, hour).paid, -i64::from(event.grants), event.amount);
            }
            _ => {}
        }
        Ok(())
    }

    fn sums(&mut self, campaign: CampaignId, hour: DateTime<Utc>) -> &mut Sums {
        self.hours.entry((campaign, hour)).or_default()
    }

    /// Notes the players, and counts those who are new.
    async fn count_players(&mut self, conn: &mut PgConnection) -> Result<(), LedgerError> {
        let campaigns: Vec<i64> = self.met.iter().map(|(campaign, ..)| campaign.number()).collect();
        let players: Vec<Uuid> = self.met.iter().map(|(_, player, _)| player.uuid()).collect();
        let granted: Vec<bool> = self.met.iter().map(|(.., granted)| *granted).collect();
        let new = sqlx::query!(
            r#"
            WITH new AS (
                INSERT INTO campaign_met (campaign, player, granted)
                SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::boolean[])
                ON CONFLICT DO NOTHING
                RETURNING campaign, granted
            )
            SELECT campaign, granted, count(*) AS "count!" FROM new GROUP BY campaign, granted
            "#,
            &campaigns,
            &players,
            &granted,
        )
        .fetch_all(conn)
        .await?;
        for row in new {
            let fact = if row.granted { WINNERS } else { PLAYERS };
            let campaign = CampaignId::from(row.campaign.cast_unsigned());
            *self.facts.entry((campaign, fact.to_owned())).or_default() += row.count;
        }
        Ok(())
    }

    async fn save_facts(&self, conn: &mut PgConnection) -> Result<(), LedgerError> {
        let campaigns: Vec<i64> = self.facts.keys().map(|(campaign, _)| campaign.number()).collect();
        let facts: Vec<String> = self.facts.keys().map(|(_, fact)| fact.clone()).collect();
        let counts: Vec<i64> = self.facts.values().copied().collect();
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
        Ok(())
    }

    async fn save_hours(&self, conn: &mut PgConnection) -> Result<(), LedgerError> {
        let campaigns: Vec<i64> = self.hours.keys().map(|(campaign, _)| campaign.number()).collect();
        let hours: Vec<DateTime<Utc>> = self.hours.keys().map(|(_, hour)| *hour).collect();
        let counts = |of: fn(&Sums) -> i64| self.hours.values().map(of).collect::<Vec<i64>>();
        let amounts =
            |of: fn(&Sums) -> &BigDecimal| self.hours.values().map(of).cloned().collect::<Vec<BigDecimal>>();
        sqlx::query!(
            r#"
            INSERT INTO campaign_hours AS h
                (campaign, hour, granted, granted_amount, declined, released, released_amount, paid, paid_amount)
            SELECT * FROM unnest($1::bigint[], $2::timestamptz[], $3::bigint[], $4::numeric[], $5::bigint[], $6::bigint[],
                                 $7::numeric[], $8::bigint[], $9::numeric[])
            ON CONFLICT (campaign, hour) DO UPDATE
            SET granted = h.granted + EXCLUDED.granted, granted_amount = h.granted_amount + EXCLUDED.granted_amount,
                declined = h.declined + EXCLUDED.declined, released = h.released + EXCLUDED.released,
                released_amount = h.released_amount + EXCLUDED.released_amount, paid = h.paid + EXCLUDED.paid,
                paid_amount = h.paid_amount + EXCLUDED.paid_amount
            "#,
            &campaigns,
            &hours,
            &counts(|sums| sums.granted.0),
            &amounts(|sums| &sums.granted.1),
            &counts(|sums| sums.declined),
            &counts(|sums| sums.released.0),
            &amounts(|sums| &sums.released.1),
            &counts(|sums| sums.paid.0),
            &amounts(|sums| &sums.paid.1),
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}

fn hour_of(time: DateTime<Utc>) -> Result<DateTime<Utc>, StageError> {
    time.duration_trunc(TimeDelta::hours(1)).map_err(StageError::poison)
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
        Event::BudgetReleased(event) => (event.grant.campaign, kind.to_owned()),
        Event::BudgetReheld(event) => (event.grant.campaign, kind.to_owned()),
        Event::TokenGrantFailed(event) => (event.grant.campaign, kind.to_owned()),
        Event::RewardDeclined(event) => (event.campaign, format!("{kind}/{}", event.reason)),
        _ => return None,
    })
}

/// What became of the outcomes that a campaign met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CampaignStats {
    /// How many grants there were.
    pub grants: u64,
    /// How many of them have been given a place on the chain.
    pub started: u64,
    /// How many of them are complete.
    pub completed: u64,
    /// How many of them have failed, those that were compensated among them.
    pub failed: u64,
    /// How many of those never had a place.
    pub failed_unplaced: u64,
    /// How many of them were compensated.
    pub compensated: u64,
    /// How often a grant began to await a wallet.
    pub awaited_wallet: u64,
    /// How often a grant was held.
    pub held: u64,
    /// How many players it met.
    pub players: u64,
    /// How many of them it granted something.
    pub winners: u64,
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
            "TokenGrantStarted" => stats.started = count,
            "TokenGrantCompleted" => stats.completed = count,
            "TokenGrantFailed" => stats.failed = count,
            NEVER_QUEUED => stats.failed_unplaced = count,
            "BudgetReleased" => stats.compensated = count,
            "TokenGrantReopened" => reopened = count,
            "BudgetReheld" => reheld = count,
            "TokenGrantAwaitingWallet" => stats.awaited_wallet = count,
            "TokenGrantHeld" => stats.held = count,
            PLAYERS => stats.players = count,
            WINNERS => stats.winners = count,
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
    stats.failed = stats.failed.saturating_sub(reheld);
    Ok(stats)
}

/// What was recorded of a campaign in an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignHour {
    /// Its beginning.
    pub hour: DateTime<Utc>,
    /// How many grants.
    pub granted: i64,
    /// Their amounts.
    pub granted_amount: BigDecimal,
    /// How many outcomes were declined.
    pub declined: i64,
    /// How many grants were given back, less those whose proof the chain took back.
    pub released: i64,
    /// Their amounts.
    pub released_amount: BigDecimal,
    /// How many grants final blocks paid, less those that the chain took back.
    pub paid: i64,
    /// Their amounts.
    pub paid_amount: BigDecimal,
}

/// The hours of a campaign in which anything was recorded, from `from` on, before `before`, the newest first.
///
/// # Errors
/// If the database does not answer.
pub async fn campaign_hours(
    conn: &mut PgConnection,
    campaign: CampaignId,
    from: Option<DateTime<Utc>>,
    before: Option<DateTime<Utc>>,
    limit: i64,
) -> Result<Vec<CampaignHour>, LedgerError> {
    let hours = sqlx::query_as!(
        CampaignHour,
        r#"
        SELECT hour, granted, granted_amount, declined, released, released_amount, paid, paid_amount FROM campaign_hours
        WHERE campaign = $1 AND ($2::timestamptz IS NULL OR hour >= $2) AND ($3::timestamptz IS NULL OR hour < $3)
        ORDER BY hour DESC
        LIMIT $4
        "#,
        campaign.number(),
        from,
        before,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(hours)
}
