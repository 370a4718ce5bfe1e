//! When each outcome was accepted and when its grant was complete, as somebody outside would see it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use laurel_bus::{Stage, StageError};
use laurel_events::{BatchId, Clock, Envelope, Event, EventKind, GrantId, NewEvent, OutcomeKey};
use sqlx::PgConnection;

/// What was seen, when.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    seen: Mutex<Seen>,
}

/// What was seen, when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// When the 202 of an outcome arrived.
    pub(crate) accepted: HashMap<OutcomeKey, DateTime<Utc>>,
    /// The outcome that earned a grant.
    pub(crate) grants: HashMap<GrantId, OutcomeKey>,
    /// When TokenGrantCompleted was delivered, and the batch that paid.
    pub(crate) completed: HashMap<GrantId, (DateTime<Utc>, BatchId)>,
    /// When a node first said that the batch's block is final, and the gas that the batch used.
    pub(crate) confirmed: HashMap<BatchId, (DateTime<Utc>, u64)>,
}

impl Probe {
    /// Notes the 202 of outcomes.
    pub(crate) fn accepted(&self, at: DateTime<Utc>, outcomes: impl Iterator<Item = OutcomeKey>) {
        let mut seen = self.lock();
        for outcome in outcomes {
            seen.accepted.entry(outcome).or_insert(at);
        }
    }

    /// All that was seen so far.
    pub(crate) fn seen(&self) -> Seen {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        // Nothing panics while it holds the lock; if something did, the maps would still be whole.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stage like any other: it sees an event only once its transaction is committed.
#[derive(Debug)]
pub(crate) struct ProbeStage {
    probe: Arc<Probe>,
    clock: Arc<dyn Clock>,
}

impl ProbeStage {
    /// A stage that tells `probe`.
    pub(crate) fn new(probe: Arc<Probe>, clock: Arc<dyn Clock>) -> Self {
        Self { probe, clock }
    }
}

#[async_trait]
impl Stage for ProbeStage {
    fn name(&self) -> &'static str {
        "demo-probe"
    }

    fn kinds(&self) -> &'static [EventKind] {
        &[EventKind::TokenGrantRequested, EventKind::TokenGrantCompleted, EventKind::BlockchainTxConfirmed]
    }

    async fn handle(
        &self,
        _: &mut PgConnection,
        _: DateTime<Utc>,
        events: &[Envelope],
    ) -> Result<Vec<NewEvent>, StageError> {
        let now = self.clock.now();
        let mut seen = self.probe.lock();
        for envelope in events {
            match &envelope.event {
                Event::TokenGrantRequested(requested) => {
                    seen.grants.entry(requested.grant).or_insert(requested.outcome);
                }
                Event::TokenGrantCompleted(completed) => {
                    seen.completed.entry(completed.grant).or_insert((now, completed.batch));
                }
                Event::BlockchainTxConfirmed(confirmed) => {
                    if let Some(batch) = confirmed.sighting.batch {
                        seen.confirmed.entry(batch).or_insert((envelope.occurred_at, confirmed.gas_used));
                    }
                }
                _ => {}
            }
        }
        Ok(Vec::new())
    }
}
