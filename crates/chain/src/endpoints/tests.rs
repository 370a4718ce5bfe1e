//! Endpoints that follow a script, and a clock that is moved by hand.

mod agreeing;
mod asking;
mod fake;
mod identity;
mod lagging;
mod sending;

use std::sync::Arc;

use chrono::TimeDelta;
use laurel_events::MockClock;
use prometheus::Registry;

use self::fake::{Fake, Fault};
use super::*;

/// Who was asked, if nobody was.
const NOBODY: [usize; 0] = [];

/// Endpoints `a`, `b`, …, all on one chain.
struct World {
    fakes: Vec<Arc<Fake>>,
    clock: Arc<MockClock>,
    all: Endpoints,
}

impl World {
    /// Not identified yet.
    fn strangers(count: usize, final_quorum: usize) -> Self {
        let fakes: Vec<Arc<Fake>> = (0..count).map(|_| Arc::new(Fake::default())).collect();
        let clock = Arc::new(MockClock::default());
        let endpoints = fakes.iter().zip("abcdefgh".chars());
        let endpoints = endpoints.map(|(fake, name)| Endpoint { host: name.to_string(), node: fake.clone() });
        let all = Endpoints::new(EndpointsParts {
            chain_id: fake::CHAIN_ID,
            endpoints: endpoints.collect(),
            final_quorum,
            clock: clock.clone(),
            seed: 7,
            metrics: EndpointMetrics::register(&Registry::new()).unwrap(),
        });
        Self { fakes, clock, all }
    }

    async fn new(count: usize, final_quorum: usize) -> Self {
        let world = Self::strangers(count, final_quorum);
        world.all.identify(None).await.unwrap();
        world.tend().await;
        world.forget();
        world
    }

    /// What was asked so far is of no interest.
    fn forget(&self) {
        self.fakes.iter().for_each(|fake| _ = fake.asked());
    }

    fn wait(&self, ms: i64) {
        self.clock.advance(TimeDelta::milliseconds(ms));
    }

    async fn tend(&self) {
        self.all.tend().await;
    }

    /// Has an endpoint be as told from now on.
    fn fault(&self, index: usize, fault: Fault) {
        self.fakes[index].change(|script| script.fault = fault);
    }

    /// Asks the balance of nobody, and says which endpoints were asked, in order.
    async fn ask(&self) -> (Result<(), ChainError>, Vec<usize>) {
        self.forget();
        let answer = self.all.balance(alloy::primitives::Address::ZERO).await;
        (answer.map(|_| ()), self.asked("balance"))
    }

    /// Who was asked that since the last time.
    fn asked(&self, what: &str) -> Vec<usize> {
        let asked = |fake: &Arc<Fake>| fake.asked().iter().filter(|asked| **asked == what).count();
        let all = self.fakes.iter().enumerate();
        all.flat_map(|(index, fake)| std::iter::repeat_n(index, asked(fake))).collect()
    }

    fn states(&self) -> Vec<&'static str> {
        self.all.status().iter().map(|endpoint| endpoint.state.as_str()).collect()
    }
}
