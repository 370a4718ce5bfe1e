//! Whether the stages keep up with what is reported.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use laurel_ledger::stage_lag;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::LimitMetrics;
use crate::{ApiState, Problem};

/// The stage that decides on outcomes.
const STAGE: &str = "campaign";

/// How often it is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// In how many seconds whoever is refused comes again: thousands of chunks are decided until then.
const COME_AGAIN: HeaderValue = HeaderValue::from_static("5");

/// Whether more outcomes are taken. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Intake {
    pool: PgPool,
    lag_chunks_max: i64,
    metrics: LimitMetrics,
    is_behind: Arc<AtomicBool>,
}

impl Intake {
    pub(crate) fn new(pool: PgPool, lag_chunks_max: i64, metrics: LimitMetrics) -> Self {
        Self { pool, lag_chunks_max, metrics, is_behind: Arc::default() }
    }

    /// Looks how many chunks of the journal are not decided on.
    ///
    /// # Errors
    /// If the database does not answer; what was found before goes on to count.
    pub async fn look(&self) -> Result<(), Problem> {
        let chunks = stage_lag(&self.pool, STAGE).await?.chunks;
        self.metrics.intake_lag_chunks.set(chunks);
        let is_behind = chunks > self.lag_chunks_max;
        if self.is_behind.swap(is_behind, Ordering::Relaxed) != is_behind {
            tracing::warn!(
                journal.lag = chunks,
                refusing = is_behind,
                "outcomes are refused, or taken again"
            );
        }
        Ok(())
    }

    /// What whoever reports outcomes hears while the stages are far behind.
    pub(crate) fn refused(&self) -> Option<Response> {
        self.is_behind.load(Ordering::Relaxed).then(|| {
            let problem = Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "intake_behind",
                "more was reported than is decided on, and nothing of this was taken: send it again later",
            );
            ([(RETRY_AFTER, COME_AGAIN)], problem).into_response()
        })
    }
}

/// Looks until `shutdown`.
pub async fn follow_intake(state: ApiState, shutdown: CancellationToken) {
    let intake = state.intake();
    while !shutdown.is_cancelled() {
        if let Err(error) = answered(intake.look()).await {
            tracing::warn!(?error, "the journal's lag could not be looked at; the next look tries again");
        }
        shutdown.run_until_cancelled(tokio::time::sleep(LOOK_INTERVAL)).await;
    }
}

async fn answered(look: impl Future<Output = Result<(), Problem>>) -> Result<(), Problem> {
    tokio::time::timeout(LOOK_TIMEOUT, look)
        .await
        .unwrap_or_else(|_| Err(Problem::internal("the journal's lag took too long")))
}
