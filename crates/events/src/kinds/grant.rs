//! A grant's way from the hold to the player's wallet.

use alloy_primitives::{Address, B256};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Amount, BatchId, GrantId, OutcomeKey, Payload, PlayerId, Subject};

macro_rules! grant_event {
    ($name:ident) => {
        impl Payload for $name {
            const VERSION: i16 = 1;

            fn subject(&self) -> Subject {
                Subject::new("campaign", self.grant.campaign)
            }

            fn key(&self) -> String {
                self.grant.to_string()
            }
        }
    };
}

/// A campaign held its budget for a grant and asks for it to be paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenGrantRequested {
    /// The grant.
    pub grant: GrantId,
    /// The outcome that earned it.
    pub outcome: OutcomeKey,
    /// Who earned it.
    pub player: PlayerId,
    /// What is held for it.
    pub amount: Amount,
    /// The version of the rule that granted it.
    pub rule_version: i32,
    /// The chain that pays.
    pub chain_id: u64,
    /// The vault that pays.
    pub vault: Address,
    /// How long the player has to link a wallet.
    pub wallet_deadline_hours: u32,
}
grant_event!(TokenGrantRequested);

/// The player has no wallet on the campaign's chain yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenGrantAwaitingWallet {
    /// The grant.
    pub grant: GrantId,
    /// Who has to link a wallet.
    pub player: PlayerId,
    /// Until when.
    pub until: DateTime<Utc>,
}
grant_event!(TokenGrantAwaitingWallet);

/// The grant waits for something other than a wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenGrantHeld {
    /// The grant.
    pub grant: GrantId,
    /// A stable code.
    pub reason: String,
}
grant_event!(TokenGrantHeld);

/// The grant was given its place on the chain, for life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenGrantStarted {
    /// The grant.
    pub grant: GrantId,
    /// Its sequence number in the campaign's bitmap.
    pub seq: u64,
    /// Recipient and amount as the vault takes them: address << 96 | amount.
    pub word: B256,
}
grant_event!(TokenGrantStarted);

/// The grant is in the player's wallet in a final block, and the campaign's books say so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenGrantCompleted {
    /// The grant.
    pub grant: GrantId,
    /// The batch that paid it.
    pub batch: BatchId,
}
grant_event!(TokenGrantCompleted);

/// The chain took back the block in which the grant was paid: it is under way again, with the same place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenGrantReopened {
    /// The grant.
    pub grant: GrantId,
    /// The batch that had paid it.
    pub batch: BatchId,
}
grant_event!(TokenGrantReopened);

/// The grant will never be paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenGrantFailed {
    /// The grant.
    pub grant: GrantId,
    /// Whose it was.
    pub player: PlayerId,
    /// What was held for it.
    pub amount: Amount,
    /// A stable code.
    pub reason: String,
    /// What proves that no signed transaction can still pay it.
    pub proof: VoidProof,
}
grant_event!(TokenGrantFailed);

/// Why a hold may be voided: the only three ways there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum VoidProof {
    /// The grant never had a sequence number, so nothing signed names it.
    NeverQueued,
    /// A final GrantsCancelled log burned its bit.
    Cancelled {
        /// Its sequence number.
        seq: u64,
        /// The transaction that burned it.
        tx: B256,
    },
    /// The campaign was finally released with the bit unset.
    Released {
        /// Its sequence number.
        seq: u64,
        /// The transaction that released the campaign.
        tx: B256,
    },
}
