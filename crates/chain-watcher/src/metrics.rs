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
    /// 1 while a chain is halted and waits for an operator, 0 otherwise.
    pub halted: IntGaugeVec,
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
            halted: IntGaugeVec::new(
                Opts::new(
                    "laurel_chain_halted",
                    "1 while a chain is halted and waits for an operator, 0 otherwise.",
                ),
                chain,
            )?,
        };
        registry.register(Box::new(metrics.head.clone()))?;
        registry.register(Box::new(metrics.final_block.clone()))?;
        registry.register(Box::new(metrics.removed_blocks_total.clone()))?;
        registry.register(Box::new(metrics.halted.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn moved(&self, chain_id: u64, head: u64, last_final: u64, removed: usize) {
        let chain_id = chain_id.to_string();
        self.head.with_label_values(&[&chain_id]).set(head.cast_signed());
        self.final_block.with_label_values(&[&chain_id]).set(last_final.cast_signed());
        self.removed_blocks_total.with_label_values(&[&chain_id]).inc_by(removed as u64);
    }

    pub(crate) fn halted(&self, chain_id: u64, halted: bool) {
        self.halted.with_label_values(&[chain_id.to_string()]).set(halted.into());
    }
}
