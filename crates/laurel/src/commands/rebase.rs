//! `laurel chain rebase`

use std::time::Duration;

use anyhow::Context;
use laurel_chain_watcher::{Rebase, RebasePlan};
use laurel_events::{Clock, SystemClock, time_ordered};
use laurel_ledger::answered;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    config::{self, Config},
    connect::{self, ChainParts},
    output::{JsonTo, note},
};

/// How often is looked whether the stages have read everything.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How often a person is told of what is waited for.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How long a step may take: it reads back to the last block in common, and undoes what is above it.
const STEP_TIMEOUT: Duration = Duration::from_secs(3_600);

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    /// Nothing is done.
    pub(crate) dry_run: bool,
    /// The halt is ended, and nothing else.
    pub(crate) resume: bool,
}

/// Has the ledger follow a chain that has taken back what was final.
pub(crate) async fn run(
    config: &Config,
    chain: Option<u64>,
    how: How,
    json: Option<&JsonTo>,
) -> anyhow::Result<()> {
    let chain = chosen(config, chain)?;
    let rebase = super::within(STEP_TIMEOUT, connected(config, chain)).await?;
    let now = SystemClock.now();
    if how.resume {
        answered(STEP_TIMEOUT, rebase.resume(now)).await?;
        let done = json!({ "chain_id": chain.id, "resumed": true });
        return super::answer(json, &done, || format!("Chain {} goes on.", chain.id));
    }
    let mut done = json!({ "chain_id": chain.id, "dry_run": how.dry_run });
    if answered(STEP_TIMEOUT, rebase.is_open()).await? {
        note("A rebase has begun and was not ended: it goes on.");
        if how.dry_run {
            return super::answer(json, &done, || {
                "Its undoing would be waited for, and nothing else.".to_owned()
            });
        }
    } else {
        if !how.dry_run {
            // What was told before is booked first, so that all of it is undone.
            let plan = answered(STEP_TIMEOUT, rebase.plan()).await?;
            note(&told(&plan));
            read_up(&rebase).await?;
        }
        let plan = answered(STEP_TIMEOUT, rebase.plan()).await?;
        if let Value::Object(fields) = &mut done {
            fields.insert("from".to_owned(), json!({ "block": plan.from.number, "hash": plan.from.hash }));
            fields.insert("to".to_owned(), json!({ "block": plan.to.number, "hash": plan.to.hash }));
            fields.insert("undone".to_owned(), json!(plan.lost));
        }
        if how.dry_run {
            return super::answer(json, &done, || format!("{}\nNothing was done.", told(&plan)));
        }
        let id = time_ordered(now, &mut StdRng::from_os_rng());
        answered(STEP_TIMEOUT, rebase.begin(SystemClock.now(), id, &plan)).await?;
        note("It is undone; the chain goes on when every stage has read that.");
    }
    read_up(&rebase).await?;
    answered(STEP_TIMEOUT, rebase.end(SystemClock.now())).await?;
    super::answer(json, &done, || {
        format!(
            "Chain {} goes on, along what it has now. What it took back is paid again, with the same sequence numbers.",
            chain.id
        )
    })
}

async fn connected(config: &Config, chain: &config::Chain) -> anyhow::Result<Rebase> {
    let pool = connect::database(&config.database.url, 4).await?;
    connect::require_current_schema(&pool).await?;
    let connected = connect::chain(&pool, chain, &ChainParts::unwatched()?).await?;
    Ok(Rebase::new(pool, connected.node, chain.id, chain.finality))
}

fn chosen(config: &Config, chain: Option<u64>) -> anyhow::Result<&config::Chain> {
    match (chain, &config.chains[..]) {
        (Some(id), chains) => chains
            .iter()
            .find(|chain| chain.id == id)
            .with_context(|| format!("chain {id} is not configured")),
        (None, [only]) => Ok(only),
        (None, _) => anyhow::bail!("several chains are configured, or none: say which with --chain ID"),
    }
}

/// Waits until the stages have read what is written, and what follows from it.
async fn read_up(rebase: &Rebase) -> anyhow::Result<()> {
    let mut told: Option<Instant> = None;
    let mut reading = answered(STEP_TIMEOUT, rebase.reading()).await?;
    loop {
        let unread = answered(STEP_TIMEOUT, rebase.unread(&mut reading)).await?;
        if unread.is_empty() {
            return Ok(());
        }
        if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            for unread in unread {
                note(&format!("waiting: {unread}"));
            }
            told = Some(Instant::now());
        }
        sleep(LOOK_EVERY).await;
    }
}

fn told(plan: &RebasePlan) -> String {
    let RebasePlan { from, to, reason, lost, .. } = plan;
    format!(
        "The chain is halted: {reason}.\nOur last final block is {} {}; of what we know, block {} {} is the last that the chain \
         still has.\nUndone: {} settlements with {} grants over {} in all, {} that had failed, {} of strangers, {} caps, {} \
         cancellations, {} releases.",
        from.number,
        from.hash,
        to.number,
        to.hash,
        lost.settlements,
        lost.grants,
        lost.amount,
        lost.reverted,
        lost.strangers,
        lost.fundings,
        lost.cancels,
        lost.releases,
    )
}
