//! What happened, in figures.

use std::{collections::BTreeMap, fmt, io::Write, sync::atomic::Ordering::Relaxed, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use super::{door::Tries, story::Story, troubles::Trouble, world::World};

/// From the restart of everything on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recovery {
    /// Until the database answered.
    pub(super) database: Duration,
    /// Until a settlement was confirmed that was not before.
    pub(super) first: Duration,
    /// Until one was confirmed that was signed after the restart, too.
    pub(super) signed_since: Duration,
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "database up after {:.2} s, a settlement confirmed after {:.2} s, one that was signed since after {:.2} s",
            self.database.as_secs_f64(),
            self.first.as_secs_f64(),
            self.signed_since.as_secs_f64()
        )
    }
}

/// What a run did.
#[derive(Debug)]
pub(super) struct Summary {
    seed: u64,
    began: DateTime<Utc>,
    block_time: Duration,
    rounds: u64,
    longest_round: TimeDelta,
    struck: BTreeMap<&'static str, u64>,
    killed: u64,
    outcomes: u64,
    grants: u64,
    transactions: Option<(i64, i64)>,
    pub(super) ended_by_themselves: Vec<String>,
    pub(super) recoveries: Vec<Recovery>,
}

impl Summary {
    pub(super) fn new(seed: u64, began: DateTime<Utc>, block_time: Duration) -> Self {
        Self {
            seed,
            began,
            block_time,
            rounds: 0,
            longest_round: TimeDelta::zero(),
            struck: BTreeMap::new(),
            killed: 0,
            outcomes: 0,
            grants: 0,
            transactions: None,
            ended_by_themselves: Vec::new(),
            recoveries: Vec::new(),
        }
    }

    /// Counts what is about to be done.
    pub(super) fn count(&mut self, trouble: &Trouble) {
        *self.struck.entry(trouble.kind()).or_default() += 1;
        self.killed += trouble.processes();
    }

    /// A round whose books were right.
    pub(super) fn round_is_good(&mut self, story: &Story, took: TimeDelta) {
        self.rounds += 1;
        self.longest_round = self.longest_round.max(took);
        self.told(story);
    }

    /// What the story has come to.
    pub(super) fn told(&mut self, story: &Story) {
        let (linked, unlinked) = story.owed();
        (self.outcomes, self.grants) = (story.outcomes, linked + unlinked);
    }

    /// Final transactions, and attempts at any; unknown where the database does not answer any more.
    pub(super) async fn count_transactions(&mut self, world: &World) {
        let counted = async {
            let mut session = world.session().await?;
            let counts = sqlx::query_as(
                "SELECT (SELECT count(*) FROM batches WHERE state = 'confirmed'), (SELECT count(*) FROM attempts)",
            );
            anyhow::Ok(counts.fetch_one(&mut session).await?)
        };
        self.transactions = counted.await.ok();
    }

    /// Prints all of it.
    pub(super) fn print(&self, now: DateTime<Utc>, out: &mut impl Write) -> std::io::Result<()> {
        writeln!(out, "\nseed                    {}", self.seed)?;
        writeln!(out, "rounds, all good        {}", self.rounds)?;
        for (kind, times) in &self.struck {
            writeln!(out, "  {kind:<32}{times:>8}")?;
        }
        writeln!(out, "processes killed        {}", self.killed)?;
        writeln!(out, "ended by themselves     {}", self.ended_by_themselves.len())?;
        let mut by_name: BTreeMap<&str, u64> = BTreeMap::new();
        for ended in &self.ended_by_themselves {
            *by_name.entry(ended).or_default() += 1;
        }
        for (ended, times) in by_name {
            writeln!(out, "  {ended:<48}{times:>8}")?;
        }
        writeln!(out, "outcomes acknowledged   {}", self.outcomes)?;
        writeln!(out, "grants                  {}", self.grants)?;
        writeln!(out, "a block every           {} ms, final two blocks later", self.block_time.as_millis())?;
        match self.transactions {
            Some((confirmed, attempts)) => {
                writeln!(out, "transactions confirmed  {confirmed}, of {attempts} attempts")?;
            }
            None => writeln!(out, "transactions confirmed  unknown: the database is down")?,
        }
        if let Some(median) = median(&self.recoveries) {
            writeln!(
                out,
                "settling again after the end of everything, median of {}:",
                self.recoveries.len()
            )?;
            writeln!(out, "  {median}")?;
            writeln!(out, "  at the latest after {:.2} s", self.settled_at_the_latest().as_secs_f64())?;
        }
        let took = (now - self.began).num_seconds();
        writeln!(
            out,
            "time                    {} min {} s; longest round {} s",
            took / 60,
            took % 60,
            self.longest_round.num_seconds()
        )?;
        writeln!(out, "machine                 {}", machine())
    }
}

/// What became of single tries.
pub(super) fn print_tries(tries: &Tries, out: &mut impl Write) -> std::io::Result<()> {
    let counts = [
        ("tries over connections", &tries.made),
        ("  refused", &tries.refused),
        ("  cut", &tries.cut),
        ("  timed out", &tries.timed_out),
        ("  5xx", &tries.server_errors),
    ];
    for (name, count) in counts {
        writeln!(out, "{name:<24}{}", count.load(Relaxed))?;
    }
    Ok(())
}

/// How soon after the end of everything a settlement has to be confirmed that was signed since.
const SETTLES_WITHIN: Duration = Duration::from_secs(5);

impl Summary {
    /// Whether it settled again soon enough, every time.
    pub(super) fn settles_soon(&self) -> bool {
        self.settled_at_the_latest() < SETTLES_WITHIN
    }

    fn settled_at_the_latest(&self) -> Duration {
        self.recoveries.iter().map(|recovery| recovery.signed_since).max().unwrap_or_default()
    }
}

fn median(recoveries: &[Recovery]) -> Option<Recovery> {
    let middle = |of: fn(&Recovery) -> Duration| {
        let mut all: Vec<Duration> = recoveries.iter().map(of).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied()
    };
    Some(Recovery {
        database: middle(|recovery| recovery.database)?,
        first: middle(|recovery| recovery.first)?,
        signed_since: middle(|recovery| recovery.signed_since)?,
    })
}

/// Cores and memory, as far as the system says.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or("unknown").trim();
    format!("{cores} cores, memory {memory}, {} {}", std::env::consts::OS, std::env::consts::ARCH)
}
