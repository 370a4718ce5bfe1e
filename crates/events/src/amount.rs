//! Money: whole base units of a token, never a float.

use std::{fmt, iter::Sum, str::FromStr};

use alloy_primitives::U256;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of a token's base units (wei for an 18-decimals token).
///
/// Arithmetic is checked; JSON and text are decimal strings without sign, leading zeros or white space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(U256);

/// Why a text is not an [`Amount`], or a calculation has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Something other than decimal digits, or a leading zero.
    #[error(
        "an amount is a whole number of base units in decimal digits, without sign, spaces or leading zeros"
    )]
    NotDecimal,
    /// More than 2^256 - 1.
    #[error("an amount is at most 2^256 - 1")]
    TooLarge,
    /// A subtraction below zero.
    #[error("an amount cannot fall below zero")]
    BelowZero,
}

/// The decimal digits of 2^256 - 1; a longer text cannot be an amount.
const DIGITS_MAX: usize = 78;

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(U256::ZERO);
    /// The most that a grant's word can carry: 2^96 - 1 base units.
    pub const GRANT_MAX: Self = Self(U256::from_limbs([u64::MAX, u32::MAX as u64, 0, 0]));

    /// An amount of `units` base units.
    pub const fn new(units: U256) -> Self {
        Self(units)
    }

    /// The base units.
    pub const fn units(self) -> U256 {
        self.0
    }

    /// Whether this is nothing.
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// The sum.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] past 2^256 - 1.
    pub fn plus(self, other: Self) -> Result<Self, AmountError> {
        self.0.checked_add(other.0).map(Self).ok_or(AmountError::TooLarge)
    }

    /// The difference.
    ///
    /// # Errors
    /// [`AmountError::BelowZero`] if `other` is the larger one.
    pub fn minus(self, other: Self) -> Result<Self, AmountError> {
        self.0.checked_sub(other.0).map(Self).ok_or(AmountError::BelowZero)
    }

    /// The product with a count.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] past 2^256 - 1.
    pub fn times(self, count: u64) -> Result<Self, AmountError> {
        self.0.checked_mul(U256::from(count)).map(Self).ok_or(AmountError::TooLarge)
    }
}

impl From<u64> for Amount {
    fn from(units: u64) -> Self {
        Self(U256::from(units))
    }
}

impl From<u128> for Amount {
    fn from(units: u128) -> Self {
        Self(U256::from(units))
    }
}

impl Sum for Amount {
    /// Saturates at 2^256 - 1; sums of real balances cannot get there.
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        Self(iter.fold(U256::ZERO, |sum, amount| sum.saturating_add(amount.0)))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let canonical =
            text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        if text.is_empty() || !canonical {
            return Err(AmountError::NotDecimal);
        }
        if text.len() > DIGITS_MAX {
            return Err(AmountError::TooLarge);
        }
        U256::from_str_radix(text, 10).map(Self).map_err(|_| AmountError::TooLarge)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", AmountError::NotDecimal)]
    #[case("+1", AmountError::NotDecimal)]
    #[case("-1", AmountError::NotDecimal)]
    #[case("01", AmountError::NotDecimal)]
    #[case("1e3", AmountError::NotDecimal)]
    #[case(" 1", AmountError::NotDecimal)]
    #[case("0x1", AmountError::NotDecimal)]
    #[case("1_000", AmountError::NotDecimal)]
    #[case(
        "115792089237316195423570985008687907853269984665640564039457584007913129639936",
        AmountError::TooLarge
    )]
    #[case(
        "9999999999999999999999999999999999999999999999999999999999999999999999999999999",
        AmountError::TooLarge
    )]
    fn refuses(#[case] text: &str, #[case] error: AmountError) {
        assert_eq!(text.parse::<Amount>(), Err(error));
    }

    #[test]
    fn the_largest_grant_is_a_uint96() {
        assert_eq!(Amount::GRANT_MAX.units(), (U256::from(1) << 96) - U256::from(1));
    }

    proptest! {
        #[test]
        fn text_and_back(limbs in any::<[u64; 4]>()) {
            let amount = Amount::new(U256::from_limbs(limbs));
            prop_assert_eq!(amount.to_string().parse(), Ok(amount));
            let json = serde_json::to_string(&amount).unwrap();
            prop_assert_eq!(serde_json::from_str::<Amount>(&json).unwrap(), amount);
        }

        #[test]
        fn plus_and_minus_are_inverse(a in any::<u128>(), b in any::<u128>()) {
            let (a, b) = (Amount::from(a), Amount::from(b));
            prop_assert_eq!(a.plus(b).unwrap().minus(b), Ok(a));
        }
    }
}
