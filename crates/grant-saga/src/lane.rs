//! Driving a lane: plan, simulate, sign, commit, and only then send.

use std::{collections::HashMap, sync::Arc, time::Duration};

use alloy::{
    primitives::{Address, Bytes, U256},
    sol_types::SolCall,
};
use chrono::{DateTime, TimeDelta, Utc};
use laurel_bus::Wakes;
use laurel_chain::{
    BlockRef, Call, CallError, ChainError, ChainNode, KeyError, LaneSigner, NonceAt, RewardVault, SendError,
    Settlement, TxRequest, revert_reason,
};
use laurel_events::{AttemptId, BatchId, CampaignId, Clock, EventKind, LaneId, OperatorAlertRaised};
use laurel_ledger::{Context, LedgerError, Vault, append, clear_alert, raise_alert};
use rand::{SeedableRng, rngs::StdRng};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{
    LaneState, SagaMetrics,
    lanes::{Lease, lease_lane, stop_lane},
    plan::{Closing, Plan, plan_batch},
    submit::{Committed, SignedBatch, write_batch},
};

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
    /// How long a batch may be in no block before it is sent again.
    pub monitor_timeout: Duration,
    /// How often that is checked.
    pub monitor_interval: Duration,
}

/// How long a lane's lease lasts without being renewed: a holder that died is replaced within seconds.
const LEASE: TimeDelta = TimeDelta::seconds(5);

/// How long to rest when there is nothing to do and no wake came.
const POLL: Duration = Duration::from_millis(100);

/// How long to rest after an error.
const ERROR_REST: Duration = Duration::from_secs(1);

/// How long a campaign is passed over after a simulation said that its settlement would revert.
const REVERT_REST: TimeDelta = TimeDelta::seconds(15);

/// Gas that a settlement needs beside its grants: calldata's base, the campaign, the log, and the stipend that must
/// still be there before the last transfer.
const GAS_BASE: u64 = 400_000;

