//! `{"kind":"fixed","amount"}`

use laurel_events::Amount;
use serde::Serialize;

use super::{RewardError, payable};

/// The same amount for every accepted outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fixed {
    /// Base units.
    amount: Amount,
}

impl Fixed {
    /// Pays `amount`.
    ///
    /// # Errors
    /// [`RewardError`] unless it is 1 to 2^96 - 1 base units.
    pub fn new(amount: Amount) -> Result<Self, RewardError> {
        Ok(Self { amount: payable(amount)? })
    }

    /// What it pays.
    pub const fn amount(&self) -> Amount {
        self.amount
    }
}
