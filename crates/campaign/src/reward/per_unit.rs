//! `{"kind":"per_unit","field","amount","cap"}`

use laurel_events::Amount;
use serde::Serialize;

use super::{NoReward, RewardError, RewardField, payable};
use crate::rule::RuleInput;

/// An amount for each unit of a field, up to a cap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PerUnit {
    /// `score`, or `attributes.NAME` of an attribute that is a whole number.
    field: RewardField,
    /// Base units for each unit of the field.
    amount: Amount,
    /// The most that is paid, in base units.
    cap: Amount,
}

impl PerUnit {
    /// Pays `amount` for each unit of `field`, at most `cap`.
    ///
    /// # Errors
    /// [`RewardError`] unless both are 1 to 2^96 - 1 base units and the cap is not below the amount.
    pub fn new(field: RewardField, amount: Amount, cap: Amount) -> Result<Self, RewardError> {
        let (amount, cap) = (payable(amount)?, payable(cap)?);
        if cap < amount {
            return Err(RewardError::CapBelowAmount);
        }
        Ok(Self { field, amount, cap })
    }

    pub(super) fn amount(&self, input: &RuleInput<'_>) -> Result<Amount, NoReward> {
        let units = self.field.units(input)?;
        if units == 0 {
            return Err(NoReward::Zero);
        }
        // A product that no `Amount` can hold is above every cap.
        Ok(self.amount.times(units).map_or(self.cap, |amount| amount.min(self.cap)))
    }
}
