//! How much an accepted outcome earns, in exact base units.
//!
//! | kind | pays |
//! |---|---|
//! | `{"kind":"fixed","amount":"5000"}` | the amount |
//! | `{"kind":"per_unit","field":"score","amount":"10","cap":"1000"}` | the amount for each unit of the field, at most the cap |
//! | `{"kind":"by_rank","amounts":["500","300","100"]}` | the amount at the outcome's rank, the first being rank 1 |
//!
//! `field` is `score` or `attributes.NAME`, an attribute that is a whole number. Amounts are decimal strings of base
//! units, from 1 to 2^96 - 1, which is what a grant's word carries. An outcome with nothing to pay is declined
//! with [`NoReward::code`].

mod by_rank;
mod error;
mod field;
mod fixed;
mod per_unit;
mod schema;
mod written;

use laurel_events::Amount;
use serde::{Deserialize, Serialize};

use self::written::Written;
pub use self::{
    by_rank::{ByRank, RANKS_MAX},
    error::{NoReward, RewardError},
    field::RewardField,
    fixed::Fixed,
    per_unit::PerUnit,
};
use crate::rule::RuleInput;

/// What a campaign pays for an accepted outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", try_from = "Written")]
pub enum Reward {
    /// Always the same.
    Fixed(Fixed),
    /// More for more, up to a cap.
    PerUnit(PerUnit),
    /// By the place that the player took.
    ByRank(ByRank),
}

impl Reward {
    /// What the outcome earns: 1 to 2^96 - 1 base units.
    ///
    /// # Errors
    /// [`NoReward`] if there is nothing to pay.
    pub fn amount(&self, input: &RuleInput<'_>) -> Result<Amount, NoReward> {
        match self {
            Self::Fixed(fixed) => Ok(fixed.amount()),
            Self::PerUnit(per_unit) => per_unit.amount(input),
            Self::ByRank(by_rank) => by_rank.amount(input),
        }
    }
}

/// The amount, if a grant can carry it.
fn payable(amount: Amount) -> Result<Amount, RewardError> {
    if amount.is_zero() {
        Err(RewardError::Zero)
    } else if amount > Amount::GRANT_MAX {
        Err(RewardError::TooLarge)
    } else {
        Ok(amount)
    }
}
