//! A circuit breaker: what failed again and again is left alone for a while.
//!
//! ```text
//!              failures_max in a row, a trip, a rest
//!     Closed ───────────────────────────────────────► Open ◄──────────┐
//!        ▲                                              │ its time is over
//!        │                                              ▼             │ it fails, or is lost
//!        └────────────── the probe succeeds ───────── HalfOpen ───────┘
//! ```
//!
//! It knows nothing of what it guards, calls nothing and waits for nothing: whoever wants to make an attempt asks for a
//! [`Pass`] and tells how it ended. Time and randomness come in as parameters.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use laurel_events::Backoff;
use rand::RngCore;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// It opens after this many failures in a row.
    pub failures_max: u32,
    /// How long it stays open: longer after each probe that fails.
    pub backoff: Backoff,
    /// How long a probe may take. After that it counts as lost, and another one goes: whoever made it may be gone.
    pub probe_max: Duration,
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Attempts are made.
    Closed,
    /// One attempt is made, to see.
    HalfOpen,
    /// No attempt is made, or none until somebody asks for one again.
    Open,
}

impl BreakerState {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }

    /// Its value in metrics: the worse, the higher.
    pub const fn gauge(self) -> i64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}

/// Leave for one attempt, with which its end is told. What began before the breaker moved says nothing about it after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Pass {
    round: u64,
}

/// A span of time. A clock that was turned back to before it ends it, so that nothing waits for a time that was wrong.
#[derive(Clone, Copy, Debug)]
struct Span {
    since: DateTime<Utc>,
    until: DateTime<Utc>,
}

impl Span {
    fn new(since: DateTime<Utc>, length: Duration) -> Self {
        let length = TimeDelta::from_std(length).unwrap_or(TimeDelta::MAX);
        Self { since, until: since.checked_add_signed(length).unwrap_or(DateTime::<Utc>::MAX_UTC) }
    }

    fn is_over(self, now: DateTime<Utc>) -> bool {
        now < self.since || now >= self.until
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed { failures: u32 },
    HalfOpen { probe: Span },
    Open { rest: Span },
}

/// A circuit breaker.
#[derive(Clone, Copy, Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: State,
    /// How often it has opened since it was closed last.
    opened: u32,
    /// Counts the state's changes: a pass of an earlier round is worth nothing.
    round: u64,
}

impl Breaker {
    /// A closed breaker.
    pub const fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: State::Closed { failures: 0 }, opened: 0, round: 0 }
    }

    /// Where it stands.
    pub const fn state(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
            State::Open { .. } => BreakerState::Open,
        }
    }

    /// Until when no attempt is made; `None` while one may be.
    pub fn open_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self.state {
            State::Open { rest: span } | State::HalfOpen { probe: span } if !span.is_over(now) => {
                Some(span.until)
            }
            _ => None,
        }
    }

    /// Leave for an attempt. While the breaker is half open, one at a time.
    pub fn permit(&mut self, now: DateTime<Utc>) -> Option<Pass> {
        if self.open_until(now).is_some() {
            return None;
        }
        if !matches!(self.state, State::Closed { .. }) {
            self.enter(State::HalfOpen { probe: Span::new(now, self.settings.probe_max) });
        }
        Some(Pass { round: self.round })
    }

    /// An attempt succeeded.
    pub fn succeeded(&mut self, pass: Pass) {
        if pass.round != self.round {
            return;
        }
        match &mut self.state {
            State::Closed { failures } => *failures = 0,
            State::HalfOpen { .. } => {
                self.opened = 0;
                self.enter(State::Closed { failures: 0 });
            }
            State::Open { .. } => {}
        }
    }

    /// An attempt failed.
    pub fn failed(&mut self, pass: Pass, now: DateTime<Utc>, rng: &mut dyn RngCore) {
        if pass.round != self.round {
            return;
        }
        match &mut self.state {
            State::Closed { failures } if *failures + 1 < self.settings.failures_max => *failures += 1,
            _ => self.trip(now, rng),
        }
    }

    /// An attempt was given up by whoever made it, and says nothing. If it was the probe, the next one may go at once.
    pub fn abandoned(&mut self, pass: Pass, now: DateTime<Utc>) {
        if pass.round == self.round && matches!(self.state, State::HalfOpen { .. }) {
            self.enter(State::Open { rest: Span::new(now, Duration::ZERO) });
        }
    }

    /// Opens at once: there is no doubt. One that is open stays as it is.
    pub fn trip(&mut self, now: DateTime<Utc>, rng: &mut dyn RngCore) {
        if matches!(self.state, State::Open { .. }) {
            return;
        }
        self.opened = self.opened.saturating_add(1);
        let length = self.settings.backoff.delay(self.opened, rng);
        self.enter(State::Open { rest: Span::new(now, length) });
    }

    /// Opens for `length`, which somebody knows: the other side has said it. One that is open for longer stays so.
    pub fn rest(&mut self, now: DateTime<Utc>, length: Duration) {
        let rest = Span::new(now, length);
        match self.state {
            State::Open { rest: known } if !known.is_over(now) && known.until >= rest.until => {}
            _ => self.enter(State::Open { rest }),
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.round += 1;
    }
}

#[cfg(test)]
mod tests;
