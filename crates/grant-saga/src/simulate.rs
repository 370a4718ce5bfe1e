//! What the chain says of a settlement before it is signed, and the gas that it gets.

use alloy::{
    primitives::{B256, Bytes, U256},
    sol_types::{SolCall, SolInterface as _},
};
use laurel_chain::{
    Call, CallError, ChainError, ChainNode, GrantWord, PaidMask,
    RewardVault::{self, RewardVaultErrors as VaultError},
    revert_reason,
};

/// Gas that a settlement needs beside its grants: calldata's base, the campaign, the log, and a stipend of up to
/// 300,000 that must still be there before the last transfer.
const GAS_BASE: u64 = 400_000;

/// Gas per grant: a new holder of any plain ERC-20, measured at 25,700, with room for a costlier token.
const GAS_PER_GRANT: u64 = 30_000;

/// The most that one transaction may ask for: 2^24 (EIP-7825).
const TX_GAS_MAX: u64 = 1 << 24;

/// What the chain says of a settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It would set these bits, at least one.
    Pays(PaidMask),
    /// It would set no bit: all of them are set.
    Burned,
    /// The token would transfer nothing to any of its recipients.
    NothingPaid,
    /// It is over the campaign's cap or its window's limit, of which this much is left.
    OverLimit {
        /// Base units.
        left: U256,
    },
    /// It has too little gas for the vault's own rule.
    GasTooLow,
    /// It would pay nobody; why.
    Never(String),
}

/// Who is asked what a call would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// Whoever answers first: of what the chain refuses if it is wrong, and what is tried again.
    Anybody,
    /// A quorum: of what cannot be taken back.
    Quorum,
}

impl Whom {
    /// What a call returns.
    pub(crate) async fn call(self, node: &dyn ChainNode, call: Call) -> Result<Bytes, CallError> {
        match self {
            Self::Anybody => node.call(call).await,
            Self::Quorum => node.agreed_call(call).await,
        }
    }
}

/// Asks what a settlement of one segment from `first_seq` on would do.
pub(crate) async fn simulate(
    node: &dyn ChainNode,
    whom: Whom,
    first_seq: u64,
    call: Call,
) -> Result<Verdict, ChainError> {
    match whom.call(node, call).await {
        Ok(answer) => {
            let masks = RewardVault::settleCall::abi_decode_returns(&answer)
                .map_err(|error| ChainError::Untrue(format!("the vault's answer to settle: {error}")))?;
            let mask = PaidMask::new(first_seq, masks.into_iter().flatten().collect());
            Ok(if mask.count() == 0 { Verdict::Burned } else { Verdict::Pays(mask) })
        }
        Err(CallError::Reverted(data)) => Ok(verdict_of(&data)),
        Err(CallError::Chain(error)) => Err(error),
    }
}

fn verdict_of(revert: &Bytes) -> Verdict {
    match VaultError::abi_decode(revert) {
        Ok(VaultError::CapExceeded(error)) => Verdict::OverLimit { left: error.left },
        Ok(VaultError::WindowExceeded(error)) => Verdict::OverLimit { left: error.left },
        Ok(VaultError::GasTooLow(_)) => Verdict::GasTooLow,
        Ok(VaultError::NothingPaid(_)) => Verdict::NothingPaid,
        _ => Verdict::Never(format!("it would revert: {}", revert_reason(revert))),
    }
}

/// How many of the words, from the first on, pay no more than `left` together.
pub(crate) fn words_within(words: &[B256], left: U256) -> usize {
    let mut sum = U256::ZERO;
    words
        .iter()
        .take_while(|word| {
            let amount = GrantWord::decode(**word).map(GrantWord::amount).unwrap_or_default();
            sum = sum.saturating_add(amount.units());
            sum <= left
        })
        .count()
}

/// The gas that a campaign's settlements get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GasPlan {
    stipend: u64,
    per_grant: u64,
}

