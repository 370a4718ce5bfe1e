//! Planted bugs: whether the auditor sees each of them, and after how many seeds.

use std::{
    io::Write,
    process::ExitCode,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use laurel_events::{Clock, SystemClock};
use laurel_ledger::faults::Bug;

use crate::{
    fleet::{Order, run_orders},
    run::{Outcome, Wanted},
};

/// Plants bugs, one after the other.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Bugs, by their names; all of them without any.
    #[arg(value_parser = bug)]
    bugs: Vec<Bug>,
    /// The first seed that each is tried with.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Processes, each with a database.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Seeds that are run without a bug, and have to be clean.
    #[arg(long, default_value_t = 20)]
    control: u64,
}

/// The bug of that name.
pub(crate) fn bug(name: &str) -> anyhow::Result<Bug> {
    let found = Bug::ALL.iter().copied().find(|bug| format!("{bug:?}") == name);
    found.with_context(|| format!("there are {:?}", Bug::ALL))
}

/// Within how many seeds a bug has to be seen: some times as many as it was seen to need.
const fn seeds_max(bug: Bug) -> u64 {
    match bug {
        _ => 400,
    }
}

/// A bug, or none, and the seeds that it is tried with.
#[derive(Debug)]
struct Trial {
    bug: Option<Bug>,
    seeds: u64,
    tried: u64,
    /// Whether a seed of it is under way.
    running: bool,
    findings: Vec<String>,
}

impl Trial {
    fn of_bug(bug: Bug) -> Self {
        Self { bug: Some(bug), seeds: seeds_max(bug), tried: 0, running: false, findings: Vec::new() }
    }

    const fn control(seeds: u64) -> Self {
        Self { bug: None, seeds, tried: 0, running: false, findings: Vec::new() }
    }

    fn is_over(&self) -> bool {
        self.tried == self.seeds || !self.findings.is_empty()
    }

    /// A bug has to be seen, and what is no bug must not.
    fn is_good(&self) -> bool {
        self.bug.is_some() != self.findings.is_empty()
    }

    fn wanted(&self) -> Wanted {
        Wanted { planted: self.bug, ..Wanted::default() }
    }

    fn print(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let (name, what) = self
            .bug
            .map_or_else(|| ("none".to_owned(), "Nothing"), |bug| (format!("{bug:?}"), bug.what().trim()));
        let seen = self.findings.first().map_or("-", |finding| finding.lines().next().unwrap_or_default());
        let seen: String = seen.chars().take(FINDING_MAX).collect();
        let Self { tried, seeds, .. } = self;
        writeln!(out, "| {name} | {what} | {seen} | {tried} | {seeds} |")
    }
}

/// How much of a finding is printed.
const FINDING_MAX: usize = 100;

/// Plants what the command line says.
///
/// # Errors
/// If the simulation itself does not work.
pub(crate) fn main(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let began = SystemClock.now();
    let bugs = if arguments.bugs.is_empty() { Bug::ALL } else { &arguments.bugs[..] };
    let mut trials: Vec<Trial> = bugs.iter().copied().map(Trial::of_bug).collect();
    trials.push(Trial::control(arguments.control));
    let trials = Mutex::new(trials);
    let trials_now =
        || -> MutexGuard<'_, Vec<Trial>> { trials.lock().unwrap_or_else(PoisonError::into_inner) };
    let next = || -> Option<Order> {
        let mut trials = trials_now();
        let trial = trials.iter_mut().find(|trial| !trial.running && !trial.is_over())?;
        trial.running = true;
        Some((arguments.from + trial.tried, trial.wanted()))
    };
    let told = |wanted: Wanted, outcome: Outcome| {
        let mut trials = trials_now();
        let Some(trial) = trials.iter_mut().find(|trial| trial.bug == wanted.planted) else { return };
        (trial.running, trial.tried) = (false, trial.tried + 1);
        trial.findings = outcome.findings;
        if trial.is_over() {
            // Whoever closed the pipe does not want to know.
            let _ = trial.print(&mut std::io::stdout());
        }
    };
    run_orders(&next, arguments.workers.max(1), &told)?;
    let trials = trials.into_inner().unwrap_or_else(PoisonError::into_inner);
    let took = (SystemClock.now() - began).to_std().unwrap_or(Duration::ZERO);
    summarise(&trials, took, &mut std::io::stdout())
}

fn summarise(trials: &[Trial], took: Duration, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    writeln!(out, "\n| bug | what it does | seen as | seeds | within |\n|---|---|---|---:|---:|")?;
    for trial in trials {
        trial.print(out)?;
    }
    let bad = trials.iter().filter(|trial| !trial.is_good()).count();
    let seeds: u64 = trials.iter().map(|trial| trial.tried).sum();
    writeln!(out, "\n{seeds} seeds, {} s, {bad} not as they have to be", took.as_secs())?;
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
