//! What the watcher tells Prometheus.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

/// Metrics per chain.
#[derive(Clone, Debug)]
pub struct WatcherMetrics {
    /// The number of the canonical head as the journal knows it.
    pub head: IntGaugeVec,
    /// The number of the last final block as the journal knows it.
    pub final_block: IntGaugeVec,
    /// Blocks that left the canonical chain.
    pub removed_blocks_total: IntCounterVec,
}

impl WatcherMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// If the registry has metrics of these names.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let chain = &["chain_id"];
        let metrics = Self {
            head: IntGaugeVec::new(
                Opts::new(
                    "laurel_chain_head_block",
                    "The number of the canonical head as the journal knows it.",
                ),
                chain,
            )?,
            final_block: IntGaugeVec::new(
                Opts::new(
                    "laurel_chain_final_block",
                    "The number of the last final block as the journal knows it.",
                ),
                chain,
            )?,
            removed_blocks_total: IntCounterVec::new(
                Opts::new("laurel_chain_removed_blocks_total", "Blocks that left the canonical chain."),
                chain,
            )?,
        };
        registry.register(Box::new(metrics.head.clone()))?;
        registry.register(Box::new(metrics.final_block.clone()))?;
        registry.register(Box::new(metrics.removed_blocks_total.clone()))?;
        Ok(metrics)
    }
}
