//! The role `grant-saga`.

mod lanes;
pub(crate) mod signers;

use anyhow::Context;
use laurel_grant_saga::{GrantStage, LaneState, SettlementStage, Treasury, WalletChecker, list_lanes};

use self::lanes::Lanes;
use crate::{app::App, connect};

/// Starts to queue, sign and send.
pub(crate) async fn start(app: &App) -> anyhow::Result<()> {
    if app.config.database.durable {
        connect::require_durable(&app.pool).await?;
    }
    app.run_stage(GrantStage);
    app.run_stage(SettlementStage);
    let lanes = list_lanes(&mut *app.pool.acquire().await?).await?;
    let retired = lanes.into_iter().filter(|lane| lane.state == LaneState::Retired);
    let retired: Vec<_> = retired.map(|lane| lane.address).collect();
    let mut chains = Vec::with_capacity(app.chains.len());
    for chain in &app.chains {
        let at = || format!("chain {}", chain.config.id);
        chains.push((chain, signers::load(chain, app.environment(), &retired).await.with_context(at)?));
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
        let lanes = Lanes::start(app, chain, signers.lanes).await;
        let lanes = lanes.with_context(|| format!("chain {}: a lane", chain.config.id))?;
        app.spawn(lanes.run());
        if let Some(signer) = signers.treasury {
            let treasury = Treasury::new(
                chain.vault,
                signer,
                chain.node.clone(),
                app.pool.clone(),
                app.clock.clone(),
                app.replica.clone(),
                chain.config.max_fee_per_gas(),
            );
            app.spawn(treasury.run(app.shutdown.clone()));
        }
    }
    Ok(())
}
