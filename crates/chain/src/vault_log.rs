//! What a vault said in a transaction.

use alloy::{
    primitives::{Address, B256, Log, U256},
    sol_types::SolEvent,
};
use laurel_events::Amount;
use serde::{Deserialize, Serialize};

use crate::{ChainError, RewardVault};

/// A log of a vault that concerns the books. Campaigns are the chain's numbers: a stranger may use any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum VaultLog {
    /// A segment was settled.
    Settled {
        /// The campaign.
        campaign: u64,
        /// The first sequence number.
        first_seq: u64,
        /// How many words it had.
        count: u64,
        /// The sum of what it paid.
        total: Amount,
        /// keccak256 of the words.
        words_hash: B256,
        /// The bits that it set.
        paid: Vec<U256>,
    },
    /// A grant could not be paid and stays open.
    Refused {
        /// The campaign.
        campaign: u64,
        /// Its sequence number.
        seq: u64,
        /// What the token said.
        reason: B256,
    },
    /// A campaign has a cap: it was opened, or the cap was raised.
    Capped {
        /// The campaign.
        campaign: u64,
        /// The token it pays.
        token: Address,
        /// The whole cap.
        cap: Amount,
    },
    /// Places were burned without being paid.
    Cancelled {
        /// The campaign.
        campaign: u64,
        /// The bitmap word.
        word: u64,
        /// The bits.
        mask: U256,
    },
    /// A campaign was released: nothing of it is paid any more.
    Released {
        /// The campaign.
        campaign: u64,
        /// What was paid.
        spent: Amount,
        /// What its cap held beyond that.
        released: Amount,
    },
}

/// The logs of `vault` among a transaction's, with their index in the transaction; kinds that do not concern the books
/// are passed over.
///
/// # Errors
/// [`ChainError::Untrue`] if a log of a known kind cannot be decoded: the vault is not the contract we know.
pub fn decode_vault_logs(vault: Address, logs: &[Log]) -> Result<Vec<(usize, VaultLog)>, ChainError> {
    let mut decoded = Vec::new();
    for (index, log) in logs.iter().enumerate().filter(|(_, log)| log.address == vault) {
        if let Some(known) = decode(log)? {
            decoded.push((index, known));
        }
    }
    Ok(decoded)
}

fn decode(log: &Log) -> Result<Option<VaultLog>, ChainError> {
    let Some(topic) = log.topics().first() else { return Ok(None) };
    let untrue =
        |error| ChainError::Untrue(format!("a log of vault {} cannot be read: {error}", log.address));
    let known = match *topic {
        RewardVault::BatchSettled::SIGNATURE_HASH => {
            let event = RewardVault::BatchSettled::decode_log(log).map_err(untrue)?.data;
            VaultLog::Settled {
                campaign: event.campaign,
                first_seq: event.firstSeq,
                count: event
                    .count
                    .try_into()
                    .map_err(|_| ChainError::Untrue("a segment's count".to_owned()))?,
                total: Amount::new(event.total),
                words_hash: event.grantsHash,
                paid: event.paid,
            }
        }
        RewardVault::GrantFailed::SIGNATURE_HASH => {
            let event = RewardVault::GrantFailed::decode_log(log).map_err(untrue)?.data;
            VaultLog::Refused { campaign: event.campaign, seq: event.seq, reason: event.reason }
        }
        RewardVault::CampaignOpened::SIGNATURE_HASH => {
            let event = RewardVault::CampaignOpened::decode_log(log).map_err(untrue)?.data;
            let cap = Amount::new(U256::from(event.terms.cap));
            VaultLog::Capped { campaign: event.campaign, token: event.terms.token, cap }
        }
        RewardVault::CampaignChanged::SIGNATURE_HASH => {
            let event = RewardVault::CampaignChanged::decode_log(log).map_err(untrue)?.data;
            let cap = Amount::new(U256::from(event.terms.cap));
            VaultLog::Capped { campaign: event.campaign, token: event.terms.token, cap }
        }
        RewardVault::GrantsCancelled::SIGNATURE_HASH => {
            let event = RewardVault::GrantsCancelled::decode_log(log).map_err(untrue)?.data;
            VaultLog::Cancelled { campaign: event.campaign, word: event.word, mask: event.mask }
        }
        RewardVault::CampaignReleased::SIGNATURE_HASH => {
            let event = RewardVault::CampaignReleased::decode_log(log).map_err(untrue)?.data;
            let (spent, released) = (U256::from(event.spent), U256::from(event.released));
            VaultLog::Released {
                campaign: event.campaign,
                spent: Amount::new(spent),
                released: Amount::new(released),
            }
        }
        _ => return Ok(None),
    };
    Ok(Some(known))
}
