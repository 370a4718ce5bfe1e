//! How an endpoint is, and what is noted of it.

use std::{fmt, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Endpoints, State};
use crate::{Breaker, BreakerSettings, BreakerState, ChainError, Pass, error::Trouble};

/// How long an endpoint is believed to be on the chain that it was on: a gateway may be pointed elsewhere without a
/// connection being lost.
const IDENTITY_LASTS: TimeDelta = TimeDelta::seconds(60);

/// How long an endpoint is left alone whose answers do not fit together.
const DOUBTED_REST: Duration = Duration::from_secs(60);

/// The rank of those that are left alone.
pub(super) const UNFIT: u8 = 2;

/// What is known of an endpoint.
#[derive(Debug)]
pub(super) struct Health {
    pub(super) breaker: Breaker,
    /// When it was last seen to be on the right chain. Forgotten with anything that goes wrong: what comes then may be a
    /// new connection, to something else.
    pub(super) identified_at: Option<DateTime<Utc>>,
    /// Number and time of its head when it was last looked at.
    pub(super) head: Option<(u64, u64)>,
    /// How many blocks that is behind the others.
    pub(super) lag: u64,
    /// Whether that is too many.
    pub(super) lagging: bool,
    /// What went wrong last, while its breaker is not closed.
    reason: Option<String>,
    /// Whether the log tells of it.
    pub(super) told: bool,
}

impl Health {
    pub(super) fn new(settings: BreakerSettings) -> Self {
        let breaker = Breaker::new(settings);
        Self { breaker, identified_at: None, head: None, lag: 0, lagging: false, reason: None, told: false }
    }

    /// The lower, the fitter.
    pub(super) fn rank(&self) -> u8 {
        match self.breaker.state() {
            BreakerState::Closed if !self.lagging => 0,
            BreakerState::Closed => 1,
            BreakerState::HalfOpen | BreakerState::Open => UNFIT,
        }
    }

    pub(super) fn status(&self, host: &str) -> EndpointStatus {
        let state = self.breaker.state();
        let reason = self.reason.clone().filter(|_| state != BreakerState::Closed);
        EndpointStatus { host: host.to_owned(), state, lag_blocks: self.lag, lagging: self.lagging, reason }
    }

    pub(super) fn is_identified(&self, now: DateTime<Utc>) -> bool {
        self.identified_at.is_some_and(|at| at <= now && now - at < IDENTITY_LASTS)
    }
}

/// How an endpoint is, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointStatus {
    /// Its host.
    pub host: String,
    /// Its breaker's state.
    pub state: BreakerState,
    /// How many blocks it is behind the others.
    pub lag_blocks: u64,
    /// Whether that is too many, so that others are asked first.
    pub lagging: bool,
    /// Why its breaker is not closed.
    pub reason: Option<String>,
}

impl fmt::Display for EndpointStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, state, lag_blocks, lagging, reason } = self;
        match reason {
            Some(reason) => write!(f, "{host} is {}: {reason}", state.as_str()),
            None if *lagging => write!(f, "{host} is {lag_blocks} blocks behind"),
            None => write!(f, "{host} is {}", state.as_str()),
        }
    }
}

/// How a question to an endpoint ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered,
    Refused,
    RateLimited(Option<Duration>),
    TimedOut,
    Failed,
    WrongChain,
}

impl Outcome {
    pub(super) fn of(error: &ChainError) -> Self {
        match error.trouble() {
            Trouble::RateLimited(wait) => Self::RateLimited(wait),
            Trouble::Refused => Self::Refused,
            Trouble::TimedOut => Self::TimedOut,
            Trouble::Failed => Self::Failed,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::RateLimited(_) => "rate_limited",
            Self::TimedOut => "timed_out",
            Self::Failed => "failed",
            Self::WrongChain => "wrong_chain",
        }
    }
}

