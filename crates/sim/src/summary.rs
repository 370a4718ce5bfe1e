//! What a run of many seeds says at its end.

use std::{collections::BTreeMap, io::Write, time::Duration};

use crate::{dice::Fault, points, run::Outcome};

/// So many seeds meet everything that there is to meet.
const SEEDS_MANY: usize = 200;

/// Everything added up.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    seeds: usize,
    failed: BTreeMap<u64, Vec<String>>,
    faults: BTreeMap<String, u64>,
    reached: BTreeMap<String, u64>,
    crashed: BTreeMap<String, u64>,
    done: BTreeMap<String, u64>,
    steps: u64,
}

fn add(to: &mut BTreeMap<String, u64>, what: BTreeMap<String, u64>) {
    for (name, count) in what {
        *to.entry(name).or_default() += count;
    }
}

impl Summary {
    /// Adds a seed.
    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.steps += outcome.steps;
        if !outcome.findings.is_empty() {
            self.failed.insert(outcome.seed, outcome.findings);
        }
        add(&mut self.faults, outcome.faults);
        add(&mut self.reached, outcome.reached);
        add(&mut self.crashed, outcome.crashed);
        add(&mut self.done, outcome.done);
    }

    /// What should have been met, and was not.
    pub(crate) fn unmet(&self) -> Vec<String> {
        if self.seeds < SEEDS_MANY {
            return Vec::new();
        }
        let faults = Fault::EXPECTED.iter().map(|fault| format!("{fault:?}"));
        let unmet =
            |counts: &BTreeMap<String, u64>, name: &String| counts.get(name).copied().unwrap_or(0) == 0;
        let faults = faults.filter(|name| unmet(&self.faults, name));
        faults.chain(points::expected().into_iter().filter(|name| unmet(&self.reached, name))).collect()
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_good(&self) -> bool {
        self.failed.is_empty() && self.unmet().is_empty()
    }

    /// Prints it.
    ///
    /// # Errors
    /// If nobody listens.
    pub(crate) fn print(&self, took: Duration, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "\n{:<24}{:>12}", "fault", "struck")?;
        for (name, count) in &self.faults {
            writeln!(out, "{name:<24}{count:>12}")?;
        }
        writeln!(out, "\n{:<32}{:>12}{:>12}", "fault point", "reached", "died there")?;
        for (name, count) in &self.reached {
            let crashed = self.crashed.get(name).copied().unwrap_or(0);
            writeln!(out, "{name:<32}{count:>12}{crashed:>12}")?;
        }
        writeln!(out, "\n{:<24}{:>12}", "done", "")?;
        for (name, count) in &self.done {
            writeln!(out, "{name:<24}{count:>12}")?;
        }
        let rate = self.seeds as f64 / took.as_secs_f64().max(f64::EPSILON);
        let (seeds, seconds) = (self.seeds, took.as_secs());
        writeln!(out, "\n{seeds} seeds, {} steps, {seconds} s, {rate:.1} seeds/s", self.steps)?;
        for name in self.unmet() {
            writeln!(out, "never met: {name}")?;
        }
        writeln!(out, "{} failed", self.failed.len())
    }
}
