//! The machine that a run is on.

use std::{fs, time::Duration};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::{
        resource::{UsageWho, getrusage},
        time::TimeValLike,
    },
    unistd::Pid,
};

/// Keeps this process, and those that it starts, on one processor: the `number`-th of those it may run on, in turns. A world
/// and its database never work at the same time, and waking the other one is cheapest where both are.
pub(crate) fn stay_on_one_processor(number: usize) -> nix::Result<()> {
    let myself = Pid::from_raw(0);
    let allowed = sched_getaffinity(myself)?;
    let processors: Vec<usize> =
        (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).collect();
    if processors.is_empty() {
        return Ok(());
    }
    let mut one = CpuSet::new();
    one.set(processors[number % processors.len()])?;
    sched_setaffinity(myself, &one)
}

/// The processor time of all processes that this one has started and that have ended, databases and all.
pub(crate) fn processor_time() -> nix::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(micros.unsigned_abs()))
}

/// What the machine is, as far as it says so.
pub(crate) fn description() -> String {
    let first = |file: &str, key: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line =
            text.lines().find_map(|line| line.strip_prefix(key)?.split_once(':').map(|(_, value)| value));
        line.unwrap_or("unknown").trim().to_owned()
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = first("/proc/meminfo", "MemTotal");
    let gib = memory.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) >> 20;
    format!("{processors} processors ({}), {gib} GiB", first("/proc/cpuinfo", "model name"))
}
