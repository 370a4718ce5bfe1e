//! What the bus tells Prometheus.

use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, exponential_buckets,
};

/// Metrics of every stage that a process runs, labelled by stage.
#[derive(Clone, Debug)]
pub struct BusMetrics {
    /// Journal chunks that the stage has not passed yet.
    pub lag_chunks: IntGaugeVec,
    /// Events handled and committed.
    pub events_total: IntCounterVec,
    /// Events per committed batch.
    pub batch_events: HistogramVec,
    /// Seconds from the claim to the commit of a batch.
    pub batch_seconds: HistogramVec,
    /// Attempts that ended with an infrastructure error and will be made again.
    pub infrastructure_errors_total: IntCounterVec,
    /// Events that could not be handled, by what became of them: retrying, dead, blocked.
    pub poisoned_total: IntCounterVec,
}

impl BusMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// If the registry has metrics of these names.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let stage = &["stage"];
        let metrics = Self {
            lag_chunks: IntGaugeVec::new(
                Opts::new("laurel_stage_lag_chunks", "Journal chunks that the stage has not passed yet."),
                stage,
            )?,
            events_total: IntCounterVec::new(
                Opts::new("laurel_stage_events_total", "Events handled and committed."),
                stage,
            )?,
            batch_events: HistogramVec::new(
                HistogramOpts::new("laurel_stage_batch_events", "Events per committed batch.")
                    .buckets(exponential_buckets(1.0, 4.0, 7)?),
                stage,
            )?,
            batch_seconds: HistogramVec::new(
                HistogramOpts::new(
                    "laurel_stage_batch_seconds",
                    "Seconds from the claim to the commit of a batch.",
                )
                .buckets(exponential_buckets(0.000_5, 2.0, 15)?),
                stage,
            )?,
            infrastructure_errors_total: IntCounterVec::new(
                Opts::new(
                    "laurel_stage_infrastructure_errors_total",
                    "Attempts that ended with an infrastructure error and will be made again.",
                ),
                stage,
            )?,
            poisoned_total: IntCounterVec::new(
                Opts::new(
                    "laurel_stage_poisoned_total",
                    "Events that could not be handled, by what became of them: retrying, dead, blocked.",
                ),
                &["stage", "became"],
            )?,
        };
        registry.register(Box::new(metrics.lag_chunks.clone()))?;
        registry.register(Box::new(metrics.events_total.clone()))?;
        registry.register(Box::new(metrics.batch_events.clone()))?;
        registry.register(Box::new(metrics.batch_seconds.clone()))?;
        registry.register(Box::new(metrics.infrastructure_errors_total.clone()))?;
        registry.register(Box::new(metrics.poisoned_total.clone()))?;
        Ok(metrics)
    }
}
