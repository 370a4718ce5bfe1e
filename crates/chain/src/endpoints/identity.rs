//! On which chain an endpoint is: asked when everything begins, after anything that went wrong, and from time to time.

use alloy::primitives::B256;
use futures::future::join_all;

use super::{Endpoints, State, health::Outcome};
use crate::{IdentityError, Pass, identify_chain};

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

/// A question under way. Dropped with the future that asks it, as a request's that goes away, it gives back its pass.
pub(super) struct UnderWay<'a>(&'a Endpoints, usize, Pass);

impl UnderWay<'_> {
    /// The answer is there.
    pub(super) fn answered(self) {
        std::mem::forget(self);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let Self(endpoints, index, pass) = *self;
        let now = endpoints.clock.now();
        endpoints.lock().health[index].breaker.abandoned(pass, now);
    }
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

    /// Leave to ask an endpoint, which is on the right chain; `None` if it may not be asked. The probe of a breaker that is
    /// half open is the question on which chain it is.
    pub(super) async fn ready(&self, index: usize) -> Option<Pass> {
        let now = self.clock.now();
        let (pass, identified) = {
            let mut state = self.lock();
            let health = &mut state.health[index];
            (health.breaker.permit(now)?, health.is_identified(now))
        };
        self.show(index);
        if identified {
            return Some(pass);
        }
        let under_way = self.under_way(index, pass);
        let found = identify_chain(&*self.endpoints[index].node, self.chain_id).await;
        under_way.answered();
        if self.identified(index, pass, found.as_ref()) {
            return self.lock().health[index].breaker.permit(self.clock.now());
        }
        None
    }

    pub(super) const fn under_way(&self, index: usize, pass: Pass) -> UnderWay<'_> {
        UnderWay(self, index, pass)
    }

    /// Notes what an endpoint said when it was asked on which chain it is. Whether that was the right one.
    pub(super) fn identified(&self, index: usize, pass: Pass, found: Result<&B256, &IdentityError>) -> bool {
        match found {
            Ok(found) if self.genesis.get().is_none_or(|expected| expected == found) => {
                self.lock().health[index].identified_at = Some(self.clock.now());
                self.note(index, pass, Outcome::Answered, String::new);
                return true;
            }
            Ok(found) => {
                let expected = self.genesis.get().copied().unwrap_or_default();
                let error = IdentityError::OtherGenesis { chain_id: self.chain_id, expected, found: *found };
                self.note(index, pass, Outcome::WrongChain, || error.to_string());
            }
            Err(IdentityError::Unreachable { source, .. }) => {
                let outcome = Outcome::of(source);
                self.note(index, pass, outcome, || source.in_short());
                // Whoever cannot even say on which chain it is is of no use.
                if outcome == Outcome::Refused {
                    self.judge_refusal(index, pass, true);
                }
            }
            Err(error @ IdentityError::NoBlock { .. }) => {
                self.note(index, pass, Outcome::Failed, || error.to_string());
            }
            Err(error) => self.note(index, pass, Outcome::WrongChain, || error.to_string()),
        }
        false
    }
}
