//! Who moves next: the seed decides, and nobody else moves meanwhile.

use std::{future::poll_fn, task::Poll, time::Duration};

use anyhow::Context;
use laurel_ledger::faults::{self, Point, Side};
use rand::Rng;
use tokio::time::timeout;

use crate::{
    actors::{Ended, Kind, State, Work},
    clients::Request,
    dice::Fault,
    world::{TASKS, World},
};

/// How long an actor may be silent before it is asked whether it waits for somebody, and again after twice as long. Nothing
/// depends on it but the speed.
const SILENCE: Duration = Duration::from_millis(4);

/// How often it is asked: that is minutes, and longer than any answer of a database in memory.
const SILENCES_MAX: u32 = 16;

/// How often an actor stops at a fault point to let others move.
const YIELDS: f64 = 0.15;

/// How much more often one moves that may have something to do.
const STIRRED_WEIGHT: u32 = 12;

/// How much more often a stage does.
const STAGE_WEIGHT: u32 = 6;

/// Commits after which a lane may have something to do.
const LANES_READ: [&str; 6] =
    ["batch", "campaign_moved", "grant-saga", "lane_alerts_cleared", "settlements", "watcher"];

/// Commits after which the checker of contract wallets may have something to do.
const CHECKERS_READ: [&str; 2] = ["grant-saga", "wallet"];

/// How an actor's move ended.
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
enum Moved {
    At(Point),
    Ended(Ended),
    WaitsFor(Vec<i32>),
}

