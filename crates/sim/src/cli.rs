//! The command line.

use std::{
    io::Write,
    ops::Range,
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use clap::{Parser, ValueEnum};
use laurel_events::{Clock, SystemClock};
use laurel_ledger::faults::Bug;

use crate::{
    fleet::{self, Order},
    kill,
    machine::{description, processor_time, stay_on_one_processor},
    planted,
    run::{Outcome, Wanted, Worker},
    stories::Story,
    summary::{Cost, Summary},
};

/// Seeds that ever failed.
const FAILED: &str = include_str!("../seeds/failed.txt");

/// How many seeds a change has to survive.
const CI_SEEDS: u64 = 500;

/// Runs the real stages on a real database and a simulated chain, with faults, from seeds.
#[derive(Debug, Parser)]
struct Arguments {
    /// The seeds: A..B, B not among them.
    #[arg(long, default_value = "0..100")]
    seeds: Seeds,
    /// What a change has to survive: 500 seeds that nobody has seen, and all that ever failed.
    #[arg(long)]
    ci: bool,
    /// The first of those 500; without it, the time decides.
    #[arg(long, requires = "ci")]
    base: Option<u64>,
    /// Processes, each with a database.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Steps before a world comes to rest; without it each seed has its own number.
    #[arg(long)]
    steps: Option<u64>,
    /// Nothing goes wrong.
    #[arg(long)]
    calm: bool,
    /// Look at everything after every step: slower, and a finding comes at the step that made it.
    #[arg(long)]
    closely: bool,
    /// Print what happens, line by line, in this process.
    #[arg(long)]
    trace: bool,
    /// What happens for sure.
    #[arg(long, value_enum, default_value_t)]
    story: Story,
    /// A bug that is planted, by its name.
    #[arg(long, value_parser = planted::bug)]
    plant: Option<Bug>,
    /// Write the summary to this file, too.
    #[arg(long, conflicts_with = "trace")]
    json: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Mode>,
}

#[derive(Debug, clap::Subcommand)]
enum Mode {
    /// Kills real processes on a real database and a real chain, again and again, and looks at the books.
    Kill(kill::Arguments),
    /// Plants bugs, one after the other, and looks whether the auditor sees them.
    Planted(planted::Arguments),
    /// Serves another process.
    #[command(hide = true)]
    Worker {
        /// Which of the workers this is.
        number: usize,
    },
}

#[derive(Clone, Debug)]
struct Seeds(Range<u64>);

impl FromStr for Seeds {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (from, to) = text.split_once("..").context("seeds are A..B")?;
        Ok(Self(from.parse()?..to.parse()?))
    }
}

/// Runs what the command line says.
///
/// # Errors
/// If the simulation itself does not work.
pub fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let wanted = Wanted {
        steps: arguments.steps,
        faults: !arguments.calm,
        keep_trace: arguments.trace,
        closely: arguments.closely,
        planted: arguments.plant,
        story: arguments.story,
    };
    match arguments.command {
        Some(Mode::Worker { number }) => {
            stay_on_one_processor(number)?;
            run_here(fleet::serve())?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Mode::Kill(arguments)) => return kill::main(&arguments),
        Some(Mode::Planted(arguments)) => return planted::main(&arguments),
        None => {}
    }
    if arguments.trace {
        return run_here(trace(arguments.seeds.0, wanted));
    }
    let orders = if arguments.ci {
        ci_orders(arguments.base, wanted)?
    } else {
        arguments.seeds.0.map(|seed| (seed, wanted)).collect()
    };
    run_all(orders, arguments.workers, arguments.json.as_deref())
}

/// One thread, on which nothing moves but what the scheduler moves.
fn run_here<T>(task: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(task)
}

