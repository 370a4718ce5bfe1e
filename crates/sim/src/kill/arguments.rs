//! The command line of the kill test.

use std::{path::PathBuf, time::Duration};

use super::load::Load;

/// What to kill, how often and how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many rounds: each ends when all is settled and the books are checked.
    #[arg(long, default_value_t = 20)]
    pub(super) rounds: u32,
    /// How many times everything is killed at the end, to see how soon it settles again.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) recoveries: u32,
    /// Where chance comes from; without it, the time decides.
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// Instead of rounds: outcomes at a rate, and a replica killed every so often.
    #[arg(long)]
    pub(super) load: bool,
    /// Outcomes a second.
    #[arg(long, requires = "load", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    rate: u32,
    /// For how long.
    #[arg(long, requires = "load", default_value_t = 10)]
    minutes: u32,
    /// Seconds from one kill to the next.
    #[arg(long, requires = "load", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    kill_every: u32,
    /// A block every so many milliseconds; without it, 250 in rounds and 1000 under load.
    #[arg(long, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    block_ms: Option<u64>,
    /// The `laurel` to run; without it, the one of this checkout is built.
    #[arg(long)]
    pub(super) laurel: Option<PathBuf>,
    /// After a failure, keep the database and the chain up until Ctrl-C.
    #[arg(long)]
    pub(super) hold: bool,
}

impl Arguments {
    pub(super) fn load(&self) -> Load {
        Load {
            rate: self.rate,
            lasts: Duration::from_secs(u64::from(self.minutes) * 60),
            kill_every: Duration::from_secs(u64::from(self.kill_every)),
        }
    }

    /// Rounds want many blocks, load wants those of real chains.
    pub(super) fn block_time(&self) -> Duration {
        Duration::from_millis(self.block_ms.unwrap_or(if self.load { 1_000 } else { 250 }))
    }
}
