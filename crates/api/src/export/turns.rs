//! Who may export at the same time.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use laurel_events::PlayerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many lists may be exported at the same time: each keeps a connection busy, and some ten megabytes.
const LISTS_MAX: usize = 4;

/// How many players' data, likewise: players ask for their own, and take no turn from those who export lists.
const PLAYERS_MAX: usize = 4;

/// Turns of those who export. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ExportTurns {
    lists: Arc<Semaphore>,
    players: Arc<Semaphore>,
    /// Whose data is being exported: nobody's twice, so that nobody has all turns.
    known: Arc<Mutex<HashSet<PlayerId>>>,
}

/// A turn. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct ExportTurn {
    turns: ExportTurns,
    player: Option<PlayerId>,
    _permit: OwnedSemaphorePermit,
}

impl Default for ExportTurns {
    fn default() -> Self {
        let [lists, players] = [LISTS_MAX, PLAYERS_MAX].map(|count| Arc::new(Semaphore::new(count)));
        Self { lists, players, known: Arc::default() }
    }
}

impl ExportTurns {
    /// A turn for a list, or for what is known of a player; `None` if others have them all.
    pub(super) fn begin(&self, player: Option<PlayerId>) -> Option<ExportTurn> {
        let turns = if player.is_some() { &self.players } else { &self.lists };
        let permit = turns.clone().try_acquire_owned().ok()?;
        if player.is_some_and(|player| !self.known().insert(player)) {
            return None;
        }
        Some(ExportTurn { turns: self.clone(), player, _permit: permit })
    }

    fn known(&self) -> MutexGuard<'_, HashSet<PlayerId>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ExportTurn {
    fn drop(&mut self) {
        if let Some(player) = &self.player {
            self.turns.known().remove(player);
        }
    }
}
