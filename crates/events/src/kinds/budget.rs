//! The campaign's money, as the ledger moved it.

use alloy_primitives::{Address, B256, U256};
use serde::{Deserialize, Serialize};

use crate::{Amount, BatchId, CampaignId, GrantId, Payload, Subject};

/// chain -> available: what a new cap in the vault adds to the campaign's budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetFunded {
    /// The campaign.
    pub campaign: CampaignId,
    /// What it adds.
    pub amount: Amount,
    /// The whole cap.
    pub cap: Amount,
    /// The transaction that set it.
    pub tx: B256,
    /// Its block.
    pub block_number: u64,
    /// The log's index in the block.
    pub log_index: u32,
}

impl Payload for BudgetFunded {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("campaign", self.campaign)
    }

    fn key(&self) -> String {
        format!("{}/{}/{}", self.campaign, self.block_number, self.log_index)
    }
}

/// available -> chain: the chain took back the block in which the vault had the cap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetUnfunded {
    /// The campaign.
    pub campaign: CampaignId,
    /// What it had added.
    pub amount: Amount,
    /// The transaction that had set it.
    pub tx: B256,
    /// Its block.
    pub block_number: u64,
    /// The log's index in the block.
    pub log_index: u32,
}

impl Payload for BudgetUnfunded {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("campaign", self.campaign)
    }

    fn key(&self) -> String {
        format!("{}/{}/{}", self.campaign, self.block_number, self.log_index)
    }
}

/// available -> reserved, for all grants of one decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetReserved {
    /// The campaign.
    pub campaign: CampaignId,
    /// The number of the first grant.
    pub first: u64,
    /// How many grants follow each other from there.
    pub grants: u32,
    /// Their sum.
    pub amount: Amount,
}

impl Payload for BudgetReserved {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("campaign", self.campaign)
    }

    fn key(&self) -> String {
        format!("{}/{}", self.campaign, self.first)
    }
}

/// reserved -> paid, for what one batch paid of one campaign in a final block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetPosted {
    /// The campaign.
    pub campaign: CampaignId,
    /// The batch.
    pub batch: BatchId,
    /// How many grants.
    pub grants: u32,
    /// Their sum.
    pub amount: Amount,
    /// The transaction that paid.
    pub tx: B256,
    /// What exactly it paid of this campaign.
    pub segments: Vec<PaidSegment>,
}

/// The grants of one segment that a settlement paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaidSegment {
    /// The first sequence number.
    pub first_seq: u64,
    /// The bits that were set, in bitmap words from `first_seq >> 8`.
    pub paid: Vec<U256>,
}

impl Payload for BudgetPosted {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("campaign", self.campaign)
    }

    fn key(&self) -> String {
        format!("{}/{}", self.campaign, self.batch)
    }
}

/// reserved -> available, for a grant that can no longer be paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetReleased {
    /// The grant.
    pub grant: GrantId,
    /// What was held for it.
    pub amount: Amount,
}

impl Payload for BudgetReleased {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("campaign", self.grant.campaign)
    }

    fn key(&self) -> String {
        self.grant.to_string()
    }
}

/// paid -> reserved: the chain took back what a batch had paid of a campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetUnposted {
    /// The campaign.
    pub campaign: CampaignId,
    /// The batch.
    pub batch: BatchId,
    /// How many grants.
    pub grants: u32,
    /// Their sum.
    pub amount: Amount,
    /// The transaction that had paid.
    pub tx: B256,
    /// What exactly it had paid of this campaign.
    pub segments: Vec<PaidSegment>,
}

impl Payload for BudgetUnposted {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("campaign", self.campaign)
    }

    fn key(&self) -> String {
        format!("{}/{}/{}", self.campaign, self.batch, self.tx)
    }
}

/// available -> reserved: the chain took back what had proven that a grant can no longer be paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetReheld {
    /// The grant.
    pub grant: GrantId,
    /// What is held for it again.
    pub amount: Amount,
}

impl Payload for BudgetReheld {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("campaign", self.grant.campaign)
    }

    fn key(&self) -> String {
        self.grant.to_string()
    }
}

/// available -> returned: the vault released the campaign, and nothing of it is held any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetReturned {
    /// The campaign.
    pub campaign: CampaignId,
    /// What was left.
    pub amount: Amount,
    /// The transaction that released it.
    pub tx: B256,
}

impl Payload for BudgetReturned {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("campaign", self.campaign)
    }

    fn key(&self) -> String {
        format!("{}/{}", self.campaign, self.tx)
    }
}

/// returned -> available: the chain took back the block in which the vault had released the campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetReclaimed {
    /// The campaign.
    pub campaign: CampaignId,
    /// What is available again, unless it covers what is overdrawn.
    pub amount: Amount,
    /// The transaction that had released it.
    pub tx: B256,
}

impl Payload for BudgetReclaimed {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("campaign", self.campaign)
    }

    fn key(&self) -> String {
        format!("{}/{}", self.campaign, self.tx)
    }
}

/// What was returned has left the vault, in a final block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetWithdrawn {
    /// The campaign.
    pub campaign: CampaignId,
    /// How much.
    pub amount: Amount,
    /// Who has it now.
    pub to: Address,
    /// The transaction; none where there was nothing to withdraw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx: Option<B256>,
}

impl Payload for BudgetWithdrawn {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("campaign", self.campaign)
    }

    fn key(&self) -> String {
        self.campaign.to_string()
    }
}

/// A campaign has granted so much of its cap, for the first time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetNoticed {
    /// The campaign.
    pub campaign: CampaignId,
    /// How much of it, at least.
    pub percent: u8,
    /// The cap at that moment.
    pub cap: Amount,
    /// What was held or paid of it.
    pub granted: Amount,
}

impl Payload for BudgetNoticed {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("campaign", self.campaign)
    }

    fn key(&self) -> String {
        format!("{}/{}/{}", self.campaign, self.cap, self.percent)
    }
}
