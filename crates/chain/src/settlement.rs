//! Calldata of a settlement.

use alloy::{
    primitives::{B256, Bytes, U256, keccak256},
    sol_types::SolCall,
};
use laurel_events::{Amount, AmountError, CampaignId};

use crate::{GrantWord, RewardVault, Segment};

/// A run of sequence numbers of one campaign, with a word for each; zero words are holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettlementSegment {
    /// The campaign.
    pub campaign: CampaignId,
    /// The first sequence number.
    pub first_seq: u64,
    /// The words.
    pub words: Vec<B256>,
}

impl SettlementSegment {
    /// The sum of the words' amounts.
    ///
    /// # Errors
    /// If it passes 2^256 - 1, which 500 words of 96 bits cannot.
    pub fn total(&self) -> Result<Amount, AmountError> {
        let amounts = self.words.iter().filter_map(|word| GrantWord::decode(*word)).map(GrantWord::amount);
        amounts.into_iter().try_fold(Amount::ZERO, Amount::plus)
    }

    /// keccak256 of the words, as the vault logs it.
    pub fn words_hash(&self) -> B256 {
        words_hash(&self.words)
    }
}

/// keccak256 of `words`, as the vault logs it.
pub fn words_hash(words: &[B256]) -> B256 {
    keccak256(words.concat())
}

/// What one transaction settles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The block time, in seconds since 1970, after which the vault refuses it.
    pub deadline: u64,
    /// The segments.
    pub segments: Vec<SettlementSegment>,
}

impl Settlement {
    /// The call's data.
    pub fn calldata(&self) -> Bytes {
        let segments = self.segments.iter().map(|segment| Segment {
            campaign: segment.campaign.on_chain(),
            firstSeq: segment.first_seq,
            grants: segment.words.iter().map(|word| U256::from_be_bytes(word.0)).collect(),
        });
        let call = RewardVault::settleCall {
            deadline: self.deadline,
            segments: segments.collect(),
            seal: B256::ZERO,
        };
        call.abi_encode().into()
    }
}
