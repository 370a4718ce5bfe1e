//! Campaigns' statistics, kept for a moment: a thousand who watch one campaign cost what one costs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, header::IF_NONE_MATCH},
};

use chrono::{DateTime, Utc};
use laurel_campaign::{BudgetNotice, list_notices};
use laurel_events::{Amount, CampaignId, EventKind};
use laurel_ledger::find_balances;
use laurel_views::{
    CampaignHour, FORECAST_HOURS, Forecast, campaign_hours, campaign_stats, forecast, forecast_from,
    grant_counts,
};
use moka::future::Cache;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use utoipa::ToSchema;

use crate::{ApiState, Problem};

/// How old an answer gets at the most. What an event changes is seen sooner.
const FRESH: Duration = Duration::from_millis(500);

/// How many campaigns are kept.
const KEPT_MAX: u64 = 10_000;

/// How many notices are told.
const NOTICES_MAX: i64 = 20;

/// What changes statistics.
pub(crate) const CHANGES: &[EventKind] = &[
    EventKind::TokenGrantRequested,
    EventKind::TokenGrantAwaitingWallet,
    EventKind::TokenGrantHeld,
    EventKind::TokenGrantStarted,
    EventKind::TokenGrantCompleted,
    EventKind::TokenGrantFailed,
    EventKind::BlockchainTxSubmitted,
    EventKind::BlockchainTxMined,
    EventKind::BlockchainTxConfirmed,
    EventKind::RewardDeclined,
    EventKind::BudgetPosted,
    EventKind::BudgetReleased,
    EventKind::BudgetReturned,
    EventKind::CampaignFunded,
];

/// What was recorded in an hour.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct HourOut {
    /// Its beginning.
    hour: DateTime<Utc>,
    /// How many grants.
    granted: i64,
    /// Their amounts, in base units.
    granted_amount: String,
    /// How many outcomes were declined.
    declined: i64,
    /// How many grants came to nothing and were given back; below zero where the chain took that back.
    released: i64,
    /// Their amounts.
    released_amount: String,
    /// How many grants final blocks paid; below zero where the chain took that back.
    paid: i64,
    /// Their amounts.
    paid_amount: String,
}

impl From<CampaignHour> for HourOut {
    fn from(hour: CampaignHour) -> Self {
        Self {
            hour: hour.hour,
            granted: hour.granted,
            granted_amount: hour.granted_amount.to_string(),
            declined: hour.declined,
            released: hour.released,
            released_amount: hour.released_amount.to_string(),
            paid: hour.paid,
            paid_amount: hour.paid_amount.to_string(),
        }
    }
}

/// How long the budget lasts at the rate of the last day.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ForecastOut {
    /// What is granted in an hour, less what is given back, in base units.
    per_hour: String,
    /// When nothing is left, to the hour; null if nothing is granted, or nothing is left already.
    budget_ends_at: Option<DateTime<Utc>>,
}

impl From<Forecast> for ForecastOut {
    fn from(forecast: Forecast) -> Self {
        Self { per_hour: forecast.per_hour.to_string(), budget_ends_at: forecast.budget_ends_at }
    }
}

/// That so much of a cap was granted, for the first time.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct NoticeOut {
    /// How many percent, at least: 50, 80 or 100.
    percent: u8,
    /// Of which cap, in base units.
    #[schema(value_type = String)]
    cap: Amount,
    /// When.
    at: DateTime<Utc>,
}

impl From<BudgetNotice> for NoticeOut {
    fn from(BudgetNotice { percent, cap, at }: BudgetNotice) -> Self {
        Self { percent, cap, at }
    }
}

/// A campaign's statistics.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct CampaignStatistics {
    /// The vault's cap, and what is overdrawn: the sum of the next four.
    #[schema(value_type = String)]
    funded: Amount,
    /// Free for grants.
    #[schema(value_type = String)]
    available: Amount,
    /// Held for grants under way.
    #[schema(value_type = String)]
    reserved: Amount,
    /// Paid on the chain.
    #[schema(value_type = String)]
    paid: Amount,
    /// Given back when the vault released the campaign.
    #[schema(value_type = String)]
    returned: Amount,
    /// What grants stand on and the vault has no cap for, since the chain took back what was final. Nothing is available then.
    #[schema(value_type = String)]
    overdrawn: Amount,
    /// How many grants there were.
    grants: u64,
    /// How many of them are complete.
    completed: u64,
    /// How many of them were compensated.
    compensated: u64,
    /// How many grants are in each state; states without any are left out.
    states: BTreeMap<&'static str, u64>,
    /// How many outcomes were declined, by reason.
    declined: BTreeMap<String, u64>,
    /// How many players it met.
    players: u64,
    /// How many of them it granted something.
    winners: u64,
    /// Winners among players, from 0 to 1; null while there are none.
    participation_rate: Option<f64>,
    /// Complete grants among those that have come to an end, from 0 to 1; null while there are none.
    success_rate: Option<f64>,
    /// The last 24 hours, the newest first; hours in which nothing was recorded are left out.
    hours: Vec<HourOut>,
    /// How long the budget lasts; null before anything was granted.
    forecast: Option<ForecastOut>,
    /// What was told of the budget, the last first.
    notices: Vec<NoticeOut>,
}

