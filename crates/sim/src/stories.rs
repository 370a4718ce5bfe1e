//! What happens to a world beside the usual, where a bug can show only then.

mod poison;
mod restored;
mod retold;

use rand::Rng;
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    poison::{Poisoned, Sickness},
    restored::recover,
    retold::retell,
};
use crate::{clients::Request, run::STEPS, world::World};

/// What happens to a world beside the usual.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
pub enum Story {
    /// Nothing.
    #[default]
    Usual,
    /// Everything takes so long that leases end in the middle of a step.
    Slow,
    /// Recipients are refused for so long that their places are burned.
    Refused,
    /// Stages cannot handle some events for a while.
    Poison,
    /// The watcher tells final settlements again.
    Retold,
    /// The database is restored to a moment before its last payments, once, and recovered.
    Restored,
}

/// How much time passes at once where a recipient is refused: a few times make up a place's rest.
const REST_MS: i64 = 10_000;

/// How often a lease's time passes at once where everything is slow.
const SLOWS: f64 = 0.1;

/// A little more than a lease lasts.
const LEASE_MS: i64 = 5_500;

/// How often something of a story happens, where it can.
const HAPPENS: f64 = 0.03;

impl Story {
    /// How many steps it takes.
    pub(crate) const fn steps(self) -> u64 {
        match self {
            // Until a place is burned it is tried, rests, and is tried again.
            Self::Refused => 2 * STEPS,
            _ => STEPS,
        }
    }
}

impl World<'_> {
    /// Whether the final chain has paid anybody yet.
    fn has_paid(&self) -> bool {
        !self.auditor.recipients().is_empty()
    }

    /// Lets something of the story happen.
    pub(crate) async fn tell_story(&mut self) -> anyhow::Result<()> {
        if self.story == Story::Usual {
            return Ok(());
        }
        if self.story == Story::Slow && self.shared.dice().rng.random_bool(SLOWS) {
            self.pass(LEASE_MS);
            self.stir();
            return Ok(());
        }
        if self.story == Story::Refused && !std::mem::replace(&mut self.told, true) {
            return self.refuse_for_good();
        }
        if !self.shared.dice().rng.random_bool(HAPPENS) {
            return Ok(());
        }
        match self.story {
            Story::Usual | Story::Slow | Story::Poison => Ok(()),
            Story::Refused => {
                // Places rest before they are tried again.
                self.pass(REST_MS);
                self.stir();
                Ok(())
            }
            Story::Restored if self.told || !self.has_paid() => Ok(()),
            Story::Restored => {
                self.told = true;
                self.restore().await
            }
            Story::Retold => {
                self.plan.requests.push_front(Request::Retell);
                Ok(())
            }
        }
    }
}
