//! The loop that keeps a stage going.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use laurel_events::{Clock, EventKind, Partition};
use laurel_ledger::{answered, stage_lag, stage_work};
use rand::{SeedableRng, rngs::StdRng};
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    Backoff, BusMetrics, OnPoison, Stage, StageError, Wakes,
    deliver::{Care, Delivered, deliver},
    halt::raise_halted,
    redeliver::redeliver,
};

/// A stage that has more than this before it does not let more gather.
const BEHIND_CHUNKS: i64 = 1_000;

/// How a stage is run.
#[derive(Clone, Copy, Debug)]
pub struct RunnerSettings {
    /// How often to look for events without having been woken.
    pub poll_interval: Duration,
    /// How often an event is tried before it is a dead letter.
    pub attempts_max: u32,
    /// The wait between attempts at an event.
    pub retry: Backoff,
    /// The wait after an infrastructure error.
    pub infrastructure: Backoff,
    /// How long a round may take before it is given up: longer than the server lets statements run.
    pub round_timeout: Duration,
}

impl Default for RunnerSettings {
    fn default() -> Self {
        Self {
            // A wake was lost: a quarter of a second is noticed by nobody, and costs four small queries a second.
            poll_interval: Duration::from_millis(250),
            // With the waits below an event has half a minute to become possible.
            attempts_max: 6,
            retry: Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(30) },
            infrastructure: Backoff { base: Duration::from_millis(50), cap: Duration::from_secs(5) },
            round_timeout: Duration::from_secs(90),
        }
    }
}

/// Where a stage looks for what there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// In all partitions that go on behind its cursors, be it with nothing but others' events.
    Everywhere,
    /// Where there are events for it.
    ForItsOwn,
}

/// Runs a stage on one replica.
pub struct Runner {
    stage: Arc<dyn Stage>,
    pool: PgPool,
    clock: Arc<dyn Clock>,
    wakes: Wakes,
    metrics: BusMetrics,
    settings: RunnerSettings,
    rng: StdRng,
    /// Whether it has to catch up.
    is_behind: bool,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("stage", &self.stage.name()).finish_non_exhaustive()
    }
}

impl Runner {
    /// A runner of `stage`; `seed` is for the jitter of its waits.
    pub fn new(
        stage: Arc<dyn Stage>,
        pool: PgPool,
        clock: Arc<dyn Clock>,
        wakes: Wakes,
        metrics: BusMetrics,
        settings: RunnerSettings,
        seed: u64,
    ) -> Self {
        Self {
            stage,
            pool,
            clock,
            wakes,
            metrics,
            settings,
            rng: StdRng::seed_from_u64(seed),
            is_behind: false,
        }
    }