/// Four decimals say enough.
fn rate(part: u64, whole: u64) -> Option<f64> {
    let parts = u32::try_from((u128::from(part) * 10_000).checked_div(u128::from(whole))?).ok()?;
    Some(f64::from(parts) / 10_000.0)
}

/// Statistics as they are sent, with their entity tag.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) body: Bytes,
    pub(crate) etag: HeaderValue,
}

impl Snapshot {
    /// Whether a caller says that they have it (RFC 9110, section 13.1.2).
    pub(crate) fn is_known(&self, headers: &HeaderMap) -> bool {
        headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|value| {
            value
                .split(',')
                .map(str::trim)
                .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.etag)
        })
    }
}

/// Statistics that were asked for a moment ago.
#[derive(Clone, Debug)]
pub(crate) struct StatisticsCache {
    snapshots: Cache<CampaignId, Arc<Snapshot>>,
    changed: watch::Sender<()>,
}

impl Default for StatisticsCache {
    fn default() -> Self {
        let snapshots = Cache::builder().max_capacity(KEPT_MAX).time_to_live(FRESH).build();
        Self { snapshots, changed: watch::Sender::new(()) }
    }
}

impl StatisticsCache {
    /// A campaign's statistics, read once for all who ask at the same time.
    pub(crate) async fn get(&self, state: &ApiState, campaign: CampaignId) -> Result<Arc<Snapshot>, Problem> {
        let read = async { Ok::<_, Problem>(Arc::new(read(state, campaign).await?)) };
        self.snapshots.try_get_with(campaign, read).await.map_err(|problem| (*problem).clone())
    }

    /// Forgets everything: events were committed.
    fn forget(&self) {
        self.snapshots.invalidate_all();
        self.changed.send_replace(());
    }

    /// Says when something may have changed.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

/// Has statistics follow what is committed anywhere, until the end.
pub async fn follow_statistics(state: ApiState) {
    let wake = state.wakes.subscribe(CHANGES).await;
    while let Some(()) = state.shutdown.run_until_cancelled(wake.notified()).await {
        state.statistics().forget();
    }
}

async fn read(state: &ApiState, id: CampaignId) -> Result<Snapshot, Problem> {
    let now = state.now();
    let mut conn = state.read_pool.acquire().await?;
    let books = find_balances(&mut conn, id).await?.unwrap_or_default();
    let stats = campaign_stats(&mut conn, id).await?;
    let states = grant_counts(&mut conn, id, &stats).await?;
    let hours = campaign_hours(&mut conn, id, Some(forecast_from(now)), None, FORECAST_HOURS).await?;
    let notices = list_notices(&mut conn, id, NOTICES_MAX).await?;
    drop(conn);
    let available = laurel_ledger::amount_to_sql(books.available);
    let forecast = forecast(now, &hours, &available);
    let ended = stats.completed + stats.failed;
    let statistics = CampaignStatistics {
        funded: books.funded,
        available: books.available,
        reserved: books.reserved,
        paid: books.paid,
        returned: books.returned,
        overdrawn: books.overdrawn,
        grants: stats.grants,
        completed: stats.completed,
        compensated: stats.compensated,
        states,
        players: stats.players,
        winners: stats.winners,
        participation_rate: rate(stats.winners, stats.players),
        success_rate: rate(stats.completed, ended),
        declined: stats.declined,
        hours: hours.into_iter().map(HourOut::from).collect(),
        forecast: forecast.map(ForecastOut::from),
        notices: notices.into_iter().map(NoticeOut::from).collect(),
    };
    let body = serde_json::to_vec(&statistics)
        .map_err(|error| Problem::internal(&format!("statistics that cannot be written: {error}")))?;
    let digest = Sha256::digest(&body);
    let etag = format!("\"{}\"", hex::encode(&digest[..8]));
    let etag = HeaderValue::try_from(etag).map_err(|error| Problem::internal(&error.to_string()))?;
    Ok(Snapshot { body: body.into(), etag })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_four_decimals_and_need_something() {
        assert_eq!([rate(1, 3), rate(3, 3), rate(0, 7)], [Some(0.3333), Some(1.0), Some(0.0)]);
        assert_eq!(rate(0, 0), None);
        assert_eq!(rate(u64::MAX, u64::MAX), Some(1.0));
    }

    #[test]
    fn a_tag_is_known_however_it_is_listed() {
        let snapshot = Snapshot { body: Bytes::new(), etag: HeaderValue::from_static("\"ab\"") };
        for (value, known) in [
            ("\"ab\"", true),
            ("W/\"ab\"", true),
            ("\"cd\", \"ab\"", true),
            ("*", true),
            ("\"abc\"", false),
            ("ab", false),
        ] {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static(value))]);
            assert_eq!(snapshot.is_known(&headers), known, "{value}");
        }
        assert!(!snapshot.is_known(&HeaderMap::new()));
    }
}
