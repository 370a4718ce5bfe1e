//! `{"kind":"fixed","amount"}`

use laurel_events::Amount;
use serde::{Deserialize, Serialize};

use super::{RewardError, payable};

/// The same amount for every accepted outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
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

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    amount: Amount,
}

impl TryFrom<Written> for Fixed {
    type Error = RewardError;

    fn try_from(written: Written) -> Result<Self, RewardError> {
        Self::new(written.amount)
    }
}

impl From<Fixed> for Written {
    fn from(fixed: Fixed) -> Self {
        Self { amount: fixed.amount }
    }
}
