//! Several endpoints of a chain as one [`ChainNode`].
//!
//! ```text
//!     question ──► the preferred endpoint ── no answer ──► the next best ── … ──► whoever the breaker lets try
//!     send     ──► one after the other until one takes it; the same bytes again: to all of them
//!     finality ──► all of them ──► what final_quorum agree on
//!     tend     ──► all of them: on the right chain? how far is the head? May those be asked again that are left alone?
//! ```
//!
//! Questions stay with one endpoint while that is fit, so that the blocks which somebody reads one after the other are one
//! node's. A definite answer is an answer, also where another endpoint would give another: nobody is asked twice because
//! of what the first one says, unless that can be checked. Here is no timer, nothing is spawned, and no time passes but the
//! clock's.

mod agreement;
mod health;
mod identity;
mod node;
mod quorum;
mod sending;
mod tending;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use alloy::primitives::B256;
use chrono::{DateTime, Utc};
use futures::future::{BoxFuture, join_all};
use laurel_events::{Backoff, Clock};
use rand::{SeedableRng, rngs::StdRng};

use self::health::{Health, Outcome};
pub use self::{health::EndpointStatus, identity::EndpointRefused};
use crate::{BreakerSettings, BreakerState, ChainError, ChainNode, EndpointMetrics, FinalBlock, Pass};

/// When an endpoint is left alone. One failure may be a lost packet; three in a row are none. Half a second is enough for
/// a restart, and once in five seconds a cheap question harms nobody, so an endpoint that is back is used soon. A probe may
/// ask three things of the node, each with its own time limit.
const BREAKER: BreakerSettings = BreakerSettings {
    failures_max: 3,
    backoff: Backoff { base: Duration::from_millis(500), cap: Duration::from_secs(5) },
    probe_max: Duration::from_secs(30),
};

/// An endpoint with a name that may be shown.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its host; never its address, which may hold a key.
    pub host: String,
    /// How it is spoken with.
    pub node: Arc<dyn ChainNode>,
}

/// What the endpoints of a chain work with.
#[derive(Clone, Debug)]
pub struct EndpointsParts {
    /// The chain's id.
    pub chain_id: u64,
    /// The endpoints, those that are liked best first; at least one.
    pub endpoints: Vec<Endpoint>,
    /// How many have to agree on what is final; from 1 to all of them.
    pub final_quorum: usize,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For the jitter of back-offs.
    pub seed: u64,
    /// Metrics.
    pub metrics: EndpointMetrics,
}

/// The endpoints of a chain.
#[derive(Debug)]
pub struct Endpoints {
    chain_id: u64,
    endpoints: Vec<Endpoint>,
    quorum: usize,
    clock: Arc<dyn Clock>,
    metrics: EndpointMetrics,
    /// The hash of the chain's first block, once it is known.
    genesis: OnceLock<B256>,
    state: Mutex<State>,
}

/// What changes. Never locked while an answer is awaited.
#[derive(Debug)]
struct State {
    health: Vec<Health>,
    /// Who is asked first.
    preferred: usize,
    rng: StdRng,
    /// What was given to be sent lately.
    sent: VecDeque<B256>,
    /// The last block that was agreed on to be final.
    agreed: Option<FinalBlock>,
    /// When that was; forgotten when another endpoint comes to be asked first, which has to be compared with it.
    agreed_at: Option<DateTime<Utc>>,
    /// Since when what a quorum calls final has stood, while somebody calls a later block final.
    stands_since: Option<DateTime<Utc>>,
    /// What they said, once that has lasted too long.
    behind: Option<String>,
    /// Whether fewer than the quorum answered when they were asked last.
    short: bool,
}

impl Endpoints {
    /// The endpoints of a chain. Asks nobody yet.
    pub fn new(parts: EndpointsParts) -> Self {
        let EndpointsParts { chain_id, endpoints, final_quorum, clock, seed, metrics } = parts;
        let state = State {
            health: endpoints.iter().map(|_| Health::new(BREAKER)).collect(),
            preferred: 0,
            rng: StdRng::seed_from_u64(seed),
            sent: VecDeque::new(),
            agreed: None,
            agreed_at: None,
            stands_since: None,
            behind: None,
            short: false,
        };
        let quorum = final_quorum.clamp(1, endpoints.len().max(1));
        let all = Self {
            chain_id,
            endpoints,
            quorum,
            clock,
            metrics,
            genesis: OnceLock::new(),
            state: Mutex::new(state),
        };
        all.show_preferred();
        all
    }

