//! `laurel recover`

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use laurel_campaign::judge_payments;
use laurel_chain::ChainNode;
use laurel_events::{
    Clock, NewEvent, RecoveryPerformed, SystemClock, alert::UNKNOWN_SETTLEMENT, time_ordered,
};
use laurel_grant_saga::{Found, Recovery, Waiting};
use laurel_ledger::{
    Context as Recorded, Vault, Written, alerts_about, answered, append, commit, lock_quarantine,
};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::json;
use sqlx::PgPool;
use tokio::time::{Instant, sleep};

use super::Outcome;
use crate::{
    config::Config,
    connect::{self, ChainParts},
    output::{JsonTo, note},
};

/// How often is looked whether the waiting is over: a block is made in that time at best.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How often a person is told of what is waited for, while that stays the same but for its numbers.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How long one look may take: it may read all blocks that are not final yet, once for each lane.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3_600);

/// For how long looks may fail before the command ends: what is waited for takes an hour, and endpoints come and go.
const FAILING_MAX: Duration = Duration::from_secs(600);

/// How long a step may take: it may read every settlement of what is lost.
const STEP_TIMEOUT: Duration = Duration::from_secs(3_600);

/// How often the end is tried.
const TRIES_MAX: usize = 3;

/// Why a quarantine begins that nobody but the operator saw the need of.
const CALLED: &str = "an operator called for it";

/// Compares the database with the chain and ends the quarantine.
pub(crate) async fn run(config: &Config, json: Option<&JsonTo>) -> anyhow::Result<Outcome> {
    let (pool, recovery) = super::within(LOOK_TIMEOUT, connected(config)).await?;
    let now = SystemClock.now();
    let epoch = time_ordered(now, &mut StdRng::from_os_rng());
    match answered(STEP_TIMEOUT, recovery.begin(now, epoch, CALLED)).await? {
        Written::Created => note("The quarantine begins: nothing is signed from here on."),
        Written::Exists => note("The database is in quarantine: nothing is signed."),
    }
    note("Roles may run, and chain-watcher, campaign and grant-saga have to.");
    let found = compare(&recovery).await?;
    let end = async || {
        recovery.put_off_deadlines(SystemClock.now()).await?;
        conclude(&pool, &found).await
    };
    let (performed, unknown) = super::within(STEP_TIMEOUT, repeated(end)).await?;
    let unexplained: Vec<_> = found.iter().map(object).collect();
    let done = json!({ "performed": performed, "unexplained": unexplained, "unknown_settlements": unknown });
    super::answer(json, &done, || told(&performed, &found, &unknown))?;
    let goes_on = performed.unexplained == 0 && found.is_empty() && unknown.is_empty();
    Ok(if goes_on { Outcome::Fine } else { Outcome::Finding })
}

async fn connected(config: &Config) -> anyhow::Result<(PgPool, Recovery)> {
    let pool = connect::database(&config.database.url, 4).await?;
    connect::require_current_schema(&pool).await?;
    let parts = ChainParts::unwatched()?;
    let mut chains: Vec<(Vault, Arc<dyn ChainNode>)> = Vec::new();
    for chain in &config.chains {
        let connected = connect::chain(&pool, chain, &parts).await?;
        chains.push((connected.vault, connected.node));
    }
    require_every_chain(&pool, &chains).await?;
    Ok((pool.clone(), Recovery::new(pool, chains)))
}

/// Refuses to recover with a part of the chains: what the others know would never be asked.
async fn require_every_chain(pool: &PgPool, chains: &[(Vault, Arc<dyn ChainNode>)]) -> anyhow::Result<()> {
    let known = sqlx::query_scalar!("SELECT DISTINCT chain_id FROM vaults ORDER BY chain_id");
    for id in known.fetch_all(pool).await? {
        let configured = chains.iter().any(|(vault, _)| vault.identity.chain_id == id.cast_unsigned());
        anyhow::ensure!(
            configured,
            "chain {id} is not configured, and this database pays on it: see [[chains]]"
        );
    }
    Ok(())
}

/// Waits until the chain can tell, and takes over what it does.
async fn compare(recovery: &Recovery) -> anyhow::Result<Vec<Found>> {
    wait(async || Ok(recovery.wait_for_chains(SystemClock.now()).await?)).await?;
    read_up(recovery).await?;
    let displaced = answered(STEP_TIMEOUT, recovery.settle_lanes(SystemClock.now())).await?;
    if displaced > 0 {
        note(&format!(
            "{displaced} batches were displaced by others of the same nonce; their grants go again."
        ));
    }
    read_up(recovery).await?;
    let imported = answered(STEP_TIMEOUT, recovery.import(SystemClock.now())).await?;
    note(&format!(
        "{} grants had been paid already, {} payments wait for grants that are lost.",
        imported.adopted, imported.orphaned
    ));
    read_up(recovery).await?;
    Ok(imported.found)
}

