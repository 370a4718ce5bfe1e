//! A chain that takes back what was final, and the operator who has the ledger follow it.

use std::sync::Arc;

use laurel_chain::ChainNode;
use laurel_chain_watcher::{Finality, Rebase, RebaseError};
use laurel_events::{Clock, time_ordered};
use rand::{Rng, RngCore};
use sqlx::PgPool;

use crate::{dice::Fault, genesis::CHAIN_ID, owner::owner, world::World};

/// How many worlds have a chain that takes back what was final.
pub(crate) const TAKEN_BACK_WORLDS: f64 = 0.12;

/// How many final blocks it takes back, at the most.
const FINAL_BLOCKS_MAX: u64 = 16;

/// How many steps before that the owner burns places of every campaign: they are granted to others by then, where money is short.
const BURNED_BEFORE: u64 = 110;

/// And how many steps before it the owner raises their caps: grants stand on what is taken back.
const RAISED_BEFORE: u64 = 50;

/// How often what was in them is lost, and does not wait to be mined again.
const LOST_SHARE: f64 = 0.3;

/// The step in which it does so, of a world of so many.
pub(crate) fn of_chance(steps: u64, rng: &mut dyn RngCore) -> u64 {
    rng.random_range(steps / 3..steps * 5 / 6)
}

impl World<'_> {
    /// The chain takes back what was final, where it is time for that.
    pub(crate) fn take_back(&mut self) -> anyhow::Result<()> {
        if !self.shared.dice().on {
            return Ok(());
        }
        if self.takes_back_at == Some(self.steps + BURNED_BEFORE) {
            for campaign in &self.plan.campaigns {
                self.burn_some(campaign.id)?;
            }
        }
        if self.takes_back_at == Some(self.steps + RAISED_BEFORE) {
            for campaign in 0..self.plan.campaigns.len() {
                self.raise_a_cap(campaign)?;
            }
        }
        if self.takes_back_at.take_if(|at| *at <= self.steps).is_none() {
            return Ok(());
        }
        let time = self.block_time();
        let owner = owner();
        let mut dice = self.shared.dice();
        dice.count(Fault::TakenBack);
        let mut chain = self.shared.chain();
        let (careless, floor) = (dice.rng.random_bool(0.5), self.genesis.chain.head().block.header.number);
        let wanted = dice.rng.random_range(1..=FINAL_BLOCKS_MAX);
        let to = chain.final_number().saturating_sub(wanted).max(floor);
        let mut lost = 0;
        let removed = chain.take_back(to, &mut |tx| {
            let loses = careless && tx.from != owner && dice.rng.random_bool(LOST_SHARE);
            lost += u64::from(loses);
            loses
        });
        for _ in 0..=removed {
            chain.mine_shuffled(time, &mut dice.rng, 0.5);
        }
        drop((dice, chain));
        self.auditor.take_back(to);
        self.tell(&format!(
            "final blocks above {to} are taken back, {removed} in all, {lost} transactions lost"
        ));
        self.stir_by_block();
        Ok(())
    }
}

/// Takes the steps of `laurel chain rebase` as far as they go now.
pub(crate) async fn rebase(
    pool: &PgPool,
    node: Arc<dyn ChainNode>,
    clock: &dyn Clock,
    rng: &mut dyn RngCore,
) -> anyhow::Result<String> {
    let rebase = Rebase::new(pool.clone(), node, CHAIN_ID, Finality::Finalized);
    let mut undone = 0;
    if !rebase.is_open().await? {
        match rebase.plan().await {
            Ok(_) => {}
            Err(RebaseError::NotHalted(_)) => return Ok("the chain is not halted".to_owned()),
            Err(RebaseError::NothingDiffers { .. }) => {
                rebase.resume(clock.now()).await?;
                return Ok("the chain goes on as it was".to_owned());
            }
            Err(error) => return Err(error.into()),
        }
        read_up(&rebase).await?;
        let plan = rebase.plan().await?;
        undone = rebase.begin(clock.now(), time_ordered(clock.now(), rng), &plan).await?.undone;
    }
    read_up(&rebase).await?;
    rebase.end(clock.now()).await?;
    Ok(format!("{undone} facts are undone"))
}

async fn read_up(rebase: &Rebase) -> anyhow::Result<()> {
    let unread = rebase.unread(&mut rebase.reading().await?).await?;
    unread.first().map_or(Ok(()), |unread| Err(anyhow::anyhow!("it waits: {unread}")))
}
