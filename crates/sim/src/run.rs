//! Seeds, one after the other, in one process.

use std::collections::BTreeMap;

use alloy::primitives::B256;
use laurel_ledger::faults::{self, Bug};
use serde::{Deserialize, Serialize};

use crate::{
    database::Database,
    dice::Fault,
    genesis::Genesis,
    stories::Story,
    trace::Trace,
    world::{Metrics, World},
};

/// What came of a seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// How many steps it was to have before it came to rest.
    pub wanted_steps: u64,
    /// After how many steps it came to rest, or failed.
    pub steps: u64,
    /// The hash of its trace.
    pub trace: B256,
    /// What was not as it has to be, if anything.
    pub findings: Vec<String>,
    /// How often each fault struck.
    pub faults: BTreeMap<String, u64>,
    /// How often each fault point was reached.
    pub reached: BTreeMap<String, u64>,
    /// How often a replica died at each fault point.
    pub crashed: BTreeMap<String, u64>,
    /// What was done: outcomes, grants, batches and the like.
    pub done: BTreeMap<String, u64>,
    /// The trace's lines, if they were asked for.
    pub lines: Vec<String>,
}

/// How seeds are run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Wanted {
    /// Steps before it comes to rest; without it the seed decides.
    pub steps: Option<u64>,
    /// Whether anything goes wrong.
    pub faults: bool,
    /// Whether the trace is kept.
    pub keep_trace: bool,
    /// Whether everything is looked at after every step, however long that takes.
    pub closely: bool,
    /// A bug that is planted.
    pub planted: Option<Bug>,
    /// What happens for sure.
    pub story: Story,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            steps: None,
            faults: true,
            keep_trace: false,
            closely: false,
            planted: None,
            story: Story::Usual,
        }
    }
}

/// Runs seeds, with a database and a chain of its own.
#[derive(Debug)]
pub struct Worker {
    database: Database,
    genesis: Genesis,
    metrics: Metrics,
}

impl Worker {
    /// Starts the database and makes the chain.
    ///
    /// # Errors
    /// If there is no PostgreSQL to be had.
    pub async fn start() -> anyhow::Result<Self> {
        Ok(Self {
            database: Database::start().await?,
            genesis: Genesis::make().await?,
            metrics: Metrics::new()?,
        })
    }

    /// Ends the database.
    ///
    /// # Errors
    /// If something of it is left.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.database.stop().await
    }

    /// Runs a seed.
    ///
    /// # Errors
    /// If the simulation itself does not work; what it finds is in the outcome.
    pub async fn run(&mut self, seed: u64, wanted: Wanted) -> anyhow::Result<Outcome> {
        let mut world = World::new(seed, wanted, &mut self.database, &self.genesis, &self.metrics).await?;
        let simulation = faults::simulate();
        let planted = wanted.planted.map(faults::plant);
        let lived = live(&mut world, wanted).await;
        drop((simulation, planted));
        let mut findings = Vec::new();
        match lived {
            Ok(found) => findings.extend(found),
            Err(error) => findings.push(format!("{error:#}")),
        }
        for actor in &mut world.actors {
            actor.give_up(world.database).await?;
        }
        if findings.is_empty() {
            findings.extend(world.reconcile().await?);
        }
        let done = done(&world).await?;
        world.tell(&format!("{done:?}"));
        let trace: Trace = world.shared.take_trace();
        let dice = world.shared.dice();
        let named = |fault: &Fault| (format!("{fault:?}"), dice.struck().get(fault).copied().unwrap_or(0));
        let wanted_steps = wanted.steps.unwrap_or(world.plan.size.steps);
        Ok(Outcome {
            seed,
            wanted_steps,
            steps: world.steps,
            trace: trace.hash(),
            findings,
            faults: Fault::ALL.iter().map(named).collect(),
            reached: world.reached.iter().map(|(point, count)| (point.to_string(), *count)).collect(),
            crashed: world.crashed.iter().map(|(point, count)| (point.to_string(), *count)).collect(),
            done,
            lines: trace.into_lines(),
        })
    }
}

