//! Driving a lane: plan, simulate, sign, commit, and only then send.

mod abandoned;
mod failing;
mod fit;
mod heartbeat;
mod monitor;
mod replace;
mod send;
mod sign;
mod unmined;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use alloy::primitives::Address;
use chrono::{DateTime, TimeDelta, Utc};
use laurel_bus::Wakes;
use laurel_chain::{ChainError, ChainNode, KeyError, LaneSigner, NonceAt};
use laurel_events::{
    CampaignId, Clock, EventKind, LaneId, OperatorAlertRaised, alert::NONCE_USED_ELSEWHERE, time_ordered,
};
use laurel_ledger::{
    Context, LedgerError, Vault, answered, append, commit, is_chain_stopped, planted, quarantine_another,
    raise_alert,
};
use rand::{SeedableRng, rngs::StdRng};
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

use crate::{
    LaneState, SagaMetrics,
    lanes::{Lease, lease_lane},
    simulate::GasPlan,
    submit::{Committed, write_batch},
};

use self::{abandoned::Suspects, failing::Failing, heartbeat::Heartbeat, monitor::Searched, send::Tries};
pub(crate) use self::{monitor::LANE_ALERTS, unmined::attempt_hashes};

/// How lanes are driven.
#[derive(Clone, Copy, Debug)]
pub struct LaneSettings {
    /// A batch is closed at this size.
    pub grants_max: u32,
    /// A batch is closed when its oldest grant has waited this long.
    pub age_max: Duration,
    /// The most batches of a lane that are in no block yet: what nodes keep per account without complaint.
    pub unmined_max: usize,
    /// How long after its signature the vault refuses a settlement (D).
    pub settlement_lifetime: Duration,
    /// The most a unit of gas may cost, in wei.
    pub max_fee_per_gas: u128,
    /// How long a batch may be in no block before it is sent again, and, by the chain's clock, before it is stuck.
    pub monitor_timeout: Duration,
    /// How often that is checked.
    pub monitor_interval: Duration,
    /// How long a grant is tried again that its recipient refuses, before its place is burned and its hold given back.
    pub give_up_refused: Duration,
}

/// How long a lane's lease lasts without being renewed: a holder that died is replaced within seconds.
const LEASE: TimeDelta = TimeDelta::seconds(2);

/// How long to rest when there is nothing to do and no wake came.
const POLL: Duration = Duration::from_millis(100);

/// How long to rest after an error.
const ERROR_REST: Duration = Duration::from_secs(1);

/// How long a step may take before it is given up, however often the lease is renewed meanwhile: longer than it takes until endpoints
/// that do not answer are left alone. What was committed is sent again by the next one.
const STEP_TIMEOUT: Duration = Duration::from_secs(120);

/// The kinds of events after which a lane may have something to do.
const WAKING: &[EventKind] = &[
    EventKind::TokenGrantStarted,
    EventKind::BlockchainTxMined,
    EventKind::BlockchainTxReorged,
    EventKind::BlockchainTxReverted,
];

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A batch was committed and sent, or the queue has moved: there may be more.
    Sent,
    /// There was nothing to do.
    Idle,
}

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// The database.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl LaneError {
    /// What happened, in few words that may be shown.
    fn in_short(&self) -> String {
        match self {
            Self::Chain(error) => error.in_short(),
            other => other.to_string(),
        }
    }
}

impl From<sqlx::Error> for LaneError {
    fn from(error: sqlx::Error) -> Self {
        Self::Ledger(error.into())
    }
}

/// Drives one lane on one replica.
#[derive(Debug)]
pub struct LaneDriver {
    lane: LaneId,
    vault: Vault,
    signer: Arc<dyn LaneSigner>,
    node: Arc<dyn ChainNode>,
    pool: PgPool,
    clock: Arc<dyn Clock>,
    wakes: Wakes,
    metrics: SagaMetrics,
    settings: LaneSettings,
    holder: String,
    rng: StdRng,
    /// Campaigns to pass over, and until when.
    resting: HashMap<CampaignId, DateTime<Utc>>,
    /// Campaigns of which only errors were said when they were simulated last.
    unanswered: HashSet<CampaignId>,
    /// Campaigns whose settlements need more gas than most.
    gas: HashMap<CampaignId, GasPlan>,
    /// What nodes made of the unmined batches.
    tries: Tries,
    /// When unmined batches are looked at next; at once after the lease was taken.
    check_at: Option<DateTime<Utc>>,
    fence: Option<i64>,
    /// Who used its lowest nonce, as far as that was looked for.
    searched: Option<Searched>,
    /// The vault's other lanes that may be abandoned.
    suspects: Suspects,
    /// How its steps go.
    failing: Failing,
}

/// What a driver works with.
#[derive(Clone, Debug)]
pub struct LaneParts {
    /// The lane's key.
    pub signer: Arc<dyn LaneSigner>,
    /// The chain.
    pub node: Arc<dyn ChainNode>,
    /// The database.
    pub pool: PgPool,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Wakes.
    pub wakes: Wakes,
    /// Metrics.
    pub metrics: SagaMetrics,
}

impl LaneDriver {
    /// A driver of `lane` under the name `holder`, which no other replica has; `seed` is for ids.
    pub fn new(
        lane: LaneId,
        vault: Vault,
        parts: LaneParts,
        settings: LaneSettings,
        holder: String,
        seed: u64,
    ) -> Self {
        Self {
            lane,
            vault,
            signer: parts.signer,
            node: parts.node,
            pool: parts.pool,
            clock: parts.clock,
            wakes: parts.wakes,
            metrics: parts.metrics,
            settings,
            holder,
            rng: StdRng::seed_from_u64(seed),
            resting: HashMap::new(),
            unanswered: HashSet::new(),
            gas: HashMap::new(),
            tries: Tries::default(),
            check_at: None,
            fence: None,
            searched: None,
            suspects: Suspects::new(),
            failing: Failing::default(),
        }
    }

