//! The role `chain-watcher`.

use std::time::Duration;

use laurel_chain_watcher::{Watcher, WatcherParts};

use crate::app::App;

/// Starts to follow every chain.
pub(crate) fn start(app: &App) {
    for chain in &app.chains {
        let parts = WatcherParts {
            node: chain.node.clone(),
            pool: app.pool.clone(),
            clock: app.clock.clone(),
            wakes: app.wakes.clone(),
            metrics: app.watcher_metrics.clone(),
        };
        let poll = Duration::from_millis(chain.config.poll_interval_ms);
        let watcher = Watcher::new(chain.config.id, chain.config.finality, parts, app.replica.clone(), poll);
        app.spawn(watcher.run(app.shutdown.clone()));
    }
}
