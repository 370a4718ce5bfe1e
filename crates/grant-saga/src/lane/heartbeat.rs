//! Whoever is slow keeps its lane; whoever is dead loses it within seconds.
//!
//! A step asks nodes that may take seconds. Without renewing, another replica would take the lane in the middle of it, and be as
//! slow, so that each undid what the other was about to do and nothing was ever signed.

use std::{convert::Infallible, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use laurel_events::{Clock, LaneId};
use laurel_ledger::LedgerError;
use sqlx::PgPool;
use tokio::time::{Instant, sleep};

use super::LEASE;
use crate::lanes::renew_lease;

/// How often the lease is renewed while a step runs: a renewal may be lost and the next one come late.
const RENEW_EVERY: Duration = Duration::from_millis(500);

/// How long a step's lease is renewed: some slow answers. Then another replica, with other nodes perhaps, may try.
const RENEWED_FOR: Duration = Duration::from_secs(30);

/// Renews a lane's lease.
#[derive(Debug)]
pub(super) struct Heartbeat {
    pub(super) lane: LaneId,
    pub(super) holder: String,
    pub(super) pool: PgPool,
    pub(super) clock: Arc<dyn Clock>,
}

impl Heartbeat {
    /// What `step` comes to, while the lease is renewed.
    pub(super) async fn during<T>(&self, step: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = step => done,
            never = self.beat() => match never {},
        }
    }

    async fn beat(&self) -> Infallible {
        let began = Instant::now();
        while began.elapsed() < RENEWED_FOR {
            sleep(RENEW_EVERY).await;
            if let Err(error) = self.renew(self.clock.now()).await {
                tracing::warn!(lane.id = %self.lane, error = ?error, "the lane's lease was not renewed");
            }
        }
        std::future::pending().await
    }

    async fn renew(&self, now: DateTime<Utc>) -> Result<(), LedgerError> {
        renew_lease(&mut *self.pool.acquire().await?, now, self.lane, &self.holder, LEASE).await
    }
}
