//! A database that is restored to a moment before the last places were given, while the chain keeps what was paid for them;
//! and what an operator does then, as `laurel recover` does it.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use laurel_campaign::judge_payments;
use laurel_chain::ChainNode;
use laurel_events::{NewEvent, time_ordered};
use laurel_grant_saga::{Recovery, Waiting};
use laurel_ledger::{Context, Vault, append, commit, faults, find_quarantine};
use rand::Rng;
use sqlx::PgPool;

use crate::{
    actors::Kind,
    clients::Request,
    world::{REPLICAS, World},
};

/// How often, in what is forgotten, somebody moves.
const FORGOTTEN_MOVES: usize = 30;

/// How much time passes after a restore: more than anything that was signed may still be settled.
const WAIT_MS: i64 = 4_000_000;

impl World<'_> {
    /// Restores the database to a moment after which places were given and paid, and begins the quarantine.
    pub(super) async fn restore(&mut self) -> anyhow::Result<()> {
        let on = std::mem::replace(&mut self.shared.dice().on, false);
        for index in 0..self.actors.len() {
            if self.actors[index].is_busy() {
                self.finish(index).await?;
            }
        }
        self.database.remember().await?;
        self.tell("a moment is remembered");
        let forgetful: Vec<usize> = (0..self.actors.len())
            .filter(|index| matches!(self.actors[*index].kind, Kind::Stage("grant-saga") | Kind::Lane))
            .collect();
        for _ in 0..FORGOTTEN_MOVES {
            let chosen = forgetful[self.shared.dice().rng.random_range(0..forgetful.len())];
            self.pass(100);
            self.run(chosen).await?;
        }
        self.honest_blocks();
        self.tell("the database is restored to that moment");
        for replica in 0..REPLICAS {
            self.crash(replica).await?;
        }
        self.database.restore().await?;
        self.auditor.forget();
        let (now, vault, node) = (self.now(), self.plan.vault, self.replicas[0].node.clone());
        let recovery = Recovery::new(self.database.outside.clone(), vec![(vault, node)]);
        let epoch = time_ordered(now, &mut self.shared.dice().rng);
        undisturbed(recovery.begin(now, epoch, "it was restored")).await?;
        undisturbed(recovery.wait_for_chains()).await?;
        self.pass(WAIT_MS);
        self.plan.requests.push_front(Request::Recover { vault });
        self.stir();
        self.stir_after_commits().await?;
        self.shared.dice().on = on;
        Ok(())
    }
}

/// Passes through fault points.
async fn undisturbed<T>(task: impl Future<Output = T>) -> T {
    let mut task = pin!(task);
    poll_fn(|context| {
        loop {
            match task.as_mut().poll(context) {
                Poll::Pending if faults::reached().is_some() => {}
                polled => return polled,
            }
        }
    })
    .await
}

/// Goes on with a recovery, as far as it can at the moment: whoever is told what it waits for asks again.
pub(crate) async fn recover(
    pool: &PgPool,
    vault: Vault,
    node: Arc<dyn ChainNode>,
    now: DateTime<Utc>,
) -> anyhow::Result<String> {
    if find_quarantine(&mut *pool.acquire().await?).await?.is_none() {
        return Ok("the quarantine is over".to_owned());
    }
    let recovery = Recovery::new(pool.clone(), vec![(vault, node)]);
    none_of(&recovery.wait_for_chains().await?)?;
    read_up(&recovery).await?;
    recovery.settle_lanes(now).await?;
    read_up(&recovery).await?;
    let imported = recovery.import(now).await?;
    read_up(&recovery).await?;
    let mut tx = pool.begin().await?;
    let quarantine = find_quarantine(&mut tx).await?.context("somebody else has ended the quarantine")?;
    let mut events: Vec<NewEvent> =
        judge_payments(&mut tx, now).await?.into_iter().map(NewEvent::from).collect();
    let (performed, concluded) = Recovery::conclude(&mut tx, now, &quarantine, &imported.found).await?;
    events.extend(concluded);
    append(&mut tx, &Context::at(now), &events).await?;
    commit(tx, "recovered").await?;
    Ok(format!("{performed:?}, {:?}", imported.found))
}

async fn read_up(recovery: &Recovery) -> anyhow::Result<()> {
    none_of(&recovery.wait_for_stages(&recovery.heads().await?).await?)
}

fn none_of(waiting: &[Waiting]) -> anyhow::Result<()> {
    match waiting.first() {
        Some(waiting) => anyhow::bail!("it waits: {waiting}"),
        None => Ok(()),
    }
}
