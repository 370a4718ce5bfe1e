//! What the saga tells Prometheus.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry, exponential_buckets,
};

/// Metrics of the lanes that a process drives.
#[derive(Clone, Debug)]
pub struct SagaMetrics {
    /// Batches signed and committed.
    pub batches_total: IntCounter,
    /// Grants per batch.
    pub batch_grants: Histogram,
    /// Transactions given to a node, by its answer.
    pub broadcasts_total: IntCounterVec,
    /// Attempts that outbid another of their nonce, by what they hold.
    pub replacements_total: IntCounterVec,
    /// Whether a lane gets batches: 1, or 0 while it is parked or retired.
    pub active: IntGaugeVec,
    /// Batches of a lane that are in no block yet.
    pub unmined: IntGaugeVec,
    /// Age in seconds of a lane's oldest batch that is in no block yet.
    pub oldest_unmined_seconds: IntGaugeVec,
}

impl SagaMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// If the registry has metrics of these names.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            batches_total: IntCounter::new("laurel_batches_total", "Batches signed and committed.")?,
            batch_grants: Histogram::with_opts(
                HistogramOpts::new("laurel_batch_grants", "Grants per batch.")
                    .buckets(exponential_buckets(1.0, 2.0, 10)?),
            )?,
            broadcasts_total: IntCounterVec::new(
                Opts::new("laurel_broadcasts_total", "Transactions given to a node, by its answer."),
                &["answer"],
            )?,
            replacements_total: IntCounterVec::new(
                Opts::new(
                    "laurel_replacements_total",
                    "Attempts that outbid another of their nonce, by what they hold.",
                ),
                &["holds"],
            )?,
            active: IntGaugeVec::new(
                Opts::new(
                    "laurel_lane_active",
                    "Whether a lane gets batches: 1, or 0 while it is parked or retired.",
                ),
                &["lane"],
            )?,
            unmined: IntGaugeVec::new(
                Opts::new("laurel_lane_unmined_batches", "Batches of a lane that are in no block yet."),
                &["lane"],
            )?,
            oldest_unmined_seconds: IntGaugeVec::new(
                Opts::new(
                    "laurel_lane_oldest_unmined_seconds",
                    "Age in seconds of a lane's oldest batch that is in no block yet.",
                ),
                &["lane"],
            )?,
        };
        registry.register(Box::new(metrics.batches_total.clone()))?;
        registry.register(Box::new(metrics.batch_grants.clone()))?;
        registry.register(Box::new(metrics.broadcasts_total.clone()))?;
        registry.register(Box::new(metrics.replacements_total.clone()))?;
        registry.register(Box::new(metrics.active.clone()))?;
        registry.register(Box::new(metrics.unmined.clone()))?;
        registry.register(Box::new(metrics.oldest_unmined_seconds.clone()))?;
        Ok(metrics)
    }
}
