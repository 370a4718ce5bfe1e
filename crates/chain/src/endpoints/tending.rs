//! Looking after the endpoints: on which chain they are, how far their heads are, who is asked first.

use std::time::Duration;

use alloy::primitives::B256;
use futures::future::join_all;

use super::{Endpoints, State, health::Outcome};
use crate::{BlockRef, IdentityError, identify_chain};

/// An endpoint that is this many blocks behind the others is not asked first …
const LAG_BLOCKS_MAX: u64 = 3;

/// … if its head is this much older as well: some chains make four blocks in the second between two answers.
const LAG_MAX: Duration = Duration::from_secs(10);

/// An endpoint that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the node at {host}")]
pub struct EndpointRefused {
    /// Its host.
    pub host: String,
    /// Why.
    #[source]
    pub source: IdentityError,
}

impl Endpoints {
    /// Asks every endpoint on which chain it is, when everything begins. One that does not answer is told of in the log,
    /// as long as a quorum does. Returns the hash of the chain's first block; with `pinned`, that is it.
    ///
    /// # Errors
    /// If an endpoint is on another chain, or too few answer.
    pub async fn identify(&self, pinned: Option<B256>) -> Result<B256, EndpointRefused> {
        let found = join_all(
            self.endpoints.iter().map(async |endpoint| identify_chain(&*endpoint.node, self.chain_id).await),
        );
        let found = found.await;
        let refused =
            |index: usize, source| EndpointRefused { host: self.endpoints[index].host.clone(), source };
        let mut genesis = pinned;
        let (mut silent, mut reached) = (Vec::new(), 0);
        for (index, found) in found.into_iter().enumerate() {
            match found {
                Ok(found) => {
                    let expected = *genesis.get_or_insert(found);
                    if found != expected {
                        let chain_id = self.chain_id;
                        return Err(refused(
                            index,
                            IdentityError::OtherGenesis { chain_id, expected, found },
                        ));
                    }
                    reached += 1;
                }
                Err(error @ (IdentityError::Unreachable { .. } | IdentityError::NoBlock { .. })) => {
                    silent.push((index, error));
                }
                Err(error) => return Err(refused(index, error)),
            }
        }
        if reached < self.quorum {
            return Err(self.too_few(silent, reached));
        }
        let genesis = genesis.unwrap_or_default();
        // Set once: a chain's first block does not change.
        let genesis = *self.genesis.get_or_init(|| genesis);
        for (index, error) in &silent {
            self.found_silent(*index, error);
        }
        Ok(genesis)
    }

    fn too_few(&self, silent: Vec<(usize, IdentityError)>, reached: usize) -> EndpointRefused {
        let hosts = silent.iter().map(|(index, _)| self.endpoints[*index].host.as_str());
        let hosts = hosts.collect::<Vec<_>>().join(", ");
        match silent.into_iter().next() {
            Some((_, source)) if reached == 0 => EndpointRefused { host: hosts, source },
            _ => {
                let (endpoints, quorum) = (self.endpoints.len(), self.quorum);
                let source = IdentityError::TooFew { chain_id: self.chain_id, reached, endpoints, quorum };
                EndpointRefused { host: hosts, source }
            }
        }
    }

    /// Leaves an endpoint alone from the beginning on: nothing came of the first question, so there is no doubt.
    fn found_silent(&self, index: usize, error: &IdentityError) {
        let pass = self.lock().health[index].breaker.permit(self.clock.now());
        let Some(pass) = pass else { return };
        match error {
            IdentityError::Unreachable { source, .. } => {
                self.note(index, pass, Outcome::of(source), || source.in_short());
            }
            error => self.note(index, pass, Outcome::Failed, || error.to_string()),
        }
        self.change(index, |State { health, rng, .. }, now| {
            health[index].breaker.trip(now, rng);
            health[index].told = true;
        });
        let reason = self.status()[index].reason.clone().unwrap_or_default();
        self.tell_of_trouble(index, &reason);
    }

    /// Looks after the endpoints. To be called every second or so, apart from what asks them: an endpoint that hangs keeps
    /// nobody waiting but this.
    pub async fn tend(&self) {
        let all: Vec<usize> = (0..self.endpoints.len()).collect();
        let looked = join_all(all.iter().map(async |&index| {
            let pass = self.ready(index).await?;
            let latest = self.attempt(index, pass, &|node| node.block(BlockRef::Latest)).await;
            match latest {
                Ok(block) => block.map(|block| (index, (block.header.number, block.header.timestamp))),
                Err(error) => {
                    // Whoever cannot tell its head is of no use.
                    if Outcome::of(&error) == Outcome::Refused {
                        self.judge_refusal(index, pass, true);
                    }
                    None
                }
            }
        }));
        for (index, head) in looked.await.into_iter().flatten() {
            self.lock().health[index].head = Some(head);
        }
        self.measure_lags();
        self.prefer_the_fittest();
    }

    /// How far each head is behind the highest one that a quorum has reached: one endpoint alone cannot make all others
    /// look late.
    fn measure_lags(&self) {
        let mut state = self.lock();
        let fit = state.health.iter().filter(|health| health.rank() < 2);
        let mut heads: Vec<(u64, u64)> = fit.filter_map(|health| health.head).collect();
        heads.sort_unstable_by(|one, other| other.cmp(one));
        let Some((number, time)) = heads.get(self.quorum.min(heads.len()).saturating_sub(1)).copied() else {
            return;
        };
        for (index, health) in state.health.iter_mut().enumerate() {
            let Some(head) = health.head else { continue };
            health.lag = number.saturating_sub(head.0);
            let late = health.lag > LAG_BLOCKS_MAX && time.saturating_sub(head.1) > LAG_MAX.as_secs();
            if late != health.lagging && health.rank() < 2 {
                let host = &self.endpoints[index].host;
                tracing::info!(chain.id = self.chain_id, endpoint.index = index, endpoint.host = %host, lagging = late, lag = health.lag, "an endpoint's head");
            }
            health.lagging = late;
            let lag = i64::try_from(health.lag).unwrap_or(i64::MAX);
            self.metrics.head_lag_blocks.with_label_values(&self.labels(index)).set(lag);
        }
    }

    fn prefer_the_fittest(&self) {
        if let Some(fittest) = self.order().first() {
            self.prefer(*fittest);
        }
    }

    /// Has an endpoint be asked first, if it is fitter than the one that was so far. One that is as fit is not: what is
    /// read one after the other should be one node's.
    pub(super) fn prefer(&self, index: usize) {
        {
            let mut state = self.lock();
            if state.health[index].rank() >= state.health[state.preferred].rank() {
                return;
            }
            state.preferred = index;
            state.agreed_at = None;
        }
        tracing::info!(
            chain.id = self.chain_id,
            endpoint.index = index,
            endpoint.host = %self.endpoints[index].host,
            "this endpoint is asked first from now on",
        );
        self.show_preferred();
    }

    pub(super) fn show_preferred(&self) {
        let preferred = self.lock().preferred;
        for index in 0..self.endpoints.len() {
            let gauge = self.metrics.preferred.with_label_values(&self.labels(index));
            gauge.set(i64::from(index == preferred));
        }
    }
}
