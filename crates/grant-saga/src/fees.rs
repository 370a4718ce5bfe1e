//! What a lane offers for gas: what the market takes, never more than its cap.

use laurel_chain::Fees;

/// What a transaction offers per unit of gas, in wei (EIP-1559).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Price {
    /// Base fee and tip together.
    pub(crate) max_fee: u128,
    /// The tip.
    pub(crate) tip: u128,
}

/// Nothing at or below the cap would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("gas costs at least {needed} wei, and the cap is {cap}")]
pub(crate) struct AboveCap {
    /// What a unit of gas would have to cost.
    pub(crate) needed: u128,
    /// The cap.
    pub(crate) cap: u128,
}

/// How much more a replacement offers, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Raise {
    /// 12.5: the least that every client takes in the place of another transaction.
    Least,
    /// 100: a node has refused what was offered, and does not say what it wants.
    Double,
}

impl Raise {
    /// `wei` and this much more, rounded up.
    const fn over(self, wei: u128) -> u128 {
        let more = match self {
            Self::Least => wei.div_ceil(8),
            Self::Double => wei,
        };
        // One wei more is no more where nothing was offered.
        wei.saturating_add(if more == 0 { 1 } else { more })
    }
}

/// How many times the next block's base fee a transaction may come to cost: the base fee doubles in six full blocks.
const BASE_FEE_ROOM: u128 = 2;

impl Price {
    /// What to offer at these fees.
    pub(crate) fn at(market: Fees, cap: u128) -> Result<Self, AboveCap> {
        let needed = market.base_fee.saturating_add(market.priority_fee);
        if needed > cap {
            return Err(AboveCap { needed, cap });
        }
        let wanted = market.base_fee.saturating_mul(BASE_FEE_ROOM).saturating_add(market.priority_fee);
        Ok(Self { max_fee: wanted.min(cap), tip: market.priority_fee })
    }

    /// So many times this, up to the cap.
    pub(crate) fn times(self, times: u128, cap: u128) -> Self {
        let up_to = |wei: u128| wei.saturating_mul(times).min(cap);
        Self { max_fee: up_to(self.max_fee), tip: up_to(self.tip) }
    }

    /// What to offer in the place of a transaction that offers this: more of both.
    pub(crate) fn outbid(self, market: Fees, raise: Raise, cap: u128) -> Result<Self, AboveCap> {
        let fresh = Self::at(market, cap)?;
        let tip = raise.over(self.tip).min(cap).max(Raise::Least.over(self.tip)).max(fresh.tip);
        let least = Raise::Least.over(self.max_fee).max(tip);
        if least > cap {
            return Err(AboveCap { needed: least, cap });
        }
        let max_fee = raise.over(self.max_fee).max(fresh.max_fee).max(tip).min(cap);
        Ok(Self { max_fee, tip })
    }

    /// Whether the next block takes it at these fees.
    pub(crate) fn suffices(self, market: Fees) -> bool {
        self.max_fee.saturating_sub(market.base_fee).min(self.tip) >= market.priority_fee
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn market(base_fee: u128, priority_fee: u128) -> Fees {
        Fees { base_fee, priority_fee }
    }

    #[test]
    fn a_first_offer_leaves_room_for_a_rising_base_fee_below_the_cap() {
        assert_eq!(Price::at(market(10, 3), 100), Ok(Price { max_fee: 23, tip: 3 }));
        assert_eq!(Price::at(market(10, 3), 15), Ok(Price { max_fee: 15, tip: 3 }));
        assert_eq!(Price::at(market(10, 3), 13), Ok(Price { max_fee: 13, tip: 3 }));
        assert_eq!(Price::at(market(10, 4), 13), Err(AboveCap { needed: 14, cap: 13 }));
    }

    #[test]
    fn a_replacement_follows_the_market_or_its_own_ladder() {
        let old = Price { max_fee: 80, tip: 8 };
        assert_eq!(old.outbid(market(10, 3), Raise::Least, 1_000), Ok(Price { max_fee: 90, tip: 9 }));
        assert_eq!(old.outbid(market(10, 3), Raise::Double, 1_000), Ok(Price { max_fee: 160, tip: 16 }));
        assert_eq!(old.outbid(market(200, 30), Raise::Least, 1_000), Ok(Price { max_fee: 430, tip: 30 }));
        assert_eq!(old.outbid(market(10, 3), Raise::Least, 89), Err(AboveCap { needed: 90, cap: 89 }));
        assert_eq!(old.outbid(market(90, 9), Raise::Least, 90), Err(AboveCap { needed: 99, cap: 90 }));
    }

    proptest! {
        #[test]
        fn both_fees_rise_by_an_eighth_and_stay_below_the_cap(
            tip in 0_u128..1 << 40, above in 0_u128..1 << 40, base_fee in 0_u128..1 << 42,
            priority_fee in 0_u128..1 << 40, cap in 1_u128..1 << 44, double in any::<bool>(),
        ) {
            let old = Price { max_fee: tip + above, tip };
            let raise = if double { Raise::Double } else { Raise::Least };
            match old.outbid(market(base_fee, priority_fee), raise, cap) {
                Ok(new) => {
                    prop_assert!(new.max_fee <= cap && new.tip <= new.max_fee);
                    prop_assert!(new.max_fee * 8 >= old.max_fee * 9 && new.max_fee > old.max_fee);
                    prop_assert!(new.tip * 8 >= old.tip * 9 && new.tip > old.tip);
                    prop_assert!(new.max_fee >= base_fee + priority_fee);
                }
                Err(above) => prop_assert!(above.needed > cap),
            }
        }
    }
}
