//! Stages that cannot handle some events for a while, as after a change of the program that was a mistake.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use laurel_bus::{OnPoison, Stage, StageError};
use laurel_events::{Envelope, EventKind, NewEvent};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use crate::{chain::Shared, dice::Fault};

/// One in so many events is poison while it lasts: it is different in different worlds.
pub(crate) const RARITIES: [u64; 3] = [24, 12, 6];

/// Which events nobody can handle at the moment: none while it is zero.
pub(crate) type Mistake = Arc<AtomicU64>;

/// A stage of a program with a mistake.
pub(crate) struct Mistaken<S> {
    stage: S,
    mistake: Mistake,
    rarity: u64,
    shared: Arc<Shared>,
}

impl<S> Mistaken<S> {
    pub(crate) fn new(stage: S, mistake: Mistake, rarity: u64, shared: Arc<Shared>) -> Self {
        Self { stage, mistake, rarity, shared }
    }
}

impl<S: Stage> Mistaken<S> {
    /// Whether an event is poison for this stage: the same for both replicas, and until the mistake is mended.
    fn stumbles_over(&self, event: &Envelope) -> bool {
        let mistake = self.mistake.load(Relaxed);
        let digest = Sha256::digest(format!("{mistake}/{}/{}", self.stage.name(), event.id));
        let number = digest.iter().take(7).fold(0, |number, byte| number << 8 | u64::from(*byte));
        mistake != 0 && number % self.rarity == 0
    }
}

#[async_trait]
impl<S: Stage> Stage for Mistaken<S> {
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
        let effects = self.stage.handle(conn, now, events).await?;
        // Afterwards, so that there is something to undo.
        if let Some(event) = events.iter().find(|event| self.stumbles_over(event)) {
            self.shared.dice().count(Fault::Poison);
            return Err(StageError::poison(format!("a mistake of the program meets event {}", event.id)));
        }
        Ok(effects)
    }
}
