//! Who does something in a world: the tasks of the replicas, each moved by nobody but the scheduler.

use std::{fmt::Display, future::Future, pin::Pin, sync::Arc};

use laurel_bus::{Runner, Wakes, fire_timers};
use laurel_chain::Endpoints;
use laurel_chain_watcher::Watcher;
use laurel_events::Clock;
use laurel_grant_saga::{LaneDriver, Progress, WalletChecker};
use laurel_ledger::faults::Point;
use sqlx::PgPool;

use crate::{
    clients::{Door, Request},
    database::{Database, Seat},
};

/// What a task does, between its steps.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is a handful of them")]
pub(crate) enum Work {
    /// A stage's runner.
    Stage(Box<Runner>),
    /// A lane's driver.
    Lane(Box<LaneDriver>),
    /// The chain's watcher, and whoever looks after the endpoints beside it.
    Watcher { watcher: Box<Watcher>, endpoints: Option<Arc<Endpoints>> },
    /// The checker of contract wallets.
    Checker(Box<WalletChecker>),
    /// The clock's tick, which fires timers.
    Timers { pool: PgPool, wakes: Wakes, clock: Arc<dyn Clock> },
    /// A request, until it is served.
    Door { door: Door, request: Option<Request> },
}

/// How a step ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) work: Work,
    /// Whether there may be more to do at once.
    pub(crate) more: bool,
    /// Whether it ended without an error.
    pub(crate) well: bool,
    pub(crate) said: String,
}

type Step = Pin<Box<dyn Future<Output = Ended>>>;

/// Where a task is.
#[expect(clippy::large_enum_variant, reason = "there is a handful of them")]
pub(crate) enum State {
    /// Between steps.
    Idle(Work),
    /// In a step, at a fault point or before its beginning.
    Stopped(Step, Option<Point>),
    /// In a step, waiting for a lock.
    Waiting(Step),
    /// Being moved.
    Taken,
}

/// A task of a replica.
pub(crate) struct Actor {
    pub(crate) name: String,
    pub(crate) replica: usize,
    pub(crate) seat: Seat,
    pub(crate) state: State,
    /// What it was asked, while it is in a step about that.
    pub(crate) asked: Option<Request>,
    /// Whether something happened since it found nothing to do.
    pub(crate) stirred: bool,
    /// Whether its last step said that there was more.
    pub(crate) more: bool,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What a task is, whatever state it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A stage, by its name.
    Stage(&'static str),
    Lane,
    Watcher,
    Checker,
    Timers,
    Door,
}

impl Actor {
    /// Begins a step, unless it is in one.
    pub(crate) fn begin(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Taken) {
            State::Idle(work) => {
                self.asked = match &work {
                    Work::Door { request, .. } => request.clone(),
                    _ => None,
                };
                State::Stopped(Box::pin(step(work)), None)
            }
            other => other,
        };
    }

    /// Whether it can be chosen.
    pub(crate) fn can_move(&self) -> bool {
        match &self.state {
            State::Idle(Work::Door { request, .. }) => request.is_some(),
            State::Idle(_) | State::Stopped(..) => true,
            State::Waiting(_) | State::Taken => false,
        }
    }

    /// Whether it is in the middle of a step.
    pub(crate) const fn is_busy(&self) -> bool {
        matches!(self.state, State::Stopped(..) | State::Waiting(_))
    }
}

impl Actor {
    /// Has it leave whatever it was doing, at the end of a world.
    pub(crate) async fn give_up(&mut self, database: &Database) -> anyhow::Result<()> {
        if let State::Waiting(_) = &self.state {
            database.cancel(&self.seat).await?;
        }
        self.state = State::Taken;
        self.seat.settle().await?;
        Ok(())
    }
}

async fn step(work: Work) -> Ended {
    match work {
        Work::Stage(mut runner) => {
            let done = runner.round().await;
            told(Work::Stage(runner), done, |more| *more)
        }
        Work::Lane(mut driver) => {
            let done = driver.round().await;
            told(Work::Lane(driver), done.map(|progress| progress == Progress::Sent), |sent| *sent)
        }
        Work::Watcher { watcher, endpoints } => {
            if let Some(endpoints) = &endpoints {
                endpoints.tend().await;
            }
            let done = watcher.step().await;
            told(Work::Watcher { watcher, endpoints }, done, |moved| *moved)
        }
        Work::Checker(mut checker) => {
            let done = checker.round().await;
            told(Work::Checker(checker), done, |settled| *settled > 0)
        }
        Work::Timers { pool, wakes, clock } => {
            let done = fire_timers(&pool, &wakes, clock.now()).await;
            told(Work::Timers { pool, wakes, clock }, done, |fired| *fired > 0)
        }
        Work::Door { mut door, request } => {
            let Some(asked) = &request else {
                return Ended {
                    work: Work::Door { door, request },
                    more: false,
                    well: true,
                    said: String::new(),
                };
            };
            match door.serve(asked).await {
                Ok(said) => Ended { work: Work::Door { door, request: None }, more: false, well: true, said },
                Err(error) => {
                    let said = format!("{error:#}");
                    Ended { work: Work::Door { door, request }, more: false, well: false, said }
                }
            }
        }
    }
}

fn told<T: Display, E: std::error::Error>(
    work: Work,
    done: Result<T, E>,
    more: impl FnOnce(&T) -> bool,
) -> Ended {
    match done {
        Ok(done) => Ended { work, more: more(&done), well: true, said: done.to_string() },
        Err(error) => Ended { work, more: false, well: false, said: chain(&error) },
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
