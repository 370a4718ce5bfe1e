//! What was measured, with what it is to be.

use std::{fmt, time::Duration};

use serde::Serialize;

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    /// What was done.
    pub(crate) what: String,
    /// How much of it.
    pub(crate) value: f64,
    /// In what.
    pub(crate) unit: &'static str,
    /// What it is to be; none where it is only told.
    pub(crate) bound: Option<Bound>,
    /// What else was seen.
    pub(crate) detail: String,
}

/// What a figure is to be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bound) => write!(f, "<= {bound}"),
            Self::AtLeast(bound) => write!(f, ">= {bound}"),
        }
    }
}

/// All of them.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Figures {
    pub(crate) machine: String,
    pub(crate) figures: Vec<Figure>,
}

impl Figures {
    pub(crate) fn new() -> Self {
        Self { machine: machine(), figures: Vec::new() }
    }

    pub(crate) fn keep_their_bounds(&self) -> bool {
        self.figures.iter().all(|figure| figure.bound.is_none_or(|bound| bound.holds(figure.value)))
    }

    /// The 95th percentile of some times, with their median and their longest.
    pub(crate) fn p95(&mut self, what: &str, mut times: Vec<Duration>, bound_ms: f64, detail: &str) {
        times.sort_unstable();
        let at = |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1)));
        let [median, p95, longest] =
            [50, 95, 100].map(|share| at(share).copied().unwrap_or_default().as_secs_f64() * 1e3);
        self.figures.push(Figure {
            what: what.to_owned(),
            value: p95,
            unit: "ms p95",
            bound: Some(Bound::AtMost(bound_ms)),
            detail: format!("median {median:.1}, longest {longest:.1}, of {}; {detail}", times.len()),
        });
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.machine)?;
        for Figure { what, value, unit, bound, detail } in &self.figures {
            let verdict = bound.map_or_else(String::new, |bound| {
                format!("{bound} {}", if bound.holds(*value) { "holds" } else { "BROKEN" })
            });
            let digits = if *value < 1.0 { 2 } else { 1 };
            writeln!(f, "{what:<44} {value:>10.digits$} {unit:<8} {verdict:<16} {detail}")?;
        }
        Ok(())
    }
}

/// What was measured on.
fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or(0);
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{cores} processors ({}), {} GiB", model.unwrap_or("unknown"), kib >> 20)
}
