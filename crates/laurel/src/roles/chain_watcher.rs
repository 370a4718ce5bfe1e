//! The role `chain-watcher`.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use laurel_chain_watcher::{Watcher, WatcherParts};
use laurel_grant_saga::Guardian;

use super::grant_saga::signers;
use crate::{app::App, connect};

/// Starts to follow every chain, and to guard its vault where this process has the key for it.
pub(crate) async fn start(app: &App) -> anyhow::Result<()> {
    for chain in &app.chains {
        let Some(source) = &chain.config.guardian_key else { continue };
        let at = || format!("chain {}: guardian_key", chain.config.id);
        let key = Arc::new(connect::key(source, app.environment()).with_context(at)?);
        signers::require_guardian(chain, &*key).await.with_context(at)?;
        let guardian = Guardian::new(chain.vault, key, chain.node.clone(), app.pool.clone());
        app.spawn(guardian.run(app.shutdown.clone()));
    }
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
    Ok(())
}
