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
use crate::{clients::Request, world::World};

/// What happens to a world beside the usual.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
pub enum Story {
    /// Nothing.
    #[default]
    Usual,
    /// A recipient is refused for so long that its places are burned.
    Refused,
    /// Stages cannot handle some events for a while.
    Poison,
    /// The watcher tells final settlements again.
    Retold,
    /// The database is restored to a moment before its last payments, once, and recovered.
    Restored,
}

/// How often something of a story happens, where it can.
const HAPPENS: f64 = 0.03;

impl World<'_> {
    /// Whether the final chain has paid anybody yet.
    fn has_paid(&self) -> bool {
        !self.auditor.recipients().is_empty()
    }

    /// Lets something of the story happen.
    pub(crate) async fn tell_story(&mut self) -> anyhow::Result<()> {
        if self.story == Story::Usual || !self.shared.dice().rng.random_bool(HAPPENS) {
            return Ok(());
        }
        match self.story {
            Story::Usual | Story::Poison => Ok(()),
            Story::Refused if self.told => Ok(()),
            Story::Refused => {
                self.told = true;
                self.refuse_for_good()
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
