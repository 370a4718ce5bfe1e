//! Events that a stage cannot handle for a while.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use laurel_bus::{OnPoison, Stage, StageError};
use laurel_events::{Envelope, EventId, EventKind, NewEvent};
use rand::Rng;
use sqlx::PgConnection;

use crate::chain::Shared;

/// The kinds that may be sick, and how many of them are: more of those of which there are few.
const KINDS: [(EventKind, f64); 3] = [
    (EventKind::GameOutcomeRecorded, 0.04),
    (EventKind::TokenGrantRequested, 0.06),
    (EventKind::BlockchainTxConfirmed, 0.25),
];

/// How often, at the most, one has to be tried: some are dead letters before.
const TRIES_MAX: u32 = 9;

/// How often each event has still to be tried by each stage before it can be handled.
#[derive(Debug, Default)]
pub(crate) struct Sickness(Mutex<BTreeMap<(&'static str, EventId), u32>>);

impl Sickness {
    /// Whether an event cannot be handled. One that is tried alone gets better.
    fn shows(&self, shared: &Shared, stage: &'static str, event: &Envelope, alone: bool) -> bool {
        let Some((_, share)) = KINDS.into_iter().find(|(kind, _)| *kind == event.event.kind()) else {
            return false;
        };
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tries = events.entry((stage, event.id)).or_insert_with(|| {
            let mut dice = shared.dice();
            let sick = dice.on && dice.rng.random_bool(share);
            if sick { dice.rng.random_range(1..=TRIES_MAX) } else { 0 }
        });
        let shows = *tries > 0;
        if alone {
            *tries = tries.saturating_sub(1);
        }
        shows
    }
}

/// A stage that cannot handle some events for a while.
pub(crate) struct Poisoned<S> {
    pub(crate) stage: S,
    pub(crate) shared: Arc<Shared>,
    pub(crate) sickness: Arc<Sickness>,
}

#[async_trait]
impl<S: Stage> Stage for Poisoned<S> {
    fn name(&self) -> &'static str {
        self.stage.name()
    }

    fn kinds(&self) -> &'static [EventKind] {
        self.stage.kinds()
    }

    fn events_max(&self) -> i64 {
        self.stage.events_max()
    }

    fn on_poison(&self, kind: EventKind) -> OnPoison {
        self.stage.on_poison(kind)
    }

    async fn handle(
        &self,
        conn: &mut PgConnection,
        now: DateTime<Utc>,
        events: &[Envelope],
    ) -> Result<Vec<NewEvent>, StageError> {
        let shows = |event: &&Envelope| {
            self.sickness.shows(&self.shared, self.stage.name(), event, events.len() == 1)
        };
        match events.iter().find(shows) {
            Some(sick) => Err(StageError::poison(format!("event {} is sick", sick.id))),
            None => self.stage.handle(conn, now, events).await,
        }
    }
}