/// Gas per grant: a new holder of any plain ERC-20, measured at 25,700, with room for a costlier token.
const GAS_PER_GRANT: u64 = 30_000;

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
    /// A batch was committed and sent: there may be more.
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
    /// When unmined batches are looked at next; at once after the lease was taken.
    check_at: Option<DateTime<Utc>>,
    fence: Option<i64>,
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
            check_at: None,
            fence: None,
        }
    }

    /// Drives the lane until `shutdown`; a batch that was committed is sent first.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let wake = self.wakes.subscribe(WAKING).await;
        while !shutdown.is_cancelled() {
            let rest = match self.step().await {
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
        drop(conn);
        if self.fence != Some(lease.fence) {
            // Whoever had the lane before may have died between the commit and the sending.
            self.check_nonce(lease).await?;
            self.check_at = None;
            self.fence = Some(lease.fence);
        }
        let unmined = self.monitor(now).await?;
        if unmined >= self.settings.unmined_max {
            return Ok(Progress::Idle);
        }
        let Some(plan) = self.plan(now, unmined == 0).await? else { return Ok(Progress::Idle) };
        let Some(signed) = self.sign(now, lease, plan).await? else { return Ok(Progress::Idle) };
        let mut tx = self.pool.begin().await?;
        match write_batch(&mut tx, now, &self.vault, self.lane, lease, &signed).await? {
            Committed::Yes => {
                self.clear(
                    &mut tx,
                    "settlement_would_revert",
                    format!("campaign:{}", signed.plan.segment.campaign),
                )
                .await?;
                tx.commit().await?;
                self.committed(&signed).await;
                self.send(signed.batch, &signed.signed.raw).await?;
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

    /// A nonce used on the chain that we never gave was used by somebody else: the lane halts.
    async fn check_nonce(&self, lease: Lease) -> Result<(), LaneError> {
        let mined = self.node.nonce(self.signer.address(), NonceAt::Latest).await?;
        if mined <= lease.next_nonce {
            return Ok(());
        }
        let detail =
            format!("the chain has {mined} transactions of the lane, this ledger {}", lease.next_nonce);
        let mut tx = self.pool.begin().await?;
        stop_lane(&mut tx, self.lane, LaneState::Halted, "nonce_used_elsewhere").await?;
        let about = format!("lane:{}", self.lane);
        let alert = OperatorAlertRaised { code: "nonce_used_elsewhere".to_owned(), about, detail };
        self.raise(&mut tx, alert).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn raise(
        &self,
        conn: &mut sqlx::PgConnection,
        alert: OperatorAlertRaised,
    ) -> Result<(), LedgerError> {
        let now = self.clock.now();
        tracing::error!(alert.code, alert.about, alert.detail, "alert");
        if let Some(alert) = raise_alert(conn, now, alert).await? {
            append(conn, &Context::at(now), &[alert.into()]).await?;
        }
        Ok(())
    }

    async fn clear(
        &self,
        conn: &mut sqlx::PgConnection,
        code: &str,
        about: String,
    ) -> Result<(), LedgerError> {
        if let Some(cleared) = clear_alert(conn, code, &about).await? {
            append(conn, &Context::at(self.clock.now()), &[cleared.into()]).await?;
        }
        Ok(())
    }

    async fn plan(&mut self, now: DateTime<Utc>, idle: bool) -> Result<Option<Plan>, LaneError> {
        self.resting.retain(|_, until| *until > now);
        let resting: Vec<CampaignId> = self.resting.keys().copied().collect();
        let closing = Closing {
            grants_max: self.settings.grants_max,
            age_max: TimeDelta::from_std(self.settings.age_max).unwrap_or(TimeDelta::MAX),
            idle,
        };
        let mut conn = self.pool.acquire().await?;
        Ok(plan_batch(&mut conn, now, self.vault.id, closing, &resting).await?)
    }

    /// Signs a plan, if the chain says that it would be paid.
    async fn sign(
        &mut self,
        now: DateTime<Utc>,
        lease: Lease,
        plan: Plan,
    ) -> Result<Option<SignedBatch>, LaneError> {
        let latest = self.node.block(BlockRef::Latest).await?;
        let latest = latest.ok_or_else(|| ChainError::Untrue("the node has no latest block".to_owned()))?;
        let deadline = latest.header.timestamp + self.settings.settlement_lifetime.as_secs();
        let settlement = Settlement { deadline, segments: vec![plan.segment.clone()] };
        let data = settlement.calldata();
        let gas_limit = GAS_BASE + GAS_PER_GRANT * plan.segment.words.len() as u64;
        if let Some(problem) = self.simulate(data.clone(), gas_limit).await? {
            self.rest(now, plan.segment.campaign, problem).await?;
            return Ok(None);
        }
        let fees = self.node.fees().await?;
        let wanted = fees.base_fee.saturating_mul(2).saturating_add(fees.priority_fee);
        let max_fee_per_gas = wanted.min(self.settings.max_fee_per_gas);
        let request = TxRequest {
            chain_id: self.vault.identity.chain_id,
            nonce: lease.next_nonce,
            to: Some(self.vault.identity.vault),
            data,
            gas_limit,
            max_fee_per_gas,
            max_priority_fee_per_gas: fees.priority_fee.min(max_fee_per_gas),
        };
        let signed = self.signer.sign(&request)?;
        let batch = BatchId::generate(now, &mut self.rng);
        let attempt = AttemptId::generate(now, &mut self.rng);
        Ok(Some(SignedBatch { batch, attempt, plan, deadline, request, signed }))
    }

    /// What speaks against sending a settlement: that it would revert, or pay nobody.
    async fn simulate(&self, data: Bytes, gas: u64) -> Result<Option<String>, LaneError> {
        let call = Call { from: self.signer.address(), to: self.vault.identity.vault, data, gas: Some(gas) };
        match self.node.call(call).await {
            Ok(answer) => {
                let masks = RewardVault::settleCall::abi_decode_returns(&answer)
                    .map_err(|error| ChainError::Untrue(format!("the vault's answer to settle: {error}")))?;
                let pays = masks.iter().flatten().any(|mask| *mask != U256::ZERO);
                Ok((!pays).then(|| "it would pay nobody: every place is burned".to_owned()))
            }
            Err(CallError::Reverted(data)) => Ok(Some(format!("it would revert: {}", revert_reason(&data)))),
            Err(CallError::Chain(error)) => Err(error.into()),
        }
    }

    /// Passes a campaign over for a while, with an alert.
    async fn rest(
        &mut self,
        now: DateTime<Utc>,
        campaign: CampaignId,
        problem: String,
    ) -> Result<(), LaneError> {
        self.resting.insert(campaign, now + REVERT_REST);
        let about = format!("campaign:{campaign}");
        let alert =
            OperatorAlertRaised { code: "settlement_would_revert".to_owned(), about, detail: problem };
        let mut tx = self.pool.begin().await?;
        self.raise(&mut tx, alert).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn committed(&self, signed: &SignedBatch) {
        self.metrics.batches_total.inc();
        self.metrics.batch_grants.observe(signed.plan.segment.words.len() as f64);
        self.wakes.committed([EventKind::BlockchainTxSubmitted]).await;
        tracing::debug!(
            lane.id = %self.lane,
            batch.id = %signed.batch,
            tx.hash = %signed.signed.hash,
            tx.nonce = signed.request.nonce,
            grants = signed.plan.segment.words.len(),
            "a batch is committed",
        );
    }

    /// Gives committed bytes to the node. Whatever it answers, the monitor will look again.
    async fn send(&self, batch: BatchId, raw: &Bytes) -> Result<(), LaneError> {
        let answer = self.node.send(raw.clone()).await;
        let label = match &answer {
            Ok(_) => "accepted",
            Err(SendError::AlreadyKnown) => "already_known",
            Err(SendError::NonceTooLow) => "nonce_too_low",
            Err(SendError::Underpriced(_)) => "underpriced",
            Err(SendError::InsufficientFunds(_)) => "insufficient_funds",
            Err(SendError::Refused(_)) => "refused",
            Err(SendError::PerhapsSent(_)) => "perhaps_sent",
        };
        self.metrics.broadcasts_total.with_label_values(&[label]).inc();
        match answer {
            Ok(_) | Err(SendError::AlreadyKnown) => {
                sqlx::query!(
                    "UPDATE batches SET accepted_at = $2 WHERE id = $1 AND accepted_at IS NULL",
                    batch.uuid(),
                    self.clock.now(),
                )
                .execute(&self.pool)
                .await?;
            }
            Err(error @ (SendError::InsufficientFunds(_) | SendError::Refused(_))) => {
                let about = format!("lane:{}", self.lane);
                let alert =
                    OperatorAlertRaised { code: format!("send_{label}"), about, detail: error.to_string() };
                let mut tx = self.pool.begin().await?;
                self.raise(&mut tx, alert).await?;
                tx.commit().await?;
            }
            Err(error) => {
                tracing::info!(batch.id = %batch, %error, "the node did not plainly accept a batch")
            }
        }
        Ok(())
    }

    /// The transaction monitor: sends batches again that are in no block for too long, and all of them when the lane is
    /// taken over. Returns how many there are.
    async fn monitor(&mut self, now: DateTime<Utc>) -> Result<usize, LaneError> {
        let unmined = sqlx::query!(
            r#"
            SELECT b.id, b.created_at, b.accepted_at FROM batches b
            WHERE b.lane = $1 AND b.state = 'submitted'
            ORDER BY b.nonce
            "#,
            self.lane.0,
        )
        .fetch_all(&self.pool)
        .await?;
        let lane = self.lane.to_string();
        let oldest = unmined.first().map_or(0, |batch| (now - batch.created_at).num_seconds());
        self.metrics.unmined.with_label_values(&[&lane]).set(unmined.len() as i64);
        self.metrics.oldest_unmined_seconds.with_label_values(&[&lane]).set(oldest);
        let takeover = self.check_at.is_none();
        if self.check_at.is_some_and(|check_at| now < check_at) {
            return Ok(unmined.len());
        }
        self.check_at =
            Some(now + TimeDelta::from_std(self.settings.monitor_interval).unwrap_or(TimeDelta::MAX));
        let timeout = TimeDelta::from_std(self.settings.monitor_timeout).unwrap_or(TimeDelta::MAX);
        for batch in &unmined {
            let late = batch.accepted_at.is_none_or(|accepted_at| now - accepted_at >= timeout);
            if takeover || late {
                self.resend(batch.id.into()).await?;
            }
        }
        if !unmined.is_empty() {
            return Ok(unmined.len());
        }
        let mut conn = self.pool.acquire().await?;
        for code in ["send_insufficient_funds", "send_refused"] {
            self.clear(&mut conn, code, format!("lane:{lane}")).await?;
        }
        Ok(0)
    }

    async fn resend(&self, batch: BatchId) -> Result<(), LaneError> {
        let raw = sqlx::query_scalar!(
            "SELECT raw FROM attempts WHERE batch = $1 ORDER BY signed_at DESC, id DESC LIMIT 1",
            batch.uuid(),
        )
        .fetch_one(&self.pool)
        .await?;
        tracing::info!(batch.id = %batch, "sending a batch again");
        self.send(batch, &raw.into()).await
    }

    /// The lane's account.
    pub fn address(&self) -> Address {
        self.signer.address()
    }
}
