//! Looking after the endpoints: how far their heads are, who is asked first.

use std::time::Duration;

use futures::future::join_all;

use super::{
    Endpoints,
    health::{Outcome, UNFIT},
};
use crate::BlockRef;

/// An endpoint that is this many blocks behind the others is not asked first …
const LAG_BLOCKS_MAX: u64 = 3;

/// … if its head is this much older as well: some chains make four blocks in the second between two answers.
const LAG_MAX: Duration = Duration::from_secs(10);

impl Endpoints {
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
        let fit = state.health.iter().filter(|health| health.rank() < UNFIT);
        let mut heads: Vec<(u64, u64)> = fit.filter_map(|health| health.head).collect();
        heads.sort_unstable_by(|one, other| other.cmp(one));
        let Some((number, time)) = heads.get(self.quorum.min(heads.len()).saturating_sub(1)).copied() else {
            return;
        };
        for (index, health) in state.health.iter_mut().enumerate() {
            let Some(head) = health.head else { continue };
            health.lag = number.saturating_sub(head.0);
            let late = health.lag > LAG_BLOCKS_MAX && time.saturating_sub(head.1) > LAG_MAX.as_secs();
            if late != health.lagging && health.rank() < UNFIT {
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