impl Worker {
    /// The shortest beginning of a seed that fails when the world comes to rest after it, looked at closely: by halving,
    /// so that a shorter one may be missed where a longer one does not fail.
    ///
    /// # Errors
    /// If the simulation itself does not work.
    pub async fn shortest(&mut self, failed: Outcome, wanted: Wanted) -> anyhow::Result<Outcome> {
        let mut shortest = failed;
        let (mut good, mut bad) = (0, shortest.steps.min(shortest.wanted_steps));
        while good + 1 < bad {
            let steps = good.midpoint(bad);
            let outcome =
                self.run(shortest.seed, Wanted { steps: Some(steps), closely: true, ..wanted }).await?;
            if outcome.findings.is_empty() {
                good = steps;
            } else {
                bad = steps.min(outcome.steps);
                shortest = outcome;
            }
        }
        Ok(shortest)
    }
}

/// Runs a world to its end. Returns what is not as it has to be.
async fn live(world: &mut World<'_>, wanted: Wanted) -> anyhow::Result<Vec<String>> {
    world.warm_up().await?;
    world.shared.dice().on = wanted.faults;
    let mut commits = 0;
    for _ in 0..wanted.steps.unwrap_or(world.plan.size.steps) {
        if world.step().await? {
            commits += 1;
            let closely = wanted.closely || commits % CLOSELY_EVERY == 0;
            if closely || std::mem::take(&mut world.money_moved) {
                let findings = world.look(closely).await?;
                if !findings.is_empty() {
                    return Ok(findings);
                }
            }
        }
    }
    let rested = world.come_to_rest().await;
    let mut findings = world.conclude().await?;
    findings.extend(rested.err().map(|error| format!("INV 2: {error:#}")));
    Ok(findings)
}

/// How often, in steps that committed something, everything is looked at, and not only the balances after money moved.
const CLOSELY_EVERY: u32 = 12;

impl World<'_> {
    pub(crate) fn read_chain(&mut self) {
        let chain = self.shared.chain();
        self.auditor.read_chain(&chain);
    }

    /// What is not as it has to be at any time.
    async fn look(&mut self, closely: bool) -> anyhow::Result<Vec<String>> {
        self.read_chain();
        let mut conn = self.database.outside.acquire().await?;
        self.auditor.look(&mut conn, closely).await
    }

    /// What is not as it has to be at rest.
    async fn conclude(&mut self) -> anyhow::Result<Vec<String>> {
        self.read_chain();
        let mut conn = self.database.outside.acquire().await?;
        self.auditor.conclude(&mut conn, self.plan.size.outcomes, self.now()).await
    }
}

