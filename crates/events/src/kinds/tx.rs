//! Transactions: what we signed, and what the chain made of it.

use alloy_primitives::{Address, B256, U256};
use serde::{Deserialize, Serialize};

use crate::{Amount, AttemptId, BatchId, CampaignId, LaneId, Payload, Subject};

/// A run of sequence numbers of one campaign inside a settlement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRef {
    /// The campaign.
    pub campaign: CampaignId,
    /// The first sequence number.
    pub first_seq: u64,
    /// How many words follow each other from there, holes included.
    pub count: u32,
    /// The sum of their amounts.
    pub total: Amount,
    /// keccak256 of the words, 32 bytes each.
    pub words_hash: B256,
    /// The sequence numbers among them whose words are zero: their grants are not in this batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holes: Vec<u64>,
}

impl SegmentRef {
    /// Whether the place is in it, and no hole.
    pub fn settles(&self, seq: u64) -> bool {
        (self.first_seq..self.first_seq.saturating_add(self.count.into())).contains(&seq)
            && !self.holes.contains(&seq)
    }
}

/// A place that a transaction is to burn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelRef {
    /// The campaign.
    pub campaign: CampaignId,
    /// The sequence number.
    pub seq: u64,
}

/// A batch was signed and may be broadcast: nonce, segments, bytes and deadline are committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockchainTxSubmitted {
    /// The batch.
    pub batch: BatchId,
    /// Its first attempt.
    pub attempt: AttemptId,
    /// The lane.
    pub lane: LaneId,
    /// The chain.
    pub chain_id: u64,
    /// The vault.
    pub vault: Address,
    /// The lane's nonce.
    pub nonce: u64,
    /// The transaction's hash.
    pub tx: B256,
    /// The block time, in seconds since 1970, after which the vault refuses it.
    pub deadline: u64,
    /// What it settles.
    pub segments: Vec<SegmentRef>,
    /// What it burns instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancels: Option<CancelRef>,
}

impl Payload for BlockchainTxSubmitted {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("lane", self.lane)
    }

    fn key(&self) -> String {
        self.batch.to_string()
    }
}

/// Another attempt of the same nonce was signed, with higher fees: the same segments, or none, so that the nonce is used
/// and its grants go again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockchainTxReplaced {
    /// The batch.
    pub batch: BatchId,
    /// The new attempt.
    pub attempt: AttemptId,
    /// The lane.
    pub lane: LaneId,
    /// The new transaction's hash.
    pub tx: B256,
    /// The hash of the attempt that it outbids.
    pub replaces: B256,
    /// Whether it settles nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty: bool,
}

impl Payload for BlockchainTxReplaced {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("lane", self.lane)
    }

    fn key(&self) -> String {
        self.attempt.to_string()
    }
}

/// Where a transaction is, as the watcher saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The chain.
    pub chain_id: u64,
    /// The vault.
    pub vault: Address,
    /// The watcher's own number of the change that it saw: a head that flips is as many facts as flips.
    pub transition: u64,
    /// The transaction.
    pub tx: B256,
    /// Our batch, if it is one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchId>,
    /// The block's number.
    pub block_number: u64,
    /// The block's hash.
    pub block_hash: B256,
}

macro_rules! sighting_event {
    ($name:ident) => {
        impl Payload for $name {
            const VERSION: i16 = 1;

            fn subject(&self) -> Subject {
                Subject::new("tx", self.sighting.tx)
            }

            fn key(&self) -> String {
                format!("{}/{}/{}", self.sighting.chain_id, self.sighting.transition, self.sighting.tx)
            }
        }
    };
}

/// A transaction is in a block of the canonical chain, which may yet be reorganised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockchainTxMined {
    /// Which, and where.
    pub sighting: Sighting,
}
sighting_event!(BlockchainTxMined);

/// The block of a mined transaction left the canonical chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockchainTxReorged {
    /// Which, and where it was.
    pub sighting: Sighting,
}
sighting_event!(BlockchainTxReorged);

/// What a settlement's log says of one segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledSegment {
    /// The log's index in its block: two segments of a settlement may begin at the same sequence number.
    pub log_index: u32,
    /// The campaign.
    pub campaign: CampaignId,
    /// The first sequence number.
    #[serde(with = "crate::wide")]
    pub first_seq: u64,
    /// How many grants were paid.
    pub count: u32,
    /// Their sum.
    pub total: Amount,
    /// keccak256 of the segment's words.
    pub words_hash: B256,
    /// The bits that were set, in bitmap words from `first_seq >> 8`.
    pub paid: Vec<U256>,
}

/// A settlement succeeded in a final block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockchainTxConfirmed {
    /// Which, and where.
    pub sighting: Sighting,
    /// What it used.
    pub gas_used: u64,
    /// What a unit of gas cost, in wei.
    pub effective_gas_price: Amount,
    /// What it paid.
    pub segments: Vec<SettledSegment>,
}
sighting_event!(BlockchainTxConfirmed);

/// A final block used the nonce of a batch and did not settle it: the transaction failed, or it was another than the
/// batch's settlement. Its grants are not paid and go again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockchainTxReverted {
    /// Which, and where.
    pub sighting: Sighting,
    /// What it used.
    pub gas_used: u64,
    /// What a unit of gas cost, in wei.
    pub effective_gas_price: Amount,
}
sighting_event!(BlockchainTxReverted);

/// The chain took back a final block: what a transaction was told to have done there is undone. A batch is under way again, and
/// what it paid is paid no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockchainTxUndone {
    /// Which, and where it was.
    pub sighting: Sighting,
    /// What it had paid.
    pub segments: Vec<SettledSegment>,
}
sighting_event!(BlockchainTxUndone);