impl Default for GasPlan {
    fn default() -> Self {
        Self { stipend: 0, per_grant: GAS_PER_GRANT }
    }
}

impl GasPlan {
    /// For so many grants.
    pub(crate) fn limit(self, grants: usize) -> u64 {
        self.base().saturating_add(self.per_grant.saturating_mul(grants as u64))
    }

    /// The most grants of one transaction.
    pub(crate) fn grants_max(self) -> usize {
        let grants = TX_GAS_MAX.saturating_sub(self.base()) / self.per_grant;
        usize::try_from(grants.max(1)).unwrap_or(usize::MAX)
    }

    /// More, after the vault said that it was too little for a campaign with this `grant_gas`; `None` where no
    /// transaction may have as much.
    pub(crate) fn raised(self, grant_gas: u64) -> Option<Self> {
        let raised = if grant_gas > self.stipend {
            Self { stipend: grant_gas, ..self }
        } else {
            Self { per_grant: self.per_grant.saturating_mul(2), ..self }
        };
        (raised.limit(1) <= TX_GAS_MAX).then_some(raised)
    }

    /// What the vault wants to see before a transfer (EIP-150), on top of everything else.
    fn base(self) -> u64 {
        GAS_BASE.saturating_add(self.stipend.saturating_mul(64) / 63)
    }
}

#[cfg(test)]
mod tests {
    use alloy::sol_types::SolError;
    use laurel_events::Amount;

    use super::*;

    fn word(amount: u64) -> B256 {
        GrantWord::new(alloy::primitives::Address::repeat_byte(1), Amount::from(amount)).unwrap().encode()
    }

    #[test]
    fn a_prefix_fits_what_is_left() {
        let words = [word(1), word(2), B256::ZERO, word(3)];
        let within = |left: u64| words_within(&words, U256::from(left));
        assert_eq!([0, 1, 2, 3, 5, 6, 7].map(within), [0, 1, 1, 3, 3, 4, 4]);
    }

    #[test]
    fn gas_is_raised_to_what_the_vault_wants_and_no_further_than_a_transaction_may_have() {
        let plan = GasPlan::default();
        assert_eq!((plan.limit(500), plan.grants_max()), (15_400_000, 545));
        let stipend = plan.raised(2_000_000).unwrap();
        assert_eq!((stipend.limit(1), stipend.grants_max()), (400_000 + 2_031_746 + 30_000, 478));
        let mut dearer = stipend;
        let mut raises = 0;
        while let Some(next) = dearer.raised(2_000_000) {
            assert!(next.limit(next.grants_max()) <= TX_GAS_MAX);
            (dearer, raises) = (next, raises + 1);
        }
        assert_eq!((raises, dearer.grants_max()), (8, 1), "30,000 to 7,680,000 each");
        assert_eq!(plan.raised(u64::MAX), None);
    }

    #[test]
    fn the_vaults_limits_are_told_from_what_never_works() {
        let verdict = |data: Vec<u8>| verdict_of(&data.into());
        let (campaign, total, left) = (7, U256::from(9), U256::from(4));
        let over = RewardVault::WindowExceeded { campaign, total, left }.abi_encode();
        assert_eq!(verdict(over), Verdict::OverLimit { left });
        let over = RewardVault::CapExceeded { campaign, total, left }.abi_encode();
        assert_eq!(verdict(over), Verdict::OverLimit { left });
        assert_eq!(verdict(RewardVault::GasTooLow { campaign, seq: 1 }.abi_encode()), Verdict::GasTooLow);
        let nobody = RewardVault::NothingPaid { campaign, firstSeq: 1 }.abi_encode();
        assert_eq!(verdict(nobody), Verdict::NothingPaid);
        let paused = verdict(RewardVault::VaultPaused {}.abi_encode());
        assert_eq!(paused, Verdict::Never("it would revert: the vault is paused".to_owned()));
        assert!(matches!(verdict(vec![1, 2]), Verdict::Never(why) if why.contains("0x0102")));
    }
}
