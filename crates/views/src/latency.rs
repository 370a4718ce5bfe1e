//! How long players wait: from an outcome's acceptance to its grant's completion.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use laurel_bus::{Stage, StageError};
use laurel_events::{Envelope, Event, EventKind, NewEvent};
use prometheus::{Histogram, HistogramOpts, Registry, exponential_buckets};
use sqlx::PgConnection;

use crate::GATHER;

/// What the views tell Prometheus.
#[derive(Clone, Debug)]
pub struct ViewsMetrics {
    /// Seconds from an outcome's record to TokenGrantCompleted, both as the journal has them.
    pub outcome_to_completed_seconds: Histogram,
}

impl ViewsMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// If the registry has metrics of these names.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let options = HistogramOpts::new(
            "laurel_outcome_to_completed_seconds",
            "Seconds from an outcome's record to TokenGrantCompleted, both as the journal has them.",
        );
        // From an eighth of a second, which no chain reaches, to over an hour: a wallet that was awaited.
        let buckets = exponential_buckets(0.125, 2.0, 16)?;
        let metrics = Self { outcome_to_completed_seconds: Histogram::with_opts(options.buckets(buckets))? };
        registry.register(Box::new(metrics.outcome_to_completed_seconds.clone()))?;
        Ok(metrics)
    }
}

/// Observes how long each grant took. Handled twice after a crash, it is observed twice: a metric, not a book.
#[derive(Clone, Debug)]
pub struct LatencyStage {
    metrics: ViewsMetrics,
}

impl LatencyStage {
    /// A stage that observes into `metrics`.
    pub fn new(metrics: ViewsMetrics) -> Self {
        Self { metrics }
    }
}

#[async_trait]
impl Stage for LatencyStage {
    fn name(&self) -> &'static str {
        "latency"
    }

    fn gathers_for(&self) -> Duration {
        GATHER
    }

    fn kinds(&self) -> &'static [EventKind] {
        &[EventKind::TokenGrantCompleted]
    }

    async fn handle(
        &self,
        conn: &mut PgConnection,
        _: DateTime<Utc>,
        events: &[Envelope],
    ) -> Result<Vec<NewEvent>, StageError> {
        let mut campaigns = Vec::with_capacity(events.len());
        let mut numbers = Vec::with_capacity(events.len());
        let mut completed_at = Vec::with_capacity(events.len());
        for envelope in events {
            if let Event::TokenGrantCompleted(completed) = &envelope.event {
                campaigns.push(completed.grant.campaign.number());
                numbers.push(completed.grant.number.cast_signed());
                completed_at.push(envelope.recorded_at);
            }
        }
        let rows = sqlx::query!(
            r#"
            SELECT c.at AS "completed_at!", j.recorded_at
            FROM unnest($1::bigint[], $2::bigint[], $3::timestamptz[]) AS c (campaign, number, at)
            JOIN grants g ON g.campaign = c.campaign AND g.number = c.number
            JOIN journal j ON j.part = g.part AND j.position = g.position
            "#,
            &campaigns,
            &numbers,
            &completed_at,
        )
        .fetch_all(conn)
        .await?;
        for row in rows {
            let took = (row.completed_at - row.recorded_at).as_seconds_f64();
            self.metrics.outcome_to_completed_seconds.observe(took);
        }
        Ok(Vec::new())
    }
}
