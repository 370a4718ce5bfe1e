//! Amounts as PostgreSQL's NUMERIC(78, 0), which holds every uint256 exactly.

use alloy_primitives::U256;
use bigdecimal::{
    BigDecimal,
    num_bigint::{BigInt, Sign},
};
use laurel_events::Amount;

use crate::LedgerError;

/// `amount` as a statement's parameter.
pub fn amount_to_sql(amount: Amount) -> BigDecimal {
    BigDecimal::from(BigInt::from_bytes_le(Sign::Plus, &amount.units().to_le_bytes::<32>()))
}

/// The amount in column `column` of `table`'s row `id`.
///
/// # Errors
/// [`LedgerError::Inconsistent`] for a negative number, a fraction, or more than 2^256 - 1.
pub fn amount_from_sql(
    value: &BigDecimal,
    table: &'static str,
    column: &'static str,
    id: impl std::fmt::Display,
) -> Result<Amount, LedgerError> {
    let whole =
        if value.is_integer() { Some(value.with_scale(0).into_bigint_and_exponent().0) } else { None };
    whole
        .filter(|whole| whole.sign() != Sign::Minus)
        .and_then(|whole| U256::try_from_le_slice(&whole.to_bytes_le().1))
        .map(Amount::new)
        .ok_or_else(|| LedgerError::inconsistent(table, column, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for units in [U256::ZERO, U256::from(1), U256::from(10_000), U256::from(1) << 96, U256::MAX] {
            let amount = Amount::new(units);
            let back = amount_from_sql(&amount_to_sql(amount), "t", "c", 0).unwrap();
            assert_eq!(back, amount);
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in
            ["-1", "0.5", "115792089237316195423570985008687907853269984665640564039457584007913129639936"]
        {
            assert!(amount_from_sql(&text.parse().unwrap(), "t", "c", 0).is_err(), "{text}");
        }
    }
}
