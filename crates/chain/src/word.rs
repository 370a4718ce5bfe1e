//! A grant as the vault takes it: one word.

use alloy::primitives::{Address, B256, U256};
use laurel_events::Amount;

/// Recipient and amount of a grant: `address << 96 | uint96`. Zero is a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantWord {
    recipient: Address,
    amount: Amount,
}

impl GrantWord {
    /// The word that pays `amount` to `recipient`; `None` for the zero address, nothing, or more than a uint96.
    pub fn new(recipient: Address, amount: Amount) -> Option<Self> {
        let payable = !recipient.is_zero() && !amount.is_zero() && amount <= Amount::GRANT_MAX;
        payable.then_some(Self { recipient, amount })
    }

    /// The word that `bytes` encode; `None` if they pay nobody or nothing.
    pub fn decode(bytes: B256) -> Option<Self> {
        let recipient = Address::from_slice(&bytes[..20]);
        let amount = Amount::new(U256::from_be_slice(&bytes[20..]));
        Self::new(recipient, amount)
    }

    /// Who is paid.
    pub const fn recipient(self) -> Address {
        self.recipient
    }

    /// How much.
    pub const fn amount(self) -> Amount {
        self.amount
    }

    /// The 32 bytes that the contract reads.
    pub fn encode(self) -> B256 {
        let mut bytes = [0; 32];
        bytes[..20].copy_from_slice(self.recipient.as_slice());
        bytes[20..].copy_from_slice(&self.amount.units().to_be_bytes::<32>()[20..]);
        B256::new(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn there_and_back(address in any::<[u8; 20]>(), amount in 1_u128..(1 << 96)) {
            let recipient = Address::new(address);
            prop_assume!(!recipient.is_zero());
            let word = GrantWord::new(recipient, Amount::from(amount)).unwrap();
            prop_assert_eq!(GrantWord::decode(word.encode()), Some(word));
            let packed = U256::from_be_bytes(word.encode().0);
            prop_assert_eq!(packed >> 96, U256::from_be_slice(&address));
            prop_assert_eq!(packed & Amount::GRANT_MAX.units(), U256::from(amount));
        }
    }

    #[test]
    fn what_pays_nobody_is_no_word() {
        let somebody = Address::repeat_byte(1);
        assert_eq!(GrantWord::new(Address::ZERO, Amount::from(1_u64)), None);
        assert_eq!(GrantWord::new(somebody, Amount::ZERO), None);
        assert_eq!(GrantWord::new(somebody, Amount::from(1_u128 << 96)), None);
        assert_eq!(GrantWord::decode(B256::ZERO), None);
    }
}
