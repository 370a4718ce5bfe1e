//! What operators have to know.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Payload, Subject};

/// Something needs an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorAlertRaised {
    /// A stable code; the runbook has an entry for it.
    pub code: String,
    /// What it is about, such as `campaign:7` or `lane:1`.
    pub about: String,
    /// What was seen.
    pub detail: String,
}

impl Payload for OperatorAlertRaised {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("alert", format_args!("{}/{}", self.code, self.about))
    }

    fn key(&self) -> String {
        format!("{}/{}", self.code, self.about)
    }
}

/// An alert's cause is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorAlertCleared {
    /// The alert's code.
    pub code: String,
    /// What it was about.
    pub about: String,
}

impl Payload for OperatorAlertCleared {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("alert", format_args!("{}/{}", self.code, self.about))
    }

    fn key(&self) -> String {
        format!("{}/{}", self.code, self.about)
    }
}

/// A database that was not the one we left was compared with the chain: what the chain had paid is booked, and places go on
/// beyond those that it has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryPerformed {
    /// The name of the time from now on.
    pub epoch: Uuid,
    /// Why it was needed.
    pub reason: String,
    /// How many settlements of our lanes were not known.
    pub settlements: u64,
    /// How many grants these had paid.
    pub adopted: u64,
    /// How many payments wait for grants that are lost.
    pub orphans: u64,
    /// How many logs of payments nobody can explain.
    pub unexplained: u64,
}

impl Payload for RecoveryPerformed {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("recovery", self.epoch)
    }

    fn key(&self) -> String {
        self.epoch.to_string()
    }
}

/// An operator had the ledger follow a chain that contradicts what was final: what it took back is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainRebased {
    /// Its name.
    pub rebase: Uuid,
    /// The chain.
    pub chain_id: u64,
    /// Why the chain was halted.
    pub reason: String,
    /// The last block that was final.
    pub from_number: u64,
    /// Its hash.
    pub from_hash: B256,
    /// The last one that the chain still has.
    pub to_number: u64,
    /// Its hash.
    pub to_hash: B256,
    /// How many facts of final blocks are undone.
    pub undone: u64,
}

impl Payload for ChainRebased {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("chain", self.chain_id)
    }

    fn key(&self) -> String {
        self.rebase.to_string()
    }
}