/// Waits until the books have everything that the journal has now.
async fn read_up(recovery: &Recovery) -> anyhow::Result<()> {
    let heads = answered(LOOK_TIMEOUT, recovery.heads()).await?;
    wait(async || Ok(recovery.wait_for_stages(&heads).await?)).await
}

/// Waits until there is nothing to wait for, and says what for.
async fn wait(look: impl AsyncFn() -> anyhow::Result<Vec<Waiting>>) -> anyhow::Result<()> {
    let mut told: Option<Instant> = None;
    let mut failing_since: Option<Instant> = None;
    loop {
        let waiting = match super::within(LOOK_TIMEOUT, look()).await {
            Ok(waiting) => waiting,
            Err(error) => {
                let since = *failing_since.get_or_insert_with(|| {
                    note(&format!("it is tried again: {error:#}"));
                    Instant::now()
                });
                if since.elapsed() >= FAILING_MAX {
                    return Err(error);
                }
                sleep(LOOK_EVERY).await;
                continue;
            }
        };
        failing_since = None;
        if waiting.is_empty() {
            return Ok(());
        }
        if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            waiting.iter().for_each(|waiting| note(&format!("waiting: {waiting}")));
            told = Some(Instant::now());
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Tries a step some times: stages go on, and whoever locks the same rows in another order may have it undone.
async fn repeated<T>(step: impl AsyncFn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    for _ in 1..TRIES_MAX {
        match step().await {
            Err(error) => note(&format!("it is tried again: {error:#}")),
            done => return done,
        }
    }
    step().await
}

/// Ends the quarantine. Says of which settlements is told that nobody here has signed them.
async fn conclude(pool: &PgPool, found: &[Found]) -> anyhow::Result<(RecoveryPerformed, Vec<String>)> {
    let now = SystemClock.now();
    let mut tx = pool.begin().await?;
    let quarantine = lock_quarantine(&mut tx).await?;
    let quarantine = quarantine.context("somebody else has ended the quarantine meanwhile")?;
    let mut events: Vec<NewEvent> =
        judge_payments(&mut tx, now).await?.into_iter().map(NewEvent::from).collect();
    let (performed, concluded) = Recovery::conclude(&mut tx, now, &quarantine, found).await?;
    events.extend(concluded);
    append(&mut tx, &Recorded::at(now), &events).await?;
    let unknown = alerts_about(&mut tx, UNKNOWN_SETTLEMENT).await?;
    commit(tx, "recovered").await?;
    Ok((performed, unknown))
}

fn object(found: &Found) -> serde_json::Value {
    json!({ "campaign_id": found.campaign.to_string(), "tx": found.tx, "why": found.why })
}

fn told(performed: &RecoveryPerformed, found: &[Found], unknown: &[String]) -> String {
    let RecoveryPerformed { epoch, settlements, adopted, orphans, .. } = performed;
    let mut text = format!(
        "Recovered: epoch {epoch}, {settlements} settlements that were not known, {adopted} grants paid by them, \
         {orphans} payments that wait for lost grants."
    );
    if *orphans > 0 {
        text += "\nHave game servers send again what they reported since the moment that the database was restored to, and \
                 players link wallets again that they linked since then: a grant of the same campaign, wallet and amount \
                 takes such a payment.";
    }
    for about in unknown {
        text += &format!("\nNOT SIGNED BY THIS DATABASE: {about}");
    }
    if !unknown.is_empty() {
        text += "\nIf these were signed by this system before the database was set back: `laurel alerts acknowledge unknown_settlement` \
                 each, then `laurel unpause --chain ID`. If not, somebody has a lane's key: leave the chain stopped.";
    }
    if performed.unexplained == 0 && found.is_empty() {
        return text + "\nPayouts go on, unless they were stopped for another reason.";
    }
    for Found { campaign, tx, why } in found {
        text += &format!("\nUNEXPLAINED: campaign {campaign}: transaction {tx} {why}");
    }
    text + "\nPayouts stay stopped. Look into each of these; what was dealt with is told with `laurel alerts acknowledge`."
}
