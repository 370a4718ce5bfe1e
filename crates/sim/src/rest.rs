//! How a world comes to rest: nothing goes wrong any more, and everybody works until nothing moves.

use laurel_grant_saga::{Lane, list_lanes};

use crate::{
    actors::{Kind, State, Work},
    clients::{Request, is_overtaken},
    world::{REPLICAS, TASKS, World},
};

/// Rounds until campaigns are funded: the watcher begins, sees the final blocks, and the books have it.
const WARM_UP_ROUNDS: u32 = 3;

/// How often everybody gets a turn, at the most, before a world that still moves is a finding.
const ROUNDS_MAX: u32 = 400;

/// How much time passes in a round: leases end within a few.
const ROUND_MS: i64 = 1_500;

/// How much passes when only deadlines are left: more than any wallet's.
const HOURS_MS: i64 = 4_000_000;

/// The stages that nobody waits for.
const VIEWS: [&str; 2] = ["campaign-stats", "transaction-history"];

/// Rounds without anything happening after which nothing will, before more time passes: each replica has had its turn.
const QUIET_ROUNDS: u32 = 2;

impl World<'_> {
    /// Ends all troubles, the stubborn ones after some hours, and has everybody work until nothing is left to do.
    pub(crate) async fn come_to_rest(&mut self) -> anyhow::Result<()> {
        self.shared.dice().on = false;
        self.end_troubles(true)?;
        self.zombie_sends(true);
        self.tell("everything goes well from here on");
        let (mut quiet, mut still) = (0, false);
        let (mut waits, mut calm_waits, mut waited) = (0, 0, true);
        let mut written = self.written().await?;
        let mut taken = self.shared.chain().taken;
        let mut head = self.shared.chain().head().block.header.number;
        for round in 0..ROUNDS_MAX {
            self.steps += 1;
            self.pass(ROUND_MS);
            let quietly = quiet > 0 || std::mem::take(&mut waited);
            // Where nothing waits for a block, time alone needs one, and so does who waits for a node that is behind.
            if quietly || still || self.shared.chain().has_work() {
                self.honest_blocks();
                self.stir_by_block();
            }
            if quietly {
                self.stir();
            }
            self.everybody(round, quietly).await?;
            let before = std::mem::replace(&mut written, self.written().await?);
            let taken_before = std::mem::replace(&mut taken, self.shared.chain().taken);
            still = taken == taken_before && written == before;
            let rests = still && self.plan.requests.is_empty();
            quiet = if rests { quiet + 1 } else { 0 };
            if !rests {
                head = self.shared.chain().head().block.header.number;
            }
            if quiet < QUIET_ROUNDS {
                continue;
            }
            if !self.is_followed_to(head).await? {
                quiet = 0;
                continue;
            }
            if calm_waits >= 2 && !self.is_asked() {
                return Ok(());
            }
            if waits >= 1
                && (self.end_stubborn()?
                    | self.release_again()?
                    | self.cover_caps().await?
                    | self.resume_lanes().await?)
            {
                (quiet, waited) = (0, true);
                continue;
            }
            // Whoever still waits does so for a deadline, or for an operator.
            // What an operator does only now has deadlines of its own.
            waits += 1;
            calm_waits += u32::from(!self.is_asked());
            (quiet, waited) = (0, true);
            self.pass(HOURS_MS);
            self.plan.requests.push_back(Request::Redrive);
        }
        anyhow::bail!("it does not come to rest")
    }

    /// Whether the watcher has come to a block, unless its chain is halted: it turns away from a node that lied to it only after a
    /// few attempts.
    async fn is_followed_to(&self, number: u64) -> anyhow::Result<bool> {
        let followed =
            sqlx::query_scalar("SELECT bool_and(halted IS NOT NULL OR head_number >= $1) FROM chains");
        Ok(followed.bind(number.cast_signed()).fetch_one(&self.database.outside).await?)
    }

    /// What was signed in the part that a restore has lost may come out after the recovery, when it can settle nothing any
    /// more: it takes a nonce and halts its lane, or one that has nothing to sign does not notice and the reconciliation tells.
    /// An operator knows why. Says whether there was any.
    async fn resume_lanes(&mut self) -> anyhow::Result<bool> {
        if self.restore.is_none() {
            return Ok(false);
        }
        let lanes = list_lanes(&mut *self.database.outside.acquire().await?).await?;
        let found = {
            let chain = self.shared.chain();
            let sent = |lane: &Lane| chain.nonce(chain.head(), lane.address);
            lanes.iter().any(|lane| is_overtaken(lane, sent(lane)))
        };
        if found {
            self.plan.requests.push_back(Request::ResumeLanes);
        }
        Ok(found)
    }

    /// Before anything is asked of it, the world sees its campaigns funded.
    pub(crate) async fn warm_up(&mut self) -> anyhow::Result<()> {
        self.shared.dice().on = false;
        let requests = std::mem::take(&mut self.plan.requests);
        for _ in 0..WARM_UP_ROUNDS {
            self.honest_blocks();
            self.stir();
            self.stir_after_commits().await?;
            self.everybody(0, true).await?;
        }
        self.plan.requests = requests;
        Ok(())
    }

    /// Whatever waits is mined, and what was mined becomes final.
    fn honest_blocks(&self) {
        let time = self.block_time();
        let mut chain = self.shared.chain();
        chain.mine(time, &mut |_| true);
        while chain.pays_unfinal() {
            chain.mine(time, &mut |_| true);
        }
    }

    /// Whether somebody waits for an answer.
    fn is_asked(&self) -> bool {
        self.actors
            .iter()
            .any(|actor| matches!(&actor.state, State::Idle(Work::Door { request: Some(_), .. })))
    }

    /// How much the journal holds.
    async fn written(&self) -> anyhow::Result<i64> {
        let written = sqlx::query_scalar("SELECT coalesce(sum(next), 0)::bigint FROM heads");
        Ok(written.fetch_one(&self.database.outside).await?)
    }

    /// Everybody gets a turn; every other round it is the other replica's. Views get theirs only `quietly`, when nothing else
    /// moves: nobody waits for them.
    async fn everybody(&mut self, round: u32, quietly: bool) -> anyhow::Result<()> {
        let awake = if round.is_multiple_of(2) { 0 } else { REPLICAS - 1 };
        for task in [TASKS - 1].into_iter().chain(0..TASKS - 1) {
            for replica in 0..REPLICAS {
                let index = replica * TASKS + task;
                let actor = &self.actors[index];
                let waits = !quietly && matches!(actor.kind, Kind::Stage(name) if VIEWS.contains(&name));
                if (replica != awake || waits) && !actor.is_busy() {
                    continue;
                }
                if task == TASKS - 1 {
                    self.hand_out(index);
                }
                if self.finish(index).await? {
                    self.stir_after_commits().await?;
                }
            }
        }
        Ok(())
    }

    /// Moves an actor to the end of its step, as often as it says that there is more. Says whether it committed.
    async fn finish(&mut self, index: usize) -> anyhow::Result<bool> {
        let mut commits = false;
        let actor = &self.actors[index];
        if !actor.can_move() || !(actor.stirred || actor.is_busy()) {
            return Ok(false);
        }
        loop {
            self.actors[index].begin();
            while self.actors[index].is_busy() {
                commits |= self.push(index).await?.1;
            }
            // Whether a stage has more to read is seen from outside with less than a round of it.
            if matches!(self.actors[index].kind, Kind::Stage(_)) && commits {
                self.stir_after_commits().await?;
            }
            let actor = &self.actors[index];
            if !actor.can_move() || !actor.more || !actor.stirred {
                return Ok(commits);
            }
        }
    }
}