    /// Drives the lane until `shutdown`; a batch that was committed is sent first.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let wake = self.wakes.subscribe(WAKING).await;
        let heartbeat = Heartbeat {
            lane: self.lane,
            holder: self.holder.clone(),
            pool: self.pool.clone(),
            clock: Arc::clone(&self.clock),
        };
        while !shutdown.is_cancelled() {
            let rest = match heartbeat.during(self.round()).await {
                Ok(Progress::Sent) => continue,
                Ok(Progress::Idle) => POLL,
                Err(error) => {
                    tracing::warn!(lane.id = %self.lane, error = ?error, "the lane stands still and will try again");
                    ERROR_REST
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(rest) => {}
                () = wake.notified(), if rest == POLL => {}
            }
        }
    }

    /// Takes a step, and sees to it that people are told where none succeeds for long.
    ///
    /// # Errors
    /// As [`LaneDriver::step`], and if a step takes too long.
    pub async fn round(&mut self) -> Result<Progress, LaneError> {
        let began = self.clock.now();
        let done = answered(STEP_TIMEOUT, self.step()).await;
        if let Err(error) = answered(STEP_TIMEOUT, self.note(began, &done)).await {
            tracing::warn!(lane.id = %self.lane, error = ?error, "whether the lane's steps fail could not be noted");
        }
        done
    }

    /// Does the next thing that there is to do.
    ///
    /// # Errors
    /// If the database, the chain or the key does not answer. Nothing is half done then.
    pub async fn step(&mut self) -> Result<Progress, LaneError> {
        let now = self.clock.now();
        let mut conn = self.pool.acquire().await?;
        let Some(lease) = lease_lane(&mut conn, now, self.lane, &self.holder, LEASE).await? else {
            self.fence = None;
            return Ok(Progress::Idle);
        };
        if is_chain_stopped(&mut conn, self.vault.identity.chain_id).await? {
            // When payouts go on, everything that is under way is sent again.
            self.fence = None;
            // A connection through a pooler may lead to another server since it was made.
            if let Some(reason) = quarantine_another(&mut conn, now, time_ordered(now, &mut self.rng)).await?
            {
                tracing::error!(lane.id = %self.lane, reason, "quarantine: nothing is signed until `laurel recover` was run");
            }
            return Ok(Progress::Idle);
        }
        drop(conn);
        if self.fence != Some(lease.fence) {
            // Whoever had the lane before may have died between the commit and the sending.
            if lease.state != LaneState::Retired && self.runs_ahead(lease).await? {
                return Ok(Progress::Idle);
            }
            (self.tries, self.check_at) = (Tries::default(), None);
            self.fence = Some(lease.fence);
            #[cfg(feature = "faults")]
            if planted!(NonceReusedAfterCrash) {
                crate::planted::take_nonce_of_chain(&self.pool, &*self.node, self.lane, self.address())
                    .await?;
            }
        }
        let Some(unmined) = self.monitor(now, lease).await? else { return Ok(Progress::Idle) };
        if lease.state != LaneState::Active || unmined >= self.settings.unmined_max {
            return Ok(Progress::Idle);
        }
        let Some(plan) = self.plan(now, unmined == 0).await? else { return Ok(Progress::Idle) };
        // Another replica may have queued what was planned since the step began: it is not signed before that.
        let now = self.clock.now().max(now);
        if plan.open().next().is_none() {
            self.pass(now, &plan).await?;
            return Ok(Progress::Sent);
        }
        let Some(signed) = self.sign(now, lease, plan).await? else { return Ok(Progress::Idle) };
        if planted!(BroadcastBeforeCommit) {
            let _ = self.node.send(signed.signed.raw.clone()).await;
        }
        let mut tx = self.pool.begin().await?;
        match write_batch(&mut tx, now, &self.vault, self.lane, lease, &signed).await? {
            Committed::Yes => {
                commit(tx, "batch").await?;
                self.committed(&signed).await;
                let (hash, raw) = (signed.signed.hash, signed.signed.raw);
                self.send(signed.batch, signed.attempt, hash, raw).await?;
                Ok(Progress::Sent)
            }
            // Rolled back at once: a transaction that is only dropped keeps its locks for a while.
            Committed::Overtaken => {
                tx.rollback().await?;
                Ok(Progress::Sent)
            }
            Committed::LeaseLost => {
                tx.rollback().await?;
                Ok(Progress::Idle)
            }
        }
    }

    /// Halts the lane if the chain has used a nonce of it that we never gave: somebody else did.
    async fn runs_ahead(&self, lease: Lease) -> Result<bool, LaneError> {
        let mined = self.node.nonce(self.signer.address(), NonceAt::Latest).await?;
        if mined <= lease.next_nonce {
            return Ok(false);
        }
        let detail =
            format!("the chain has {mined} transactions of the lane, this ledger {}", lease.next_nonce);
        self.halt(lease, NONCE_USED_ELSEWHERE, detail).await?;
        Ok(true)
    }

    async fn raise(&self, conn: &mut PgConnection, alert: OperatorAlertRaised) -> Result<(), LedgerError> {
        let now = self.clock.now();
        tracing::error!(alert.code, alert.about, alert.detail, "alert");
        if let Some(alert) = raise_alert(conn, now, alert).await? {
            append(conn, &Context::at(now), &[alert.into()]).await?;
        }
        Ok(())
    }

    /// The lane's account.
    pub fn address(&self) -> Address {
        self.signer.address()
    }
}