    /// Runs until `shutdown`; a delivery that has begun is finished first.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let wake = self.wakes.subscribe(self.stage.kinds()).await;
        let (mut failures, mut look) = (0, Look::Everywhere);
        while !shutdown.is_cancelled() {
            let wait = match answered(self.settings.round_timeout, self.look(look)).await {
                Ok(true) => {
                    failures = 0;
                    if !self.is_behind {
                        self.gather(&shutdown).await;
                    }
                    look = Look::ForItsOwn;
                    continue;
                }
                Ok(false) => {
                    failures = 0;
                    self.settings.poll_interval
                }
                Err(error) => {
                    failures += 1;
                    self.report(&error, failures);
                    self.settings.infrastructure.delay(failures, &mut self.rng)
                }
            };
            // After an error a wake must not cut the wait short.
            let is_woken = self.pause(&shutdown, &wake, wait, failures == 0).await;
            look = if is_woken { Look::ForItsOwn } else { Look::Everywhere };
        }
    }

    /// Lets events gather. No wake cuts it short: it comes with the first of them.
    async fn gather(&self, shutdown: &CancellationToken) {
        let gathered = self.stage.gathers_for();
        if !gathered.is_zero() {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(gathered) => {}
            }
        }
    }

    /// Whether it was woken.
    async fn pause(
        &self,
        shutdown: &CancellationToken,
        wake: &Notify,
        wait: Duration,
        wakeable: bool,
    ) -> bool {
        tokio::select! {
            () = shutdown.cancelled() => false,
            () = tokio::time::sleep(wait) => false,
            () = wake.notified(), if wakeable => true,
        }
    }

    /// Delivers whatever there is, once per partition. Says whether there may be more.
    ///
    /// # Errors
    /// An infrastructure error, or an event that halts its partition.
    pub async fn round(&mut self) -> Result<bool, StageError> {
        self.look(Look::Everywhere).await
    }

    async fn look(&mut self, look: Look) -> Result<bool, StageError> {
        let name = self.stage.name();
        // One event that halts, or one partition that fails, must not keep the others from going on.
        let mut trouble = None;
        let mut more = match self.retry_one().await {
            Ok(more) => more,
            Err(error) => {
                trouble = Some(error);
                false
            }
        };
        let lag = match look {
            Look::Everywhere => stage_lag(&self.pool, name).await?,
            Look::ForItsOwn => stage_work(&self.pool, name, self.stage.kinds()).await?,
        };
        self.metrics.lag_chunks.with_label_values(&[name]).set(lag.chunks);
        self.is_behind = lag.chunks > BEHIND_CHUNKS;
        for partition in lag.partitions {
            match self.deliver_next(partition).await {
                // The database itself is in trouble: each partition would only wait for it.
                Err(error) if matches!(trouble, Some(StageError::Infrastructure(_))) => return Err(error),
                Err(error) => trouble = Some(error),
                Ok(Delivered::Halted(halt)) => {
                    if raise_halted(&self.pool, name, partition, self.clock.now(), &halt).await? {
                        self.wakes.committed([EventKind::OperatorAlertRaised]).await;
                    }
                    trouble = Some(halt.error);
                }
                Ok(delivered) => more |= matches!(delivered, Delivered::Handled { .. }),
            }
        }
        match trouble {
            Some(error) if !more => Err(error),
            Some(error) => {
                self.report(&error, 1);
                Ok(more)
            }
            None => Ok(more),
        }
    }

    async fn deliver_next(&mut self, partition: Partition) -> Result<Delivered, StageError> {
        let name = self.stage.name();
        let timer = self.metrics.batch_seconds.with_label_values(&[name]).start_timer();
        let now = self.clock.now();
        let delivered = match deliver(&self.pool, &*self.stage, partition, now, Care::Fail).await {
            Err(StageError::Poison(_)) => {
                let due_at = now + to_delta(self.settings.retry.delay(1, &mut self.rng));
                deliver(&self.pool, &*self.stage, partition, now, Care::SetAside { due_at }).await?
            }
            delivered => delivered?,
        };
        match &delivered {
            Delivered::Handled { events, .. } if *events > 0 => timer.observe_duration(),
            _ => drop(timer.stop_and_discard()),
        }
        self.told(&delivered).await;
        Ok(delivered)
    }

    async fn retry_one(&mut self) -> Result<bool, StageError> {
        let settings = self.settings;
        let now = self.clock.now();
        let rng = &mut self.rng;
        let again_at = |attempts, on_poison| {
            // What must not be passed over is never dead.
            let again = on_poison == OnPoison::Halt || attempts < settings.attempts_max;
            again.then(|| now + to_delta(settings.retry.delay(attempts, rng)))
        };
        let later = now + to_delta(settings.infrastructure.cap);
        let delivered = redeliver(&self.pool, &*self.stage, now, later, again_at).await?;
        self.told(&delivered).await;
        match delivered {
            Delivered::Halted(halt) => Err(halt.error),
            delivered => Ok(matches!(delivered, Delivered::Handled { .. })),
        }
    }

    async fn told(&self, delivered: &Delivered) {
        let Delivered::Handled { events, effects, letters } = delivered else { return };
        let name = self.stage.name();
        if *events > 0 {
            self.metrics.events_total.with_label_values(&[name]).inc_by(*events as u64);
            self.metrics.batch_events.with_label_values(&[name]).observe(*events as f64);
        }
        if *letters > 0 {
            self.metrics.poisoned_total.with_label_values(&[name, "set_aside"]).inc_by(*letters as u64);
            tracing::warn!(stage = name, letters, "events were set aside as letters");
        }
        self.wakes.committed(effects.iter().copied()).await;
    }

    fn report(&self, error: &StageError, failures: u32) {
        let name = self.stage.name();
        if matches!(error, StageError::Infrastructure(_)) {
            self.metrics.infrastructure_errors_total.with_label_values(&[name]).inc();
        }
        let chain = error.chain();
        tracing::warn!(stage = name, failures, error = chain, "the stage stands still and will try again");
    }
}

fn to_delta(wait: Duration) -> TimeDelta {
    TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX)
}