impl World<'_> {
    /// Much time passed: whoever looks at a clock or at the chain may have something to do.
    pub(crate) fn stir(&mut self) {
        for actor in &mut self.actors {
            actor.stirred |= !matches!(actor.kind, Kind::Stage(_));
        }
    }

    /// The chain moved: whoever looks at it may have something to do.
    pub(crate) fn stir_by_block(&mut self) {
        for actor in &mut self.actors {
            actor.stirred |= matches!(actor.kind, Kind::Watcher | Kind::Lane);
        }
    }

    /// Something was committed: whoever works on what was written, and is no stage, may have something to do.
    fn stir_by_commit(&mut self, at: &str) {
        for actor in &mut self.actors {
            actor.stirred |= match actor.kind {
                Kind::Lane => LANES_READ.contains(&at),
                Kind::Checker => CHECKERS_READ.contains(&at),
                _ => false,
            };
        }
    }

    /// Something was committed: the stages that lag have something to do.
    pub(crate) async fn stir_after_commits(&mut self) -> anyhow::Result<()> {
        let rows: Vec<(Option<String>, i16, i64)> = sqlx::query_as(
            "SELECT NULL, part, next FROM heads UNION ALL SELECT stage, part, next FROM cursors
             UNION ALL SELECT stage, -1::smallint, 0::bigint FROM dead_letters WHERE state = 'retrying'",
        )
        .fetch_all(&self.database.outside)
        .await?;
        let heads: Vec<(i16, i64)> =
            rows.iter().filter(|row| row.0.is_none()).map(|row| (row.1, row.2)).collect();
        let lags = |stage: &str| {
            let at = |part| rows.iter().find(|row| row.0.as_deref() == Some(stage) && row.1 == part);
            at(-1).is_some()
                || heads.iter().any(|(part, next)| *next > at(*part).map_or(0, |cursor| cursor.2))
        };
        for actor in &mut self.actors {
            if let Kind::Stage(name) = actor.kind {
                actor.stirred = lags(name);
            }
        }
        Ok(())
    }

    /// One step of the world. Says whether something was committed.
    pub(crate) async fn step(&mut self) -> anyhow::Result<bool> {
        self.steps += 1;
        let (passes, happens) = {
            let mut dice = self.shared.dice();
            (dice.rng.random_range(0..self.step_ms), dice.rng.random_bool(0.16))
        };
        self.pass(passes);
        self.keep_or_restore().await?;
        self.close_campaign()?;
        self.take_back()?;
        self.zombie_sends(false);
        if happens {
            self.happen()?;
            return Ok(false);
        }
        self.hand_out_requests();
        let Some(chosen) = self.choose() else { return Ok(false) };
        let committed = self.run(chosen).await?;
        if committed {
            self.stir_after_commits().await?;
        }
        Ok(committed)
    }

    /// Gives waiting requests to doors that are free.
    fn hand_out_requests(&mut self) {
        for replica in 0..self.replicas.len() {
            if self.shared.dice().rng.random_bool(0.25)
                && let Some(request) = self.hand_out(replica * TASKS + TASKS - 1)
            {
                self.send_again(request);
            }
        }
    }

    /// Gives the next request to a door, if it is free.
    pub(crate) fn hand_out(&mut self, door: usize) -> Option<Request> {
        let actor = &mut self.actors[door];
        let State::Idle(Work::Door { request: request @ None, .. }) = &mut actor.state else { return None };
        let next = self.plan.requests.pop_front()?;
        *request = Some(next.clone());
        actor.stirred = true;
        let line = format!("{} is asked for {}", actor.name, next.name());
        self.tell(&line);
        Some(next)
    }

    /// A client that heard nothing, or a careless one, sends the same again, or worse.
    fn send_again(&mut self, request: Request) {
        let mut dice = self.shared.dice();
        let again = match &request {
            Request::Outcomes(_) if dice.strikes(Fault::Resent, 0.25) => request,
            Request::Outcomes(told) if dice.strikes(Fault::Conflicting, 0.08) => {
                let mut other = told.clone();
                for told in &mut other {
                    told.score = 100 - told.score;
                }
                Request::Outcomes(other)
            }
            Request::LinkKey { .. } if dice.strikes(Fault::Resent, 0.3) => request,
            _ => return,
        };
        // Either at once, beside the first, or later.
        let at = if dice.rng.random_bool(0.5) { 0 } else { self.plan.requests.len() };
        drop(dice);
        self.plan.requests.insert(at, again);
    }

    fn choose(&mut self) -> Option<usize> {
        let weights: Vec<u32> = self
            .actors
            .iter()
            .map(|actor| match actor.kind {
                _ if !actor.can_move() => 0,
                _ if actor.is_busy() => STIRRED_WEIGHT,
                // Seldom, so that there is more for them to do at once: that is what takes most of the time.
                Kind::Stage(_) if actor.stirred => STAGE_WEIGHT,
                _ if actor.stirred => STIRRED_WEIGHT,
                _ => 1,
            })
            .collect();
        let all: u32 = weights.iter().sum();
        if all == 0 {
            return None;
        }
        let mut roll = self.shared.dice().rng.random_range(0..all);
        weights.iter().position(|weight| {
            let here = roll < *weight;
            roll = roll.saturating_sub(*weight);
            here
        })
    }

    /// Moves an actor until it yields, ends its step or dies, and whoever keeps it waiting before that.
    pub(crate) async fn run(&mut self, chosen: usize) -> anyhow::Result<bool> {
        let mut committed = false;
        self.actors[chosen].begin();
        loop {
            let (goes_on, commits) = self.push(chosen).await?;
            committed |= commits;
            if !goes_on || self.shared.dice().rng.random_bool(YIELDS) {
                return Ok(committed);
            }
        }
    }

    /// Moves an actor to its next fault point. Says whether it can go on, and whether something was committed.
    pub(crate) async fn push(&mut self, chosen: usize) -> anyhow::Result<(bool, bool)> {
        let point = match &self.actors[chosen].state {
            State::Stopped(_, point) => *point,
            _ => None,
        };
        if let Some(point) = point
            && self.struck_at(chosen, point).await?
        {
            return Ok((false, false));
        }
        let mut committed = self.advance(chosen).await?;
        // Whoever waits does so until the others have let go; in the order in which they wait for each other.
        let mut waited = 0;
        while matches!(self.actors[chosen].state, State::Waiting(_)) {
            self.shared.dice().count(Fault::LockAwaited);
            waited += 1;
            anyhow::ensure!(waited < WAITS_MAX, "{} waits for ever", self.actors[chosen].name);
            let last = self.last_blocker(chosen).await?;
            committed |= self.advance(last).await?;
        }
        let goes_on = matches!(self.actors[chosen].state, State::Stopped(..));
        Ok((goes_on, committed))
    }

    /// Who, at the end of the queue, keeps an actor waiting: itself, where it was let go meanwhile. A circle is broken as
    /// PostgreSQL would break it.
    async fn last_blocker(&self, waiting: usize) -> anyhow::Result<usize> {
        let mut queue = vec![waiting];
        loop {
            let last = queue[queue.len() - 1];
            if !matches!(self.actors[last].state, State::Waiting(_)) {
                return Ok(last);
            }
            let backends = self.database.blockers(&self.actors[last].seat).await?;
            let at = |backend| self.actors.iter().position(|actor| actor.seat.backend == backend);
            let Some(next) = backends.into_iter().find_map(at) else { return Ok(last) };
            if queue.contains(&next) {
                self.tell(&format!("{} and others wait in a circle", self.actors[last].name));
                self.database.cancel(&self.actors[last].seat).await?;
                return Ok(last);
            }
            queue.push(next);
        }
    }

    /// Whether the fault point that an actor stands at is its end.
    async fn struck_at(&mut self, chosen: usize, point: Point) -> anyhow::Result<bool> {
        let replica = self.actors[chosen].replica;
        let chain = point.at.starts_with("eth_");
        let dies = self.shared.dice().strikes(Fault::Crash, 0.006);
        if dies {
            *self.crashed.entry(point).or_default() += 1;
            self.tell(&format!("replica {replica} dies: {} {point}", self.actors[chosen].name));
            self.crash(replica).await?;
            return Ok(true);
        }
        let fault = if point.side == Side::Before { Fault::CommitLost } else { Fault::CommitAnswerLost };
        if !chain && self.shared.dice().strikes(fault, 0.008) {
            faults::fail();
        }
        Ok(false)
    }

    /// Polls an actor until it reaches a fault point, ends its step, or waits for another.
    async fn advance(&mut self, chosen: usize) -> anyhow::Result<bool> {
        let actor = &mut self.actors[chosen];
        let mut step = match std::mem::replace(&mut actor.state, State::Taken) {
            State::Stopped(step, _) | State::Waiting(step) => step,
            other => {
                actor.state = other;
                return Ok(false);
            }
        };
        let mut silences = 0;
        let moved = loop {
            let polled = timeout(
                SILENCE * (1 << silences),
                poll_fn(|context| match step.as_mut().poll(context) {
                    Poll::Ready(ended) => Poll::Ready(Moved::Ended(ended)),
                    Poll::Pending => {
                        faults::reached().map_or(Poll::Pending, |point| Poll::Ready(Moved::At(point)))
                    }
                }),
            );
            if let Ok(moved) = polled.await {
                break moved;
            }
            let blockers = self.database.blockers(&self.actors[chosen].seat).await?;
            if !blockers.is_empty() {
                break Moved::WaitsFor(blockers);
            }
            silences += 1;
            anyhow::ensure!(silences < SILENCES_MAX, "{} is silent", self.actors[chosen].name);
        };
        let name = self.actors[chosen].name.clone();
        match moved {
            Moved::At(point) => {
                *self.reached.entry(point).or_default() += 1;
                self.tell(&format!("{name} {point}"));
                self.actors[chosen].state = State::Stopped(step, Some(point));
                let commits = point.side == Side::After && !point.at.starts_with("eth_");
                if commits {
                    self.stir_by_commit(point.at);
                    if point.at == "chain_halted" {
                        self.plan.requests.push_front(Request::Rebase);
                    }
                }
                self.money_moved |= commits && ["books", "campaign"].contains(&point.at);
                Ok(commits)
            }
            Moved::Ended(ended) => {
                self.tell(&format!("{name} ends: {}", ended.said));
                let actor = &mut self.actors[chosen];
                actor.stirred = ended.more || !ended.well;
                actor.more = ended.more;
                actor.state = State::Idle(ended.work);
                drop(step);
                // A stage that ended well has ended its transactions itself.
                if !(ended.well && matches!(actor.kind, Kind::Stage(_))) {
                    actor.seat.settle().await?;
                }
                Ok(false)
            }
            Moved::WaitsFor(backends) => {
                let others: Vec<&str> = self
                    .actors
                    .iter()
                    .filter(|actor| backends.contains(&actor.seat.backend))
                    .map(|actor| actor.name.as_str())
                    .collect();
                self.tell(&format!("{name} waits for {}", others.join(", ")));
                self.actors[chosen].state = State::Waiting(step);
                Ok(false)
            }
        }
    }

    /// A replica dies, with all that it was doing, and starts again.
    async fn crash(&mut self, replica: usize) -> anyhow::Result<()> {
        self.end_replica(replica).await?;
        self.start_again(replica).await
    }

    /// A replica dies.
    pub(crate) async fn end_replica(&mut self, replica: usize) -> anyhow::Result<()> {
        let first = replica * TASKS;
        for index in first..first + TASKS {
            let state = std::mem::replace(&mut self.actors[index].state, State::Taken);
            // A client that is not answered asks again.
            let asked = match &state {
                State::Idle(Work::Door { request, .. }) => request.clone(),
                State::Idle(_) => None,
                _ => self.actors[index].asked.take(),
            };
            self.plan.requests.extend(asked);
            if matches!(state, State::Waiting(_)) {
                self.database.cancel(&self.actors[index].seat).await?;
            }
            drop(state);
            self.actors[index].seat.settle().await?;
        }
        Ok(())
    }

    /// A replica that died starts again.
    pub(crate) async fn start_again(&mut self, replica: usize) -> anyhow::Result<()> {
        let first = replica * TASKS;
        let tasks = self.start(replica).await?;
        for (index, (name, _, work)) in (first..).zip(tasks) {
            let actor = self.actors.get_mut(index).context("a replica has as many tasks as before")?;
            actor.name = name;
            actor.stirred = true;
            actor.state = State::Idle(work);
        }
        Ok(())
    }
}

/// How often, at the most, one waits for others before it moves once.
const WAITS_MAX: u32 = 200;
