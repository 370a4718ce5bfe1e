//! `laurel demo`: the main job, on real parts.

mod figures;
mod probe;
mod progress;
mod traffic;
mod world;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use laurel_audit::check_books;
use laurel_devnet::chain_control::ChainControl;
use tokio_util::sync::CancellationToken;

use self::{
    figures::{Figures, Verdict},
    probe::Probe,
    progress::Progress,
    traffic::report_outcomes,
    world::World,
};
use super::{Outcome, devnet::Parts};
use crate::{app::App, cli::Demo, pipeline::pipeline, roles::Role};

/// How long the chain may stand still before the demo gives up.
const STALL_MAX: Duration = Duration::from_secs(60);

/// How often the stages are looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

/// How often a block is mined while campaigns are set up, so that nobody waits for finality.
const SETUP_BLOCK_INTERVAL: Duration = Duration::from_millis(100);

/// Shows the whole way of thousands of outcomes, and whether the books balance.
pub(crate) async fn run(demo: &Demo, stop: &CancellationToken) -> anyhow::Result<Outcome> {
    let Some(parts) = Parts::start_unless(stop).await? else { return Ok(Outcome::Fine) };
    let outcome = tokio::select! {
        outcome = show(demo, &parts, stop) => outcome,
        died = parts.died() => Err(died),
    };
    let stopped = parts.stop().await;
    outcome.and_then(|outcome| stopped.map(|()| outcome))
}

async fn show(demo: &Demo, parts: &Parts, stop: &CancellationToken) -> anyhow::Result<Outcome> {
    let app = tokio::select! {
        app = App::connect(parts.config.clone(), parts.environment()) => app?,
        () = stop.cancelled() => return Ok(Outcome::Fine),
    };
    let shown = tokio::select! {
        shown = show_on(&app, demo, parts) => shown,
        () = stop.cancelled() => Ok(Outcome::Fine),
    };
    // Before the parts: whoever works on would find them gone.
    app.stop().await?;
    shown
}

async fn show_on(app: &App, demo: &Demo, parts: &Parts) -> anyhow::Result<Outcome> {
    let probe = Arc::new(Probe::default());
    let listening = app.start(Role::ALL).await?;
    let api = listening.api.context("the API is among all roles")?;
    app.run_stage(probe::ProbeStage::new(probe.clone(), app.clock.clone()));
    let url = format!("http://{api}");
    super::note(&format!("Laurel is up: REST at {url}, metrics at http://{}/metrics", listening.ops));
    super::note(&format!("Setting up {} players and their campaigns through the API …", demo.players));
    let world = {
        let _faster = mine_faster(&parts.rpc_url)?;
        World::build(&url, parts, demo.players).await?
    };
    let progress = Progress::new(demo.outcomes);
    let watching = watch(app, &progress, demo.outcomes);
    let began = app.clock.now();
    let reporting = report_outcomes(&url, &world, demo.outcomes, &probe, app.clock.clone());
    tokio::try_join!(watching, reporting)?;
    let seconds = (app.clock.now() - began).as_seconds_f64();
    progress.finish();
    let books = check_books(&app.pool, &app.nodes()).await?;
    let last = pipeline(&app.pool).await?;
    let figures = Figures::new(&last, &probe, &app.pool, seconds, &books).await?;
    super::answer(demo.json.as_ref(), &figures, || figures.table(&books))?;
    if !demo.exit {
        super::note("It stays up: look around, and end it with Ctrl-C.");
        app.shutdown.cancelled().await;
    }
    Ok(if figures.verdict() == Verdict::Balanced { Outcome::Fine } else { Outcome::Finding })
}

/// Shows the stages until everything has drained.
async fn watch(app: &App, progress: &Progress, outcomes: u32) -> anyhow::Result<()> {
    let mut last = pipeline(&app.pool).await?;
    let mut still = Duration::ZERO;
    loop {
        let now = pipeline(&app.pool).await?;
        progress.show(&now);
        if now.outcomes >= u64::from(outcomes) && now.drained() {
            return Ok(());
        }
        still = if now == last { still + WATCH_INTERVAL } else { Duration::ZERO };
        if still > STALL_MAX {
            anyhow::bail!("nothing has moved for {STALL_MAX:?}: {now:?}");
        }
        if app.shutdown.is_cancelled() {
            anyhow::bail!("a part of it ended by itself");
        }
        last = now;
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}

/// How much `laurel devnet --seed` fills in: enough that every list has a second page.
const SEED_PLAYERS: u32 = 60;
const SEED_OUTCOMES: u32 = 600;

/// Fills the parts with what a short demo leaves behind, unless `stop` comes first; nothing of it stays running.
pub(super) async fn fill(parts: &Parts, stop: &CancellationToken) -> anyhow::Result<()> {
    let app = tokio::select! {
        app = App::connect(parts.config.clone(), parts.environment()) => app?,
        () = stop.cancelled() => return Ok(()),
    };
    let filled = tokio::select! {
        filled = fill_on(&app, parts) => filled,
        () = stop.cancelled() => Ok(()),
    };
    app.stop().await?;
    filled
}

async fn fill_on(app: &App, parts: &Parts) -> anyhow::Result<()> {
    let api = app.start(Role::ALL).await?.api.context("the API is among all roles")?;
    let url = format!("http://{api}");
    let _faster = mine_faster(&parts.rpc_url)?;
    let world = World::build(&url, parts, SEED_PLAYERS).await?;
    report_outcomes(&url, &world, SEED_OUTCOMES, &Probe::default(), app.clock.clone()).await?;
    let progress = Progress::new(SEED_OUTCOMES);
    watch(app, &progress, SEED_OUTCOMES).await?;
    progress.finish();
    Ok(())
}

/// Mines blocks quickly until the guard is dropped.
fn mine_faster(rpc_url: &str) -> anyhow::Result<tokio_util::sync::DropGuard> {
    let control = ChainControl::new(rpc_url)?;
    let until = CancellationToken::new();
    let stop = until.clone();
    tokio::spawn(async move {
        while !stop.is_cancelled() {
            if let Err(error) = control.mine(1).await {
                tracing::debug!(%error, "a block was not mined; the next one is");
            }
            tokio::time::sleep(SETUP_BLOCK_INTERVAL).await;
        }
    });
    Ok(until.drop_guard())
}
