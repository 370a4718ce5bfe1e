//! What a run of many seeds says at its end.

use std::{collections::BTreeMap, io::Write, time::Duration};

use serde_json::json;

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
    pub(crate) fn print(&self, cost: &Cost, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "\n{:<24}{:>12}", "fault", "struck")?;
        for (name, count) in &self.faults {
            writeln!(out, "{name:<24}{count:>12}")?;
        }
        writeln!(out, "\n{:<32}{:>12}{:>12}", "fault point", "reached", "died there")?;
        for (name, count) in &self.reached {
            let crashed = self.crashed.get(name).copied().unwrap_or(0);
            writeln!(out, "{name:<32}{count:>12}{crashed:>12}")?;
        }
        writeln!(out, "\n{:<24}{:>12}{:>12}", "done", "", "a seed")?;
        for (name, count) in &self.work() {
            writeln!(out, "{name:<24}{count:>12}{:>12.1}", *count as f64 / self.seeds.max(1) as f64)?;
        }
        let rate = self.seeds as f64 / cost.took.as_secs_f64().max(f64::EPSILON);
        let processors = cost.processors.as_secs_f64();
        writeln!(out, "\n{}, {} workers", cost.machine, cost.workers)?;
        writeln!(
            out,
            "{} seeds, {} s, {rate:.1} seeds/s, {processors:.0} s of processor time, {:.3} s a seed",
            self.seeds,
            cost.took.as_secs(),
            processors / self.seeds.max(1) as f64
        )?;
        for name in self.unmet() {
            writeln!(out, "never met: {name}")?;
        }
        for (seed, findings) in &self.failed {
            writeln!(out, "seed {seed}: {}", findings.join("; "))?;
        }
        writeln!(out, "{} failed", self.failed.len())
    }

    /// The same for programs.
    pub(crate) fn json(&self, cost: &Cost) -> serde_json::Value {
        json!({
            "seeds": self.seeds,
            "seconds": cost.took.as_secs_f64(),
            "processor_seconds": cost.processors.as_secs_f64(),
            "workers": cost.workers,
            "machine": cost.machine,
            "faults": self.faults,
            "reached": self.reached,
            "died": self.crashed,
            "done": self.work(),
            "never_met": self.unmet(),
            "failed": self.failed,
        })
    }

    /// What was done, with steps and commits.
    fn work(&self) -> BTreeMap<String, u64> {
        let committed = |name: &&String| name.starts_with("after ") && !name.starts_with("after eth_");
        let commits = self.reached.iter().filter(|(name, _)| committed(name)).map(|(_, count)| count).sum();
        let mut work = self.done.clone();
        work.insert("steps".to_owned(), self.steps);
        work.insert("commits".to_owned(), commits);
        work.insert("deaths".to_owned(), self.crashed.values().sum());
        work
    }
}

/// What a run took.
#[derive(Clone, Debug)]
pub(crate) struct Cost {
    pub(crate) workers: usize,
    pub(crate) took: Duration,
    /// Of workers and databases.
    pub(crate) processors: Duration,
    pub(crate) machine: String,
}
