//! What happens by the clock: timers are fired, ranges are made ahead.
//!
//! tokio-cron-scheduler reads the machine's clock itself, so all it does is to call; what is due is decided by the clock
//! that everything else uses.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use laurel_api::{break_overdue_exports, sweep_buckets};
use laurel_audit::{AuditedChain, Auditor};
use laurel_bus::fire_timers;
use laurel_ledger::ensure_ranges;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::{app::App, roles::Role, skew::require_little};

/// Every second: a deadline is noticed within that time.
const TIMERS: &str = "* * * * * *";

/// Every minute, which is far less than what ranges are made ahead for.
const RANGES: &str = "0 * * * * *";

/// Every five seconds: as often as Prometheus looks at most.
const GAUGES: &str = "*/5 * * * * *";

/// Every five seconds: a clock that is set anew decides little before that is seen.
const SKEW: &str = "2/5 * * * * *";

/// Every minute, before as many buckets are full as are swept at once.
const BUCKETS: &str = "30 * * * * *";

/// Every minute: nobody waits for it.
const EXPORTS: &str = "45 * * * * *";

/// How long a tick may take before it is given up: longer than the server lets statements run.
const TICK_TIMEOUT: Duration = Duration::from_secs(90);

/// Every ten seconds it is asked whether a reconciliation is due, which is one statement.
const AUDIT: &str = "3/10 * * * * *";

/// Starts the schedule, until the shutdown. Whoever follows chains reconciles, too.
pub(crate) async fn start(app: &App, roles: &[Role]) -> anyhow::Result<()> {
    let mut scheduler = JobScheduler::new().await.context("start the schedule")?;
    scheduler.add(job(app, TIMERS, TICK_TIMEOUT, tick_timers)?).await?;
    scheduler.add(job(app, RANGES, TICK_TIMEOUT, tick_ranges)?).await?;
    scheduler.add(job(app, SKEW, TICK_TIMEOUT, tick_skew)?).await?;
    scheduler.add(job(app, GAUGES, TICK_TIMEOUT, tick_gauges)?).await?;
    if roles.contains(&Role::Api) {
        scheduler.add(job(app, BUCKETS, TICK_TIMEOUT, tick_buckets)?).await?;
        scheduler.add(job(app, EXPORTS, TICK_TIMEOUT, tick_exports)?).await?;
    }
    if roles.contains(&Role::ChainWatcher) {
        let auditor = Arc::new(auditor(app));
        let audit = job(app, AUDIT, AUDIT_TIMEOUT, move |app| tick_audit(app, auditor.clone()))?;
        scheduler.add(audit).await?;
    }
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

/// How long a reconciliation may take: many times what a million grants were measured at.
const AUDIT_TIMEOUT: Duration = Duration::from_secs(3_600);

/// A job that the shutdown waits for, that does not begin after it, and that is given up after `limit`.
fn job<Tick, Ticking>(app: &App, cron: &str, limit: Duration, tick: Tick) -> Result<Job, JobSchedulerError>
where
    Tick: Fn(App) -> Ticking + Clone + Send + Sync + 'static,
    Ticking: Future<Output = ()> + Send,
{
    let app = app.clone();
    Job::new_async(cron, move |_, _| {
        let (app, tick) = (app.clone(), tick.clone());
        let tasks = app.tasks.clone();
        Box::pin(tasks.track_future(async move {
            if !app.shutdown.is_cancelled() && tokio::time::timeout(limit, tick(app)).await.is_err() {
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

/// Whoever's clock is off stops: others do its work by a right one.
async fn tick_skew(app: App) {
    match app.skew.look(&app.pool, &*app.clock).await {
        Ok(ahead) => {
            if let Err(error) = require_little(ahead) {
                tracing::error!(%error, "laurel stops");
                app.shutdown.cancel();
            }
        }
        Err(error) => tracing::warn!(%error, "the clocks could not be compared; the next tick tries again"),
    }
}

async fn tick_buckets(app: App) {
    match sweep_buckets(&app.pool, app.clock.now()).await {
        Ok(swept) => tracing::debug!(swept, "full buckets were removed"),
        Err(error) => tracing::warn!(%error, "full buckets stay; the next tick tries again"),
    }
}

async fn tick_exports(app: App) {
    match break_overdue_exports(&app.pool, app.clock.now()).await {
        Ok(0) => {}
        Ok(broken) => tracing::warn!(broken, "exports were not finished by whoever made them"),
        Err(error) => {
            tracing::warn!(%error, "exports that nobody makes stay as running; the next tick tries again")
        }
    }
}

async fn tick_gauges(app: App) {
    if let Err(error) = app.gauges.look(&app.read_pool).await {
        tracing::warn!(%error, "the gauges show what was so before; the next tick tries again");
    }
    if let Err(error) = app.audit_metrics.look(&app.read_pool).await {
        tracing::warn!(%error, "the audit's gauges show what was so before; the next tick tries again");
    }
}

fn auditor(app: &App) -> Auditor {
    let chains = app.chains.iter().map(|chain| AuditedChain {
        chain_id: chain.config.id,
        node: chain.node.clone(),
        vault: chain.config.vault,
    });
    let interval = app.config.audit.reconcile_interval();
    Auditor::new(app.pool.clone(), chains.collect(), interval, app.replica.clone(), app.audit_seed())
}

async fn tick_audit(app: App, auditor: Arc<Auditor>) {
    let made = tokio::select! {
        made = auditor.tick(&*app.clock) => made,
        // A comparison may take longer than a shutdown should. Nothing of it is lost but its time.
        () = app.shutdown.cancelled() => auditor.release(app.clock.now()).await.map(|()| None),
    };
    match made {
        Ok(None) => {}
        Ok(Some(made)) if made.findings.is_empty() => {
            tracing::info!(places = made.places, "the ledger and the chains were compared: nothing differs");
        }
        Ok(Some(made)) => {
            tracing::error!(
                findings = made.findings.len(),
                "the ledger and the chains differ; see the alerts"
            );
        }
        Err(error) => {
            app.audit_metrics.failed();
            tracing::warn!(%error, "the ledger could not be compared with the chains; it is tried again in some minutes");
        }
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