/// How much happened, and a hash of all that was written.
async fn done(world: &World<'_>) -> anyhow::Result<BTreeMap<String, u64>> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT 'outcomes', count(*) FROM outcomes UNION ALL SELECT 'grants', count(*) FROM grants
         UNION ALL SELECT 'declines', count(*) FROM declines UNION ALL SELECT 'batches', count(*) FROM batches
         UNION ALL SELECT 'reverted batches', count(*) FROM batches WHERE state = 'reverted'
         UNION ALL SELECT 'attempts', count(*) FROM attempts UNION ALL SELECT 'voids', count(*) FROM voids
         UNION ALL SELECT 'letters', count(*) FROM dead_letters
         UNION ALL SELECT 'overdrafts', count(*) FROM journal
                   WHERE kind = 'OperatorAlertRaised' AND position('budget_short'::bytea IN payload) > 0
         UNION ALL SELECT 'grants paid', coalesce(sum(grants), 0)::bigint FROM postings
         UNION ALL SELECT 'events', coalesce(sum(entries), 0)::bigint FROM journal",
    )
    .fetch_all(&world.database.outside)
    .await?;
    let hash: String = sqlx::query_scalar(
        "SELECT coalesce(md5(string_agg(format('%s/%s/%s', part, position, encode(digest, 'hex')), ',' ORDER BY part, position)), '')
         FROM journal",
    )
    .fetch_one(&world.database.outside)
    .await?;
    world.tell(&format!("the journal is {hash}"));
    Ok(rows.into_iter().map(|(name, count)| (name, count.unsigned_abs())).collect())
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Executor};

    use super::*;

    fn on_one_thread(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    #[test]
    fn a_seed_tells_the_same_story_twice_and_another_one_another() {
        on_one_thread(async {
            let mut worker = Worker::start().await.unwrap();
            let mut hashes = Vec::new();
            for seed in [7, 8, 7] {
                let outcome = worker.run(seed, Wanted::default()).await.unwrap();
                assert_eq!(outcome.findings, Vec::<String>::new(), "seed {seed}");
                assert!(outcome.done["grants paid"] > 0, "{:?}", outcome.done);
                hashes.push(outcome.trace);
            }
            assert_eq!(hashes[0], hashes[2]);
            assert_ne!(hashes[0], hashes[1]);
            worker.stop().await.unwrap();
        });
    }

    /// What is done to the tables of a world at rest, and what the auditor has to say then.
    const CORRUPTIONS: [(&str, &str); 14] = [
        ("UPDATE accounts SET paid = paid - 1, available = available + 1 WHERE paid > 0", "INV 3"),
        ("DELETE FROM postings WHERE ctid = (SELECT min(ctid) FROM postings)", "INV 3"),
        ("UPDATE journal SET payload = payload || '\\x0a' WHERE kind = 'TokenGrantRequested'", "INV 9"),
        ("UPDATE heads SET next = next + 1", "INV 9"),
        ("DELETE FROM outcomes WHERE ctid = (SELECT min(ctid) FROM outcomes)", "INV 7"),
        ("INSERT INTO voids SELECT campaign, numbers[1], 1, '{}', queued_at FROM runs LIMIT 1", "INV 5"),
        ("UPDATE counters SET grants = grants - 1 WHERE grants > 0", "INV 6"),
        ("UPDATE runs SET words = overlay(words PLACING '\\x07' FROM 32)", "INV 1"),
        ("UPDATE runs SET first_seq = first_seq + 1000000", "INV 1"),
        ("UPDATE batches SET state = 'submitted', gas_used = NULL, effective_gas_price = NULL", "INV 8"),
        (
            "INSERT INTO declines SELECT campaign, 99, part, position, idx, outcome, player, 'twice', 1, recorded_at
             FROM grants LIMIT 1",
            "INV 7",
        ),
        ("UPDATE segments SET posted_at = NULL", "INV 2"),
        ("UPDATE segments SET unpaid = ARRAY[first_seq]", "INV 11: place"),
        ("INSERT INTO requeues SELECT campaign, first_seq, count, queued_at FROM runs LIMIT 1", "INV 11: place"),
    ];

    #[test]
    fn the_auditor_sees_what_is_done_to_the_books() {
        on_one_thread(async {
            let mut worker = Worker::start().await.unwrap();
            let Worker { database, genesis, metrics } = &mut worker;
            let mut world = World::new(7, Wanted::default(), database, genesis, metrics).await.unwrap();
            let simulation = faults::simulate();
            assert_eq!(
                live(&mut world, Wanted { faults: false, ..Wanted::default() }).await.unwrap(),
                Vec::<String>::new()
            );
            drop(simulation);
            let mut unseen = Vec::new();
            for (corruption, invariant) in CORRUPTIONS {
                let mut tx = world.database.outside.begin().await.unwrap();
                tx.execute("SET LOCAL session_replication_role = replica").await.unwrap();
                tx.execute(AssertSqlSafe(corruption)).await.unwrap();
                let ended = world.auditor.clone();
                let outcomes = world.plan.size.outcomes;
                let findings = world.auditor.conclude(&mut tx, outcomes, world.now()).await.unwrap();
                world.auditor = ended;
                tx.rollback().await.unwrap();
                if !findings.iter().any(|finding| finding.starts_with(invariant)) {
                    unseen.push(format!("{corruption}: {findings:?}"));
                }
            }
            assert_eq!(unseen, Vec::<String>::new());
            assert_eq!(world.conclude().await.unwrap(), Vec::<String>::new());
            assert_eq!(world.reconcile().await.unwrap(), Vec::<String>::new());
            let mut tx = world.database.outside.begin().await.unwrap();
            tx.execute("SET LOCAL session_replication_role = replica").await.unwrap();
            tx.execute("DELETE FROM postings WHERE ctid = (SELECT min(ctid) FROM postings)").await.unwrap();
            tx.commit().await.unwrap();
            let findings = world.reconcile().await.unwrap();
            assert!(findings.iter().any(|finding| finding.contains("posting_missing")), "{findings:?}");
            worker.stop().await.unwrap();
        });
    }
}
