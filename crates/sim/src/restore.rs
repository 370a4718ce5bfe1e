//! A database that is set back to an older moment, while the chain goes on, and the recovery after it.

use std::sync::Arc;

use alloy::primitives::Bytes;
use anyhow::Context as _;
use laurel_campaign::{Move, judge_payments};
use laurel_chain::ChainNode;
use laurel_events::{Clock, NewEvent, time_ordered};
use laurel_grant_saga::{Recovery, Waiting};
use laurel_ledger::{Context, Vault, append, commit, lock_quarantine};
use rand::{Rng, RngCore};
use sqlx::PgPool;

use crate::{
    audit::Auditor,
    clients::Request,
    dice::Fault,
    world::{REPLICAS, World},
};

/// How many worlds have their database restored.
pub(crate) const RESTORED_WORLDS: f64 = 0.15;

/// How often hours pass soon after a restore, so that the recovery goes on while things go wrong, and not only at rest.
const HOURS_FOLLOW: f64 = 0.6;

/// How many transactions a zombie sends that were never sent, of those in the lost part of the database.
const ZOMBIE_SHARE: f64 = 0.5;

/// When a world's database is kept, and when it is set back to that; and what is remembered meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct Restore {
    pub(crate) keeps_at: u64,
    pub(crate) restores_at: u64,
    kept: Option<Auditor>,
}

impl Restore {
    /// At moments of chance.
    pub(crate) fn of_chance(steps: u64, rng: &mut dyn RngCore) -> Self {
        let keeps_at = rng.random_range(steps / 6..steps / 2);
        let restores_at = keeps_at + rng.random_range(8..steps / 3);
        Self { keeps_at, restores_at, kept: None }
    }
}

impl World<'_> {
    /// Keeps the database, or sets it back, where it is time for that.
    pub(crate) async fn keep_or_restore(&mut self) -> anyhow::Result<()> {
        let Some(restore) = self.restore.as_mut().filter(|_| self.shared.dice().on) else { return Ok(()) };
        if self.steps == restore.keeps_at {
            restore.kept = Some(self.auditor.clone());
            self.database.keep().await?;
            self.tell("the database is kept");
        } else if self.steps >= restore.restores_at
            && let Some(kept) = restore.kept.take()
        {
            self.set_back(&kept).await?;
        }
        Ok(())
    }

    async fn set_back(&mut self, kept: &Auditor) -> anyhow::Result<()> {
        self.shared.dice().count(Fault::Restored);
        self.tell("the database is set back to what was kept");
        for replica in 0..REPLICAS {
            self.end_replica(replica).await?;
        }
        let signed: Vec<Vec<u8>> = sqlx::query_scalar("SELECT raw FROM attempts ORDER BY id")
            .fetch_all(&self.database.outside)
            .await?;
        self.database.bring_back().await?;
        self.auditor.set_back(kept);
        for raw in signed {
            if self.shared.dice().rng.random_bool(ZOMBIE_SHARE) {
                let at = self.steps + self.shared.dice().rng.random_range(1..60);
                self.unsent.push((at, raw.into()));
            }
        }
        // Game servers and players tell again what they told since then; what they told before makes no difference.
        self.plan.requests.retain(Request::is_of_staff);
        self.plan.requests.extend(self.plan.told.clone());
        let resumes = self.plan.campaigns.iter().map(|campaign| campaign.id);
        let resumes = resumes.map(|campaign| Request::Campaign { campaign, action: Move::Resume });
        self.plan.requests.extend(resumes.collect::<Vec<_>>());
        self.plan.requests.push_front(Request::Recover);
        for replica in 0..REPLICAS {
            self.start_again(replica).await?;
        }
        if self.shared.dice().rng.random_bool(HOURS_FOLLOW) {
            let ends = self.steps + self.shared.dice().rng.random_range(10..50);
            self.troubles.push((ends, crate::trouble::Trouble::HoursToCome));
        }
        Ok(())
    }

    /// A zombie, who has the database of before, sends what it has in it.
    pub(crate) fn zombie_sends(&mut self, all: bool) {
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.unsent).into_iter().partition(|(at, _)| all || *at <= self.steps);
        self.unsent = later;
        for (_, raw) in due {
            let raw: Bytes = raw;
            let sent = self.shared.chain().send(&raw);
            if let Ok(hash) = sent {
                self.shared.dice().count(Fault::Zombie);
                self.tell(&format!("a zombie sends {hash}"));
            }
        }
    }
}

/// Takes the steps of `laurel recover` as far as they go now. Returns what is waited for, if anything.
pub(crate) async fn recover(
    pool: &PgPool,
    chain: (Vault, Arc<dyn ChainNode>),
    clock: &dyn Clock,
    rng: &mut dyn RngCore,
) -> anyhow::Result<String> {
    let recovery = Recovery::new(pool.clone(), vec![chain]);
    let now = clock.now();
    recovery.begin(now, time_ordered(now, rng), "an operator called for it").await?;
    nothing(recovery.wait_for_chains(now).await?)?;
    read_up(&recovery).await?;
    recovery.settle_lanes(clock.now()).await?;
    read_up(&recovery).await?;
    let imported = recovery.import(clock.now()).await?;
    read_up(&recovery).await?;
    let now = clock.now();
    recovery.put_off_deadlines(now).await?;
    let mut tx = pool.begin().await?;
    let quarantine = lock_quarantine(&mut tx).await?.context("the quarantine has ended meanwhile")?;
    let mut events: Vec<NewEvent> =
        judge_payments(&mut tx, now).await?.into_iter().map(NewEvent::from).collect();
    let (performed, concluded) = Recovery::conclude(&mut tx, now, &quarantine, &imported.found).await?;
    events.extend(concluded);
    append(&mut tx, &Context::at(now), &events).await?;
    commit(tx, "recovered").await?;
    Ok(format!("{} settlements, {} adopted, {:?}", performed.settlements, performed.adopted, imported.found))
}

async fn read_up(recovery: &Recovery) -> anyhow::Result<()> {
    let heads = recovery.heads().await?;
    nothing(recovery.wait_for_stages(&heads).await?)
}

fn nothing(waiting: Vec<Waiting>) -> anyhow::Result<()> {
    waiting.first().map_or(Ok(()), |waiting| Err(anyhow::anyhow!("it waits: {waiting}")))
}
