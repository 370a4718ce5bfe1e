//! The lanes of a chain: those that the configuration names, and those that are added while everything runs.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use alloy::primitives::Address;
use anyhow::Context;
use laurel_chain::{LaneSigner, NonceAt};
use laurel_events::LaneId;
use laurel_grant_saga::{Lane, LaneDriver, LaneParts, LaneSettings, LaneState, list_lanes, register_lane};

use super::signers;
use crate::{app::App, connect::ConnectedChain};

/// The most unmined transactions of an account that nodes keep without complaint.
const UNMINED_MAX: usize = 16;

/// How often is looked for lanes that were added: seconds are soon enough for what an operator types.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long a look may take before it is given up: database and signers have shorter limits, where they answer at all.
const LOOK_TIMEOUT: Duration = Duration::from_secs(60);

/// Drives the lanes of one chain on this replica.
pub(super) struct Lanes {
    app: App,
    chain: ConnectedChain,
    signers: HashMap<Address, Arc<dyn LaneSigner>>,
    driven: HashSet<LaneId>,
    /// Lanes whose key was not found here, which is said once.
    keyless: HashSet<LaneId>,
}

impl Lanes {
    /// Drives the lanes of these signers.
    pub(super) async fn start(
        app: &App,
        chain: &ConnectedChain,
        configured: Vec<Arc<dyn LaneSigner>>,
    ) -> anyhow::Result<Self> {
        let signers = configured.iter().map(|signer| (signer.address(), signer.clone())).collect();
        let (driven, keyless) = (HashSet::new(), HashSet::new());
        let mut lanes = Self { app: app.clone(), chain: chain.clone(), signers, driven, keyless };
        for signer in configured {
            let nonce = chain.node.nonce(signer.address(), NonceAt::Latest).await?;
            let mut conn = app.pool.acquire().await?;
            let lane = register_lane(&mut conn, chain.vault.id, signer.address(), None, nonce).await?;
            drop(conn);
            lanes.drive(lane, signer);
        }
        Ok(lanes)
    }

    /// Looks for lanes that were added, until the shutdown.
    pub(super) async fn run(mut self) {
        let shutdown = self.app.shutdown.clone();
        while !shutdown.is_cancelled() {
            let looked = tokio::time::timeout(LOOK_TIMEOUT, self.look()).await;
            let late = || anyhow::anyhow!("no answer within {LOOK_TIMEOUT:?}");
            if let Err(error) = looked.unwrap_or_else(|_| Err(late())) {
                tracing::warn!(%error, "cannot see whether lanes were added; looking again");
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        let lanes = list_lanes(&mut *self.app.pool.acquire().await?).await?;
        for lane in lanes {
            if lane.vault != self.chain.vault.id || self.driven.contains(&lane.id) {
                continue;
            }
            match self.signer(&lane).await {
                Ok(signer) => self.drive(lane.id, signer),
                Err(error) if self.keyless.insert(lane.id) => {
                    tracing::warn!(lane.id = %lane.id, error = %format!("{error:#}"), "this replica cannot drive a lane");
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    async fn signer(&self, lane: &Lane) -> anyhow::Result<Arc<dyn LaneSigner>> {
        if let Some(signer) = self.signers.get(&lane.address) {
            return Ok(signer.clone());
        }
        let source = lane.key_source.as_deref();
        let source = source.context("its key is not among this replica's lane_keys")?;
        let signer =
            signers::lane(&self.chain, source, self.app.environment(), lane.state == LaneState::Retired)
                .await?;
        anyhow::ensure!(
            signer.address() == lane.address,
            "{source} is the key of {} here, not of {}",
            signer.address(),
            lane.address
        );
        Ok(signer)
    }

    fn drive(&mut self, lane: LaneId, signer: Arc<dyn LaneSigner>) {
        let (app, chain) = (&self.app, &self.chain);
        let settings = LaneSettings {
            grants_max: app.config.batch.grants_max,
            age_max: Duration::from_millis(app.config.batch.age_max_ms),
            unmined_max: UNMINED_MAX,
            settlement_lifetime: Duration::from_millis(chain.config.settlement_lifetime_ms),
            max_fee_per_gas: chain.config.max_fee_per_gas(),
            monitor_timeout: app.config.monitor.timeout(),
            monitor_interval: app.config.monitor.check_interval(),
            give_up_refused: Duration::from_millis(chain.config.give_up_refused_ms),
        };
        let parts = LaneParts {
            signer,
            node: chain.node.clone(),
            pool: app.pool.clone(),
            clock: app.clock.clone(),
            wakes: app.wakes.clone(),
            metrics: app.saga_metrics.clone(),
        };
        let seed = app.seed_for(lane);
        let driver = LaneDriver::new(lane, chain.vault, parts, settings, app.replica.clone(), seed);
        app.spawn(driver.run(app.shutdown.clone()));
        self.driven.insert(lane);
        self.keyless.remove(&lane);
    }
}
