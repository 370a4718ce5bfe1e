//! `{"kind":"by_rank","amounts":[…]}`

use laurel_events::Amount;
use serde::Serialize;

use super::{NoReward, RewardError, payable};
use crate::rule::RuleInput;

/// The most ranks of a table: a tournament's whole leaderboard, and a definition that fits one request.
pub const RANKS_MAX: usize = 1_000;

/// An amount for each rank, the first item being rank 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ByRank {
    /// Base units for the first, the second, and so on.
    amounts: Box<[Amount]>,
}

impl ByRank {
    /// Pays the amount at the outcome's rank.
    ///
    /// # Errors
    /// [`RewardError`] unless there are 1 to [`RANKS_MAX`] amounts of 1 to 2^96 - 1 base units.
    pub fn new(amounts: Vec<Amount>) -> Result<Self, RewardError> {
        if amounts.is_empty() {
            return Err(RewardError::EmptyTable);
        }
        if amounts.len() > RANKS_MAX {
            return Err(RewardError::TooManyRanks { ranks: amounts.len() });
        }
        let amounts = amounts.into_iter().map(payable).collect::<Result<_, _>>()?;
        Ok(Self { amounts })
    }

    pub(super) fn amount(&self, input: &RuleInput<'_>) -> Result<Amount, NoReward> {
        let rank = input.outcome.rank.ok_or(NoReward::FieldMissing)?;
        let index = rank.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| self.amounts.get(index)).copied().ok_or(NoReward::RankBeyondTable)
    }
}
