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
    stories::Story,
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
    /// Seeds of each story that are run without a bug, and have to be clean.
    #[arg(long, default_value_t = 20)]
    control: u64,
}

/// The bug of that name.
pub(crate) fn bug(name: &str) -> anyhow::Result<Bug> {
    let found = Bug::ALL.iter().copied().find(|bug| format!("{bug:?}") == name);
    found.with_context(|| format!("there are {:?}", Bug::ALL))
}

/// Within how many seeds a bug has to be seen, some times as many as it was seen to need, and what happens in them for sure.
const fn trial(bug: Bug) -> (u64, Story) {
    match bug {
        Bug::BitmapIgnored | Bug::VoidWithoutFinalCancel => (100, Story::Refused),
        Bug::UndoneStaysPosted | Bug::RebaseEndsUnread | Bug::CapStaysBooked => (300, Story::TakenBack),
        Bug::QuarantineSkipped | Bug::BitWithoutWord => (200, Story::Restored),
        // What takes a letter that is redriven and not noted, or two replicas at the same moment.
        Bug::RedriveSkipsKey | Bug::CapOutsideTransaction | Bug::LaneFenceDropped => (600, Story::Usual),
        // What takes a reorganisation, an outbid transaction, a mistake or a settlement that outlives its deadline.
        Bug::ReceiptWithoutBlockHash
        | Bug::AttemptNotKept
        | Bug::ReorgTakenForRevert
        | Bug::FinalFactDeadLettered
        | Bug::VoidOnTimeout
        | Bug::BumpChangesPayload
        | Bug::ConfirmedEarly
        | Bug::HoldPostedTwice => (300, Story::Usual),
        Bug::BroadcastBeforeCommit
        | Bug::SeqGivenAgain
        | Bug::CursorWithoutLock
        | Bug::CursorOutsideTransaction
        | Bug::WrongBit
        | Bug::ReplayUnderAnotherId
        | Bug::NonceReusedAfterCrash
        | Bug::CounterNotGivenBack
        | Bug::DeadlineForgotten
        | Bug::DayByOccurrence => (60, Story::Usual),
    }
}

/// A bug, or none, and the seeds that it is tried with.
#[derive(Debug)]
struct Trial {
    bug: Option<Bug>,
    story: Story,
    seeds: u64,
    tried: u64,
    /// Whether a seed of it is under way.
    running: bool,
    findings: Vec<String>,
}

impl Trial {
    fn of_bug(bug: Bug) -> Self {
        let (seeds, story) = trial(bug);
        Self { bug: Some(bug), story, seeds, tried: 0, running: false, findings: Vec::new() }
    }

    const fn control(story: Story, seeds: u64) -> Self {
        Self { bug: None, story, seeds, tried: 0, running: false, findings: Vec::new() }
    }

    fn is_over(&self) -> bool {
        self.tried == self.seeds || !self.findings.is_empty()
    }

    /// A bug has to be seen, and what is no bug must not.
    fn is_good(&self) -> bool {
        self.bug.is_some() != self.findings.is_empty()
    }

    fn wanted(&self) -> Wanted {
        Wanted { planted: self.bug, story: self.story, ..Wanted::default() }
    }

    fn print(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let (name, what) = self.bug.map_or_else(
            || (format!("none, {:?}", self.story), "Nothing"),
            |bug| (format!("{bug:?}"), bug.what().trim()),
        );
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
    let stories = [Story::Usual, Story::Refused, Story::Restored, Story::Released, Story::TakenBack];
    trials.extend(stories.map(|story| Trial::control(story, arguments.control)));
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
        let same = |trial: &&mut Trial| (trial.bug, trial.story) == (wanted.planted, wanted.story);
        let Some(trial) = trials.iter_mut().find(same) else { return };
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
