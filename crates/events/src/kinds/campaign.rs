//! A campaign's life.

use std::fmt;

use alloy_primitives::{Address, B256, U256};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Amount, CampaignId, OrgId, Payload, PlayerId, Subject};

macro_rules! campaign_event {
    ($name:ident, $key:expr) => {
        impl Payload for $name {
            const VERSION: i16 = 1;

            fn subject(&self) -> Subject {
                Subject::new("campaign", self.campaign)
            }

            fn key(&self) -> String {
                let key: fn(&Self) -> String = $key;
                key(self)
            }
        }
    };
}

/// A campaign was made, as a draft.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignCreated {
    /// The campaign.
    pub campaign: CampaignId,
    /// Whose it is.
    pub org: OrgId,
    /// The version of its rule, 1.
    pub rule_version: i32,
    /// SHA-256 of the canonical JSON of its definition, which may hold a name and so is not in the journal.
    pub definition_hash: B256,
    /// Who made it.
    pub by: String,
}
campaign_event!(CampaignCreated, |event| event.campaign.to_string());

/// A campaign's definition was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignChanged {
    /// The campaign.
    pub campaign: CampaignId,
    /// The definition's new version.
    pub version: i32,
    /// The version of the rule that is now in force.
    pub rule_version: i32,
    /// SHA-256 of the canonical JSON of the new definition.
    pub definition_hash: B256,
    /// Who changed it.
    pub by: String,
}
campaign_event!(CampaignChanged, |event| format!("{}/{}", event.campaign, event.version));

/// A campaign went from one state to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignStateChanged {
    /// The campaign.
    pub campaign: CampaignId,
    /// The definition's version after the change.
    pub version: i32,
    /// The state it left.
    pub from: String,
    /// The state it entered.
    pub to: String,
    /// Who did it; `laurel` where no person did.
    pub by: String,
    /// SHA-256 of a salt and why they did it, if they said so. Their words are not in the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<B256>,
}
campaign_event!(CampaignStateChanged, |event| format!("{}/{}", event.campaign, event.version));

/// Players were put on a campaign's lists, or taken from them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignPlayersListed {
    /// The campaign.
    pub campaign: CampaignId,
    /// When.
    pub at: DateTime<Utc>,
    /// They may earn something, also where not everybody may.
    pub allow: Vec<PlayerId>,
    /// They may not.
    pub deny: Vec<PlayerId>,
    /// They are on no list any more.
    pub remove: Vec<PlayerId>,
    /// Who did it.
    pub by: String,
}
campaign_event!(CampaignPlayersListed, |event| format!("{}/{}", event.campaign, event.at.timestamp_micros()));

/// A moment of a campaign's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CampaignMoment {
    /// It begins.
    Begins,
    /// It has ended, and so has the time in which outcomes of it could still be reported.
    Ends,
}

impl fmt::Display for CampaignMoment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Begins => "begins",
            Self::Ends => "ends",
        })
    }
}

/// A moment of a campaign's window has come, as that was when the timer was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignDue {
    /// The campaign.
    pub campaign: CampaignId,
    /// Which moment.
    pub moment: CampaignMoment,
    /// When that is.
    pub at: DateTime<Utc>,
}
campaign_event!(CampaignDue, |event| format!(
    "{}/{}/{}",
    event.campaign,
    event.moment,
    event.at.timestamp_millis()
));

/// The vault holds a new cap for the campaign, in a final block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignFunded {
    /// The campaign.
    pub campaign: CampaignId,
    /// The chain.
    pub chain_id: u64,
    /// The vault.
    pub vault: Address,
    /// The token that the vault pays for it.
    pub token: Address,
    /// The whole cap, not the difference.
    pub cap: Amount,
    /// The transaction that set it.
    pub tx: B256,
    /// Its block.
    pub block_number: u64,
    /// The log's index in the block.
    pub log_index: u32,
}
campaign_event!(CampaignFunded, |event| format!(
    "{}/{}/{}",
    event.campaign, event.block_number, event.log_index
));

/// A final block burned places of the campaign: they will never be paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantsCancelled {
    /// The campaign.
    pub campaign: CampaignId,
    /// The chain.
    pub chain_id: u64,
    /// The vault.
    pub vault: Address,
    /// Which word of the campaign's bitmap: its first bit is sequence number 256 * word.
    #[serde(with = "crate::wide")]
    pub word: u64,
    /// The bits that were newly burned.
    pub mask: U256,
    /// The transaction that burned them.
    pub tx: B256,
    /// Its block.
    pub block_number: u64,
    /// The log's index in the block.
    pub log_index: u32,
}
campaign_event!(GrantsCancelled, |event| format!(
    "{}/{}/{}",
    event.campaign, event.block_number, event.log_index
));

/// A final block released the campaign: the vault will never pay anything of it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignReleased {
    /// The campaign.
    pub campaign: CampaignId,
    /// The chain.
    pub chain_id: u64,
    /// The vault.
    pub vault: Address,
    /// What was paid of it.
    pub spent: Amount,
    /// What its cap held beyond that.
    pub released: Amount,
    /// The transaction that released it.
    pub tx: B256,
    /// Its block.
    pub block_number: u64,
    /// The log's index in the block.
    pub log_index: u32,
}
campaign_event!(CampaignReleased, |event| event.campaign.to_string());

macro_rules! undoing_event {
    ($name:ident, |$event:ident| $key:expr) => {
        impl Payload for $name {
            const VERSION: i16 = 1;

            fn subject(&self) -> Subject {
                self.undone.subject()
            }

            fn key(&self) -> String {
                let $event = self;
                $key
            }
        }
    };
}

/// The chain took back the final block in which the vault had a new cap for the campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignFundingUndone {
    /// What is no more.
    pub undone: CampaignFunded,
}
undoing_event!(CampaignFundingUndone, |event| format!(
    "{}/{}/{}",
    event.undone.campaign, event.undone.block_number, event.undone.log_index
));

/// The chain took back the final block in which places of the campaign were burned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantsCancelUndone {
    /// What is no more.
    pub undone: GrantsCancelled,
}
undoing_event!(GrantsCancelUndone, |event| format!(
    "{}/{}/{}",
    event.undone.campaign, event.undone.block_number, event.undone.log_index
));

/// The chain took back the final block in which the campaign was released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignReleaseUndone {
    /// What is no more.
    pub undone: CampaignReleased,
}
undoing_event!(CampaignReleaseUndone, |event| event.undone.campaign.to_string());
