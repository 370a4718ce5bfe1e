//! How a world comes to rest: nothing goes wrong any more, and everybody works until nothing moves.

use laurel_ledger::faults::Side;

use crate::{
    actors::State,
    clients::Request,
    world::{REPLICAS, TASKS, World},
};

/// How often everybody gets a turn, at the most, before a world that still moves is a finding.
const ROUNDS_MAX: u32 = 400;

/// How much time passes in a round: leases end within a few.
const ROUND_MS: i64 = 1_500;

/// How much passes when only deadlines are left: more than any wallet's.
const HOURS_MS: i64 = 4_000_000;

/// Rounds without anything happening after which nothing will: leases, rests and back-offs are over by then.
const QUIET_ROUNDS: u32 = 4;

impl World<'_> {
    /// Ends all troubles and has everybody work until nothing is left to do.
    pub(crate) async fn come_to_rest(&mut self) -> anyhow::Result<()> {
        self.shared.dice().on = false;
        self.end_troubles(true)?;
        self.tell("everything goes well from here on");
        let mut quiet = 0;
        let mut deadlines_passed = 0;
        for round in 0..ROUNDS_MAX {
            self.steps += 1;
            self.pass(ROUND_MS);
            self.honest_block();
            let mut moved = self.everybody(round).await?;
            moved |= !self.plan.requests.is_empty();
            quiet = if moved { 0 } else { quiet + 1 };
            if quiet < QUIET_ROUNDS {
                continue;
            }
            if deadlines_passed == 2 {
                return Ok(());
            }
            // Whoever still waits does so for a deadline, or for an operator.
            deadlines_passed += 1;
            quiet = 0;
            self.pass(HOURS_MS);
            self.plan.requests.push_back(Request::Redrive);
        }
        anyhow::bail!("it does not come to rest")
    }

    fn honest_block(&self) {
        let time = self.block_time();
        self.shared.chain().mine(time, &mut |_| true);
    }

    /// Everybody gets a turn; every other round it is the other replica's. Says whether anything was committed.
    async fn everybody(&mut self, round: u32) -> anyhow::Result<bool> {
        let mut moved = false;
        let awake = if round % 2 == 0 { 0 } else { REPLICAS - 1 };
        for task in [TASKS - 1].into_iter().chain(0..TASKS - 1) {
            for replica in 0..REPLICAS {
                let index = replica * TASKS + task;
                if replica != awake && !self.actors[index].is_busy() {
                    continue;
                }
                if task == TASKS - 1 {
                    self.hand_out(index);
                }
                moved |= self.finish(index).await?;
            }
        }
        Ok(moved)
    }

    /// Moves an actor to the end of its step, as often as it says that there is more.
    async fn finish(&mut self, index: usize) -> anyhow::Result<bool> {
        let mut moved = false;
        if !self.actors[index].can_move() {
            return Ok(false);
        }
        loop {
            self.actors[index].begin();
            while self.actors[index].is_busy() {
                let (_, committed) = self.push(index).await?;
                moved |= committed;
                if let State::Stopped(_, Some(point)) = &self.actors[index].state {
                    moved |= point.side == Side::After;
                }
            }
            if !self.actors[index].can_move() || !self.actors[index].more {
                return Ok(moved);
            }
        }
    }
}