    /// How the endpoints are, in their configured order.
    pub fn status(&self) -> Vec<EndpointStatus> {
        let state = self.lock();
        self.endpoints
            .iter()
            .zip(&state.health)
            .map(|(endpoint, health)| health.status(&endpoint.host))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is asked, one after the other: the fit ones, the preferred one of them first; those that lag; the others, for
    /// whom the breaker decides.
    fn order(&self) -> Vec<usize> {
        let state = self.lock();
        let mut order: Vec<usize> = (0..state.health.len()).collect();
        order.sort_by_key(|index| {
            let health = &state.health[*index];
            (health.rank(), *index != state.preferred, health.lag, *index)
        });
        order
    }

    /// Whom everybody asks at once: the ones whose breakers are closed, or else all, so that somebody is. A probe in
    /// between would keep everybody waiting for an endpoint that hangs; [`Endpoints::tend`] makes them.
    fn all_fit(&self) -> Vec<usize> {
        let state = self.lock();
        let closed = |index: &usize| state.health[*index].breaker.state() == BreakerState::Closed;
        let fit: Vec<usize> = (0..state.health.len()).filter(closed).collect();
        if fit.is_empty() { (0..state.health.len()).collect() } else { fit }
    }

    /// Asks one endpoint after the other, until one gives an answer that is `enough`; without such a one, the first answer.
    ///
    /// An error in answer is the question's fault if everybody gives one, and the endpoint's if another answers.
    async fn ask_until<T: Send>(
        &self,
        question: impl for<'a> Fn(&'a dyn ChainNode) -> BoxFuture<'a, Result<T, ChainError>> + Send + Sync,
        enough: impl Fn(&T) -> bool + Send + Sync,
    ) -> Result<T, ChainError> {
        let (mut answered, mut error, mut refused) = (None, None, Vec::new());
        for index in self.order() {
            let Some(pass) = self.ready(index).await else { continue };
            match self.attempt(index, pass, &question).await {
                Ok(answer) => {
                    self.prefer(index);
                    if enough(&answer) {
                        answered = Some(answer);
                        break;
                    }
                    answered.get_or_insert(answer);
                }
                Err(told) => {
                    if Outcome::of(&told) == Outcome::Refused {
                        refused.push((index, pass));
                    }
                    error.get_or_insert(told);
                }
            }
        }
        for (index, pass) in refused {
            self.judge_refusal(index, pass, answered.is_some());
        }
        answered.ok_or_else(|| error.unwrap_or_else(|| self.no_endpoint()))
    }

    /// Asks one endpoint after the other, until one answers.
    async fn ask<T: Send>(
        &self,
        question: impl for<'a> Fn(&'a dyn ChainNode) -> BoxFuture<'a, Result<T, ChainError>> + Send + Sync,
    ) -> Result<T, ChainError> {
        self.ask_until(question, |_| true).await
    }

    /// Asks some endpoints at once. Those that may not be asked at the moment are left out.
    async fn ask_all<T: Send>(
        &self,
        endpoints: &[usize],
        question: impl for<'a> Fn(&'a dyn ChainNode) -> BoxFuture<'a, Result<T, ChainError>> + Send + Sync,
    ) -> Vec<(usize, Result<T, ChainError>)> {
        let question = &question;
        let asked = endpoints.iter().map(async |&index| {
            let pass = self.ready(index).await?;
            let answer = self.attempt(index, pass, question).await;
            if answer.as_ref().is_err_and(|error| Outcome::of(error) == Outcome::Refused) {
                self.judge_refusal(index, pass, false);
            }
            Some((index, answer))
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// Asks one endpoint, and notes how that went; what an error in answer says of the endpoint is for the caller to judge.
    async fn attempt<T: Send>(
        &self,
        index: usize,
        pass: Pass,
        question: &(impl for<'a> Fn(&'a dyn ChainNode) -> BoxFuture<'a, Result<T, ChainError>> + Send + Sync),
    ) -> Result<T, ChainError> {
        let began = self.clock.now();
        let under_way = self.under_way(index, pass);
        let answer = question(&*self.endpoints[index].node).await;
        under_way.answered();
        self.took(index, began);
        match &answer {
            Ok(_) => self.note(index, pass, Outcome::Answered, String::new),
            Err(error) => self.note(index, pass, Outcome::of(error), || error.in_short()),
        }
        answer
    }

    fn no_endpoint(&self) -> ChainError {
        let why = self.status().iter().map(EndpointStatus::to_string).collect::<Vec<_>>().join("; ");
        ChainError::NoEndpoint { chain_id: self.chain_id, why }
    }
}

#[cfg(test)]
mod tests;
