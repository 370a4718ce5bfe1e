//! Why a reward is refused, or an outcome earns nothing.

use super::RANKS_MAX;

/// Why a reward's definition is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RewardError {
    /// An amount of zero.
    #[error("a reward's amounts are at least 1 base unit")]
    Zero,
    /// An amount that no grant can carry.
    #[error("a reward's amounts are at most 2^96 - 1 base units")]
    TooLarge,
    /// A cap that a single unit exceeds.
    #[error("the cap is below the amount for a single unit")]
    CapBelowAmount,
    /// A table without a rank.
    #[error("a table of ranks has at least one amount")]
    EmptyTable,
    /// A table that is too long.
    #[error("a table of ranks has at most {RANKS_MAX} amounts, this one has {ranks}")]
    TooManyRanks {
        /// How many it has.
        ranks: usize,
    },
    /// A field that rewards do not read.
    #[error("a reward's field is `score` or `attributes.NAME`, not {field:?}")]
    UnknownField {
        /// What was asked for.
        field: String,
    },
}

/// Why an accepted outcome earns nothing; it is declined with [`NoReward::code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoReward {
    /// The field is zero or negative.
    #[error("the reward for this outcome is zero")]
    Zero,
    /// The rank is not in the table.
    #[error("the campaign has no reward for this rank")]
    RankBeyondTable,
    /// The outcome lacks the rank or attribute that the reward is counted by.
    #[error("the outcome lacks what the reward is counted by")]
    FieldMissing,
    /// The attribute that the reward is counted by is no whole number.
    #[error("the attribute that the reward is counted by is no whole number")]
    FieldType,
}

impl NoReward {
    /// The reason that the declined outcome keeps. These never change.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Zero => "zero_reward",
            Self::RankBeyondTable => "no_reward_for_rank",
            Self::FieldMissing => "reward_field_missing",
            Self::FieldType => "reward_field_type",
        }
    }
}
