//! The role `grant-saga`.

mod signers;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use laurel_chain::{LaneSigner, NonceAt};
use laurel_grant_saga::{
    GrantStage, LaneDriver, LaneParts, LaneSettings, SettlementStage, Treasury, WalletChecker, register_lane,
};

use crate::{app::App, connect::ConnectedChain};

/// The most unmined transactions of an account that nodes keep without complaint.
const UNMINED_MAX: usize = 16;

/// Wei in a gwei.
const GWEI: u128 = 1_000_000_000;

/// Starts to queue, sign and send.
pub(crate) async fn start(app: &App) -> anyhow::Result<()> {
    app.run_stage(GrantStage);
    app.run_stage(SettlementStage);
    let mut chains = Vec::with_capacity(app.chains.len());
    for chain in &app.chains {
        let at = || format!("chain {}", chain.config.id);
        chains.push((chain, signers::load(chain, app.environment()).await.with_context(at)?));
    }
    // Only when all of them are as they should be: nothing is signed beside a mistake.
    for (chain, signers) in chains {
        let checker = WalletChecker::new(
            chain.config.id,
            chain.node.clone(),
            app.pool.clone(),
            app.clock.clone(),
            app.wakes.clone(),
            app.replica.clone(),
        );
        app.spawn(checker.run(app.shutdown.clone()));
        for lane in signers.lanes {
            start_lane(app, chain, lane)
                .await
                .with_context(|| format!("chain {}: a lane", chain.config.id))?;
        }
        if let Some(signer) = signers.treasury {
            let treasury = Treasury::new(
                chain.vault,
                signer,
                chain.node.clone(),
                app.pool.clone(),
                app.clock.clone(),
                app.replica.clone(),
            );
            app.spawn(treasury.run(app.shutdown.clone()));
        }
    }
    Ok(())
}

async fn start_lane(app: &App, chain: &ConnectedChain, signer: Arc<dyn LaneSigner>) -> anyhow::Result<()> {
    let nonce = chain.node.nonce(signer.address(), NonceAt::Latest).await?;
    let mut conn = app.pool.acquire().await?;
    let lane = register_lane(&mut conn, chain.vault.id, signer.address(), nonce).await?;
    drop(conn);
    let settings = LaneSettings {
        grants_max: app.config.batch.grants_max,
        age_max: Duration::from_millis(app.config.batch.age_max_ms),
        unmined_max: UNMINED_MAX,
        settlement_lifetime: Duration::from_millis(chain.config.settlement_lifetime_ms),
        max_fee_per_gas: u128::from(chain.config.max_fee_per_gas_gwei) * GWEI,
        monitor_timeout: app.config.monitor.timeout(),
        monitor_interval: app.config.monitor.check_interval(),
    };
    let parts = LaneParts {
        signer,
        node: chain.node.clone(),
        pool: app.pool.clone(),
        clock: app.clock.clone(),
        wakes: app.wakes.clone(),
        metrics: app.saga_metrics.clone(),
    };
    let driver = LaneDriver::new(lane, chain.vault, parts, settings, app.replica.clone(), app.seed_for(lane));
    app.spawn(driver.run(app.shutdown.clone()));
    Ok(())
}
