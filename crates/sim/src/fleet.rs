//! Many seeds at once: a process for each core, with a database of its own.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use anyhow::Context;

use crate::run::{Outcome, Wanted, Worker};

/// A seed, and how it is run.
pub(crate) type Order = (u64, Wanted);

/// The argument that makes a process a worker.
pub(crate) const WORKER: &str = "worker";

/// Serves a fleet: seeds come in, a line each, and outcomes go out.
///
/// # Errors
/// If the simulation does not work.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let mut worker = Worker::start().await?;
    for line in std::io::stdin().lines() {
        let (seed, wanted): (u64, Wanted) = serde_json::from_str(&line?)?;
        let outcome = worker.run(seed, wanted).await?;
        // What a planted bug does is known.
        let is_good = outcome.findings.is_empty() || wanted.planted.is_some();
        let outcome = if is_good { outcome } else { worker.shortest(outcome, wanted).await? };
        let mut out = std::io::stdout().lock();
        serde_json::to_writer(&mut out, &outcome)?;
        writeln!(out)?;
        out.flush()?;
    }
    worker.stop().await
}

/// Runs seeds on so many workers, and tells each outcome as it comes.
///
/// # Errors
/// If a worker does not work.
pub(crate) fn run(
    orders: Vec<Order>,
    workers: usize,
    told: impl Fn(Wanted, Outcome) + Sync,
) -> anyhow::Result<()> {
    let waiting = Mutex::new(VecDeque::from(orders));
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    run_orders(&next, workers, &told)
}

/// Runs one order after the other on so many workers, and tells each outcome as it comes.
///
/// # Errors
/// If a worker does not work.
pub(crate) fn run_orders(
    next: &(dyn Fn() -> Option<Order> + Sync),
    workers: usize,
    told: &(dyn Fn(Wanted, Outcome) + Sync),
) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..workers).map(|number| scope.spawn(move || employ(number, next, told))).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread of the fleet panicked")))
        })
    })
}

/// Keeps one worker busy.
fn employ(
    number: usize,
    next: &dyn Fn() -> Option<Order>,
    told: &dyn Fn(Wanted, Outcome),
) -> anyhow::Result<()> {
    let mut process = Command::new(std::env::current_exe()?)
        .args([WORKER, &number.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("a worker starts")?;
    let mut orders = process.stdin.take().context("a worker has an input")?;
    let mut answers = BufReader::new(process.stdout.take().context("a worker has an output")?).lines();
    while let Some((seed, wanted)) = next() {
        writeln!(orders, "{}", serde_json::to_string(&(seed, wanted))?)?;
        let answer = answers.next().with_context(|| format!("a worker ended at seed {seed}"))??;
        told(wanted, serde_json::from_str(&answer)?);
    }
    drop(orders);
    anyhow::ensure!(process.wait()?.success(), "a worker did not end well");
    Ok(())
}
