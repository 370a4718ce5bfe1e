//! Reconciliation by the clock, on one replica at a time.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use laurel_events::Clock;
use laurel_ledger::{acquire_lease, in_quarantine};
use rand::{RngCore, SeedableRng, rngs::StdRng};
use sqlx::PgPool;

use crate::{AuditError, AuditedChain, Reconciliation, Request, reconcile, report::last_started};

/// Whoever has it compares.
const LEASE_NAME: &str = "reconciliation";

/// Longer than a comparison takes. Should one take longer, two are made at a time, which costs their time and nothing else.
const LEASE: TimeDelta = TimeDelta::minutes(30);

/// How long a replica leaves it that could not compare: what failed may have taken long.
const RETRY: TimeDelta = TimeDelta::minutes(5);

/// Compares the ledger with the chains whenever an interval is over.
#[derive(Debug)]
pub struct Auditor {
    pool: PgPool,
    chains: Vec<AuditedChain>,
    interval: Duration,
    holder: String,
    rng: Mutex<StdRng>,
    busy: AtomicBool,
    /// When the last comparison came to no end.
    failed_at: Mutex<Option<DateTime<Utc>>>,
}

impl Auditor {
    /// An auditor under the name `holder`, which no other replica has.
    pub fn new(
        pool: PgPool,
        chains: Vec<AuditedChain>,
        interval: Duration,
        holder: String,
        seed: u64,
    ) -> Self {
        let rng = Mutex::new(StdRng::seed_from_u64(seed));
        Self {
            pool,
            chains,
            interval,
            holder,
            rng,
            busy: AtomicBool::new(false),
            failed_at: Mutex::default(),
        }
    }

    /// Compares, if the last comparison was begun an interval ago and nobody else is at it.
    ///
    /// # Errors
    /// If the database does not answer, or a node that answered before.
    pub async fn tick(&self, clock: &dyn Clock) -> Result<Option<Reconciliation>, AuditError> {
        if self.busy.swap(true, Ordering::AcqRel) {
            return Ok(None);
        }
        // Given back also by a tick that is given up.
        let _busy = Busy(&self.busy);
        self.compare(clock).await
    }

    async fn compare(&self, clock: &dyn Clock) -> Result<Option<Reconciliation>, AuditError> {
        if self.rests(clock.now()) {
            return Ok(None);
        }
        // Looked at before the lease as well: nearly always nothing is due.
        if !self.is_due(clock.now()).await? || !self.lease(clock.now(), LEASE).await? {
            return Ok(None);
        }
        let made = if self.is_due(clock.now()).await? {
            let seed = self.rng.lock().unwrap_or_else(PoisonError::into_inner).next_u64();
            let mut rng = StdRng::seed_from_u64(seed);
            Some(reconcile(&self.pool, &self.chains, clock, &mut rng, Request::default()).await)
        } else {
            None
        };
        let failed = matches!(made, Some(Err(_)));
        *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = failed.then(|| clock.now());
        self.release(clock.now()).await?;
        made.transpose()
    }

    fn rests(&self, now: DateTime<Utc>) -> bool {
        let failed_at = *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        let interval = TimeDelta::from_std(self.interval).unwrap_or(TimeDelta::MAX);
        failed_at.is_some_and(|at| now - at < RETRY.min(interval))
    }

    /// In quarantine nothing is due: what the chain knows more is being found out, and would be told as corruption.
    async fn is_due(&self, now: DateTime<Utc>) -> Result<bool, AuditError> {
        if in_quarantine(&mut *self.pool.acquire().await?).await? {
            return Ok(false);
        }
        let last = last_started(&self.pool).await?;
        let interval = TimeDelta::from_std(self.interval).unwrap_or(TimeDelta::MAX);
        Ok(last.and_then(|last| last.checked_add_signed(interval)).is_none_or(|due| due <= now))
    }

    async fn lease(&self, now: DateTime<Utc>, lifetime: TimeDelta) -> Result<bool, AuditError> {
        let mut conn = self.pool.acquire().await?;
        Ok(acquire_lease(&mut conn, now, LEASE_NAME, &self.holder, lifetime).await?)
    }

    /// Gives the lease back, so that another replica goes on where this one stops.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn release(&self, now: DateTime<Utc>) -> Result<(), AuditError> {
        self.lease(now, TimeDelta::zero()).await.map(drop)
    }
}

/// A reconciliation that is being made.
struct Busy<'a>(&'a AtomicBool);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
