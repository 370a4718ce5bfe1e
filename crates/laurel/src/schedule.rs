//! What happens by the clock: timers are fired, ranges are made ahead.
//!
//! tokio-cron-scheduler reads the machine's clock itself, so all it does is to call; what is due is decided by the clock
//! that everything else uses.

use std::time::Duration;

use anyhow::Context;
use laurel_bus::fire_timers;
use laurel_ledger::ensure_ranges;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::app::App;

/// Every second: a deadline is noticed within that time.
const TIMERS: &str = "* * * * * *";

/// Every minute, which is far less than what ranges are made ahead for.
const RANGES: &str = "0 * * * * *";

/// Every five seconds: as often as Prometheus looks at most.
const GAUGES: &str = "*/5 * * * * *";

/// How long a tick may take before it is given up: longer than the server lets statements run.
const TICK_TIMEOUT: Duration = Duration::from_secs(90);

/// Starts the schedule, until the shutdown.
pub(crate) async fn start(app: &App) -> anyhow::Result<()> {
    let mut scheduler = JobScheduler::new().await.context("start the schedule")?;
    scheduler.add(job(app, TIMERS, tick_timers)?).await?;
    scheduler.add(job(app, RANGES, tick_ranges)?).await?;
    scheduler.add(job(app, GAUGES, tick_gauges)?).await?;
    scheduler.start().await?;
    let shutdown = app.shutdown.clone();
    app.spawn(async move {
        shutdown.cancelled().await;
        if let Err(error) = scheduler.shutdown().await {
            tracing::warn!(%error, "the schedule did not stop");
        }
    });
    Ok(())
}

/// A job that the shutdown waits for, and that does not begin after it.
fn job<Tick, Ticking>(app: &App, cron: &str, tick: Tick) -> Result<Job, JobSchedulerError>
where
    Tick: Fn(App) -> Ticking + Clone + Send + Sync + 'static,
    Ticking: Future<Output = ()> + Send,
{
    let app = app.clone();
    Job::new_async(cron, move |_, _| {
        let (app, tick) = (app.clone(), tick.clone());
        let tasks = app.tasks.clone();
        Box::pin(tasks.track_future(async move {
            if !app.shutdown.is_cancelled() && tokio::time::timeout(TICK_TIMEOUT, tick(app)).await.is_err() {
                tracing::warn!("what happens by the clock took too long; the next tick tries again");
            }
        }))
    })
}

async fn tick_timers(app: App) {
    match fire_timers(&app.pool, &app.wakes, app.clock.now()).await {
        Ok(0) => {}
        Ok(fired) => tracing::debug!(fired, "timers fired"),
        Err(error) => {
            tracing::warn!(error = error.chain(), "timers could not be fired; the next tick tries again")
        }
    }
}

async fn tick_gauges(app: App) {
    if let Err(error) = app.gauges.look(&app.read_pool).await {
        tracing::warn!(%error, "the gauges show what was so before; the next tick tries again");
    }
}

async fn tick_ranges(app: App) {
    let made = async {
        let mut conn = app.pool.acquire().await?;
        ensure_ranges(&mut conn).await
    };
    match made.await {
        Ok(0) => {}
        Ok(made) => tracing::info!(made, "ranges were made"),
        Err(error) => tracing::error!(%error, "ranges could not be made; the next tick tries again"),
    }
}
