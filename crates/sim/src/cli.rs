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
use clap::Parser;
use laurel_events::{Clock, SystemClock};
use laurel_ledger::faults::Bug;

use crate::{
    fleet, kill,
    machine::{description, processor_time, stay_on_one_processor},
    planted,
    run::{Wanted, Worker},
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
    #[arg(long)]
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
    let seeds = if arguments.ci { ci_seeds(arguments.base)? } else { arguments.seeds.0.collect() };
    run_all(seeds, wanted, arguments.workers, arguments.json.as_deref())
}

/// One thread, on which nothing moves but what the scheduler moves.
fn run_here<T>(task: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(task)
}

fn ci_seeds(base: Option<u64>) -> anyhow::Result<Vec<u64>> {
    let base = base.unwrap_or_else(|| SystemClock.now().timestamp().unsigned_abs());
    let kept = FAILED.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let kept = kept.map(|line| {
        line.split_whitespace()
            .next()
            .unwrap_or_default()
            .parse()
            .with_context(|| format!("failed.txt: {line}"))
    });
    let mut seeds: Vec<u64> = kept.collect::<Result<_, _>>()?;
    writeln!(std::io::stdout(), "{} seeds that failed before, and {base}..{}", seeds.len(), base + CI_SEEDS)?;
    seeds.extend(base..base + CI_SEEDS);
    Ok(seeds)
}

fn run_all(seeds: Vec<u64>, wanted: Wanted, workers: usize, json: Option<&Path>) -> anyhow::Result<ExitCode> {
    let began = SystemClock.now();
    let summary = Mutex::new(Summary::default());
    fleet::run(seeds, wanted, workers.max(1), |outcome| {
        let line = if outcome.findings.is_empty() {
            format!("seed {}: {} after {} steps", outcome.seed, outcome.trace, outcome.steps)
        } else {
            let findings = outcome.findings.join("\n  ");
            format!(
                "seed {} FAILED; again: sim --trace --seeds {}..{} --steps {} --closely\n  {findings}",
                outcome.seed,
                outcome.seed,
                outcome.seed + 1,
                outcome.wanted_steps
            )
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