fn ci_orders(base: Option<u64>, wanted: Wanted) -> anyhow::Result<Vec<Order>> {
    let base = base.unwrap_or_else(|| SystemClock.now().timestamp().unsigned_abs());
    let mut orders = failed_before(wanted)?;
    writeln!(
        std::io::stdout(),
        "{} seeds that failed before, and {base}..{}",
        orders.len(),
        base + CI_SEEDS
    )?;
    orders.extend((base..base + CI_SEEDS).map(|seed| (seed, wanted)));
    Ok(orders)
}

/// The seeds that ever failed. Each line begins with one, and its story, where it was not the usual one: `10:refused`.
fn failed_before(wanted: Wanted) -> anyhow::Result<Vec<Order>> {
    let kept = FAILED.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let order = |line: &str| -> anyhow::Result<Order> {
        let named = line.split_whitespace().next().unwrap_or_default();
        let (seed, story) = named.split_once(':').unwrap_or((named, "usual"));
        let story = Story::from_str(story, false).map_err(anyhow::Error::msg);
        let wrong = || format!("failed.txt: {line}");
        Ok((seed.parse().with_context(wrong)?, Wanted { story: story.with_context(wrong)?, ..wanted }))
    };
    kept.map(order).collect()
}

/// The command that runs a seed again, line by line.
fn again(outcome: &Outcome, wanted: Wanted) -> String {
    let mut again = format!(
        "sim --trace --seeds {}..{} --steps {} --closely",
        outcome.seed,
        outcome.seed + 1,
        outcome.wanted_steps
    );
    if let Some(story) = wanted.story.to_possible_value().filter(|_| wanted.story != Story::Usual) {
        again.push_str(&format!(" --story {}", story.get_name()));
    }
    if let Some(bug) = wanted.planted {
        again.push_str(&format!(" --plant {bug:?}"));
    }
    again
}

fn run_all(orders: Vec<Order>, workers: usize, json: Option<&Path>) -> anyhow::Result<ExitCode> {
    let began = SystemClock.now();
    let summary = Mutex::new(Summary::default());
    fleet::run(orders, workers.max(1), |wanted, outcome| {
        let line = if outcome.findings.is_empty() {
            format!("seed {}: {} after {} steps", outcome.seed, outcome.trace, outcome.steps)
        } else {
            let findings = outcome.findings.join("\n  ");
            format!("seed {} FAILED; again: {}\n  {findings}", outcome.seed, again(&outcome, wanted))
        };
        // Whoever closed the pipe does not want to know.
        let _ = writeln!(std::io::stdout(), "{line}");
        summary.lock().unwrap_or_else(PoisonError::into_inner).add(outcome);
    })?;
    let summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    let cost = Cost {
        workers,
        took: (SystemClock.now() - began).to_std().unwrap_or(Duration::ZERO),
        processors: processor_time()?,
        machine: description(),
    };
    summary.print(&cost, &mut std::io::stdout())?;
    if let Some(json) = json {
        std::fs::write(json, serde_json::to_vec_pretty(&summary.json(&cost))?)
            .context("the summary's file")?;
    }
    Ok(if summary.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn trace(seeds: Range<u64>, wanted: Wanted) -> anyhow::Result<ExitCode> {
    let mut worker = Worker::start().await?;
    let mut good = true;
    for seed in seeds {
        let outcome = worker.run(seed, wanted).await?;
        let mut out = std::io::stdout().lock();
        for line in &outcome.lines {
            writeln!(out, "{line}")?;
        }
        writeln!(out, "seed {seed}: {} after {} steps, {:?}", outcome.trace, outcome.steps, outcome.done)?;
        for finding in &outcome.findings {
            writeln!(out, "  {finding}")?;
        }
        good &= outcome.findings.is_empty();
    }
    worker.stop().await?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_run_again_as_it_was() {
        let orders = failed_before(Wanted::default()).unwrap();
        assert!(orders.len() > 10, "{}", orders.len());
        let refused = orders.iter().filter(|(_, wanted)| wanted.story == Story::Refused).count();
        assert_eq!(refused, 1);
    }
}
