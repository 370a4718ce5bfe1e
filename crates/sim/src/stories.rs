//! Worlds in which something happens for sure that is rare in others, where a bug shows only then.

use std::time::Duration;

use anyhow::Context;
use laurel_chain::{LaneSigner, LocalKey};
use serde::{Deserialize, Serialize};

use crate::{
    plan::{KEY_WALLETS, Plan, secret},
    world::World,
};

/// What happens for sure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Story {
    /// Nothing.
    #[default]
    Usual,
    /// Every player with a key is refused from the beginning, until the places are burned.
    Refused,
    /// The database is set back.
    Restored,
    /// A campaign is released with grants under way.
    Released,
    /// The chain takes back what was final.
    TakenBack,
}

/// How many steps it takes, at the least, until a place was tried, has rested, was tried again and is burned.
const REFUSED_STEPS: u64 = 320;

/// How long a grant is tried that is refused for good: shorter than a place rests.
const GIVE_UP_SOON: Duration = Duration::from_secs(4);

impl Story {
    /// Makes its plan of any.
    pub(crate) fn plan(self, plan: &mut Plan) {
        if self == Self::Refused {
            plan.size.steps = plan.size.steps.max(REFUSED_STEPS);
            plan.give_up_refused = GIVE_UP_SOON;
        }
    }
}

impl World<'_> {
    /// The token refuses every player with a key until the world comes to rest.
    pub(crate) fn refuse_for_good(&mut self) -> anyhow::Result<()> {
        for player in 0..KEY_WALLETS {
            let recipient = LocalKey::from_hex(&secret(player)).context("a key")?.address();
            let refusing = self.refuse(recipient, true)?;
            self.troubles.push((u64::MAX, refusing));
        }
        Ok(())
    }
}
