//! What the limits tell Prometheus.

use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, exponential_buckets,
};

/// Metrics of the limits of a replica, by class where a class is meant.
#[derive(Clone, Debug)]
pub struct LimitMetrics {
    /// Requests, or outcomes' requests, that a bucket refused.
    pub limited_total: IntCounterVec,
    /// Requests that found no turn in time.
    pub shed_total: IntCounterVec,
    /// Requests that have a turn at the database.
    pub in_flight: IntGaugeVec,
    /// Seconds that requests waited for their turn, those that found none as well.
    pub queue_seconds: HistogramVec,
    /// Leases of buckets, by what became of them: leased, failed, late.
    pub leases_total: IntCounterVec,
    /// Connections that are open.
    pub connections: IntGauge,
    /// Journal chunks that are not decided on, as the intake sees them.
    pub intake_lag_chunks: IntGauge,
}

impl LimitMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// If the registry has metrics of these names.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let class = &["class"];
        let metrics = Self {
            limited_total: IntCounterVec::new(
                Opts::new("laurel_api_limited_total", "Requests that a bucket refused."),
                class,
            )?,
            shed_total: IntCounterVec::new(
                Opts::new("laurel_api_shed_total", "Requests that found no turn in time."),
                class,
            )?,
            in_flight: IntGaugeVec::new(
                Opts::new("laurel_api_in_flight", "Requests that have a turn at the database."),
                class,
            )?,
            queue_seconds: HistogramVec::new(
                HistogramOpts::new(
                    "laurel_api_queue_seconds",
                    "Seconds that requests waited for their turn, those that found none as well.",
                )
                .buckets(exponential_buckets(0.000_5, 2.0, 13)?),
                class,
            )?,
            leases_total: IntCounterVec::new(
                Opts::new(
                    "laurel_api_leases_total",
                    "Leases of buckets, by what became of them: leased, failed, late.",
                ),
                &["became"],
            )?,
            connections: IntGauge::new("laurel_api_connections", "Connections that are open.")?,
            intake_lag_chunks: IntGauge::new(
                "laurel_api_intake_lag_chunks",
                "Journal chunks that are not decided on, as the intake sees them.",
            )?,
        };
        registry.register(Box::new(metrics.limited_total.clone()))?;
        registry.register(Box::new(metrics.shed_total.clone()))?;
        registry.register(Box::new(metrics.in_flight.clone()))?;
        registry.register(Box::new(metrics.queue_seconds.clone()))?;
        registry.register(Box::new(metrics.leases_total.clone()))?;
        registry.register(Box::new(metrics.connections.clone()))?;
        registry.register(Box::new(metrics.intake_lag_chunks.clone()))?;
        Ok(metrics)
    }
}