impl Endpoints {
    /// Notes how a question ended. A refusal moves nothing yet: see [`Endpoints::judge_refusal`].
    pub(super) fn note(&self, index: usize, pass: Pass, outcome: Outcome, reason: impl FnOnce() -> String) {
        let labels = self.labels(index);
        let [chain, place, host] = labels.each_ref().map(String::as_str);
        self.metrics.requests_total.with_label_values(&[chain, place, host, outcome.as_str()]).inc();
        self.change(index, |state, now| {
            let State { health, rng, .. } = state;
            let health = &mut health[index];
            match outcome {
                Outcome::Answered => health.breaker.succeeded(pass),
                Outcome::Refused => {}
                Outcome::RateLimited(Some(wait)) => health.breaker.rest(now, wait),
                // Ten seconds are no lost packet: whoever waits for the third time has waited for half a minute.
                Outcome::TimedOut | Outcome::RateLimited(None) | Outcome::WrongChain => {
                    health.breaker.trip(now, rng)
                }
                Outcome::Failed => health.breaker.failed(pass, now, rng),
            }
            if !matches!(outcome, Outcome::Answered) {
                health.reason = Some(reason());
                if !matches!(outcome, Outcome::Refused | Outcome::RateLimited(_)) {
                    health.identified_at = None;
                }
            }
        });
    }

    /// Decides about an error in answer: whether it was the endpoint's fault.
    pub(super) fn judge_refusal(&self, index: usize, pass: Pass, at_fault: bool) {
        self.change(index, |State { health, rng, .. }, now| {
            let breaker = &mut health[index].breaker;
            if at_fault { breaker.failed(pass, now, rng) } else { breaker.succeeded(pass) }
        });
    }

    /// Leaves an endpoint alone for a while, because of what others say.
    pub(super) fn leave_alone(&self, index: usize, length: Duration, reason: String) {
        self.tell_of_trouble(index, &reason);
        self.change(index, |state, now| {
            let health = &mut state.health[index];
            health.breaker.rest(now, length);
            (health.identified_at, health.told) = (None, true);
            health.reason = Some(reason);
        });
    }

    /// Leaves whoever is asked first alone for a while, unless nobody else is fit.
    pub(super) fn leave_first_alone(&self, why: &str) {
        let order = self.order();
        let [first, second, ..] = order[..] else { return };
        if self.lock().health[second].rank() < UNFIT {
            self.leave_alone(first, DOUBTED_REST, format!("what it answers does not fit together: {why}"));
        }
    }

    /// Changes what is known of an endpoint. The log tells once of one that is still in trouble after a probe, and when it is
    /// used again; one failure more or less is for the metrics.
    pub(super) fn change(&self, index: usize, change: impl FnOnce(&mut State, DateTime<Utc>)) {
        let now = self.clock.now();
        let (in_trouble, back, reason) = {
            let mut state = self.lock();
            let before = state.health[index].breaker.state();
            change(&mut state, now);
            let health = &mut state.health[index];
            let after = health.breaker.state();
            let in_trouble = !health.told && (before, after) == (BreakerState::HalfOpen, BreakerState::Open);
            let back = health.told && after == BreakerState::Closed;
            health.told = (health.told || in_trouble) && !back;
            (in_trouble, back, health.reason.clone().unwrap_or_default())
        };
        self.show(index);
        if in_trouble {
            self.tell_of_trouble(index, &reason);
        }
        if back {
            let host = &self.endpoints[index].host;
            tracing::info!(chain.id = self.chain_id, endpoint.index = index, endpoint.host = %host, "an endpoint is used again");
        }
    }

    pub(super) fn tell_of_trouble(&self, index: usize, reason: &str) {
        let host = &self.endpoints[index].host;
        tracing::warn!(chain.id = self.chain_id, endpoint.index = index, endpoint.host = %host, "an endpoint is left alone: {reason}");
    }

    pub(super) fn labels(&self, index: usize) -> [String; 3] {
        [self.chain_id.to_string(), index.to_string(), self.endpoints[index].host.clone()]
    }

    pub(super) fn show(&self, index: usize) {
        let state = self.lock().health[index].breaker.state();
        self.metrics.breaker_state.with_label_values(&self.labels(index)).set(state.gauge());
    }

    pub(super) fn took(&self, index: usize, began: DateTime<Utc>) {
        let ms = (self.clock.now() - began).num_milliseconds().max(0);
        self.metrics.request_seconds.with_label_values(&self.labels(index)).observe(ms as f64 / 1_000.0);
    }
}
