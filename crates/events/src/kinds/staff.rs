//! What people who work here did, and what they read of players.
//!
//! Who it was, from where, and what was before and after are free text and addresses of people's machines: they stand in a table that
//! can be erased. The journal has a salted hash of them, so that nobody can change them unseen.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{OrgId, Payload, Subject};

macro_rules! staff_event {
    ($name:ident) => {
        impl Payload for $name {
            const VERSION: i16 = 1;

            fn subject(&self) -> Subject {
                self.about.clone()
            }

            fn key(&self) -> String {
                self.id.to_string()
            }
        }
    };
}

/// Somebody who works here changed something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaffActed {
    /// The record of the audit log.
    pub id: Uuid,
    /// The organisation for which it was done; none where it is for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<OrgId>,
    /// What was done: the operation of the interface, or the command.
    pub action: String,
    /// What it was done to, as `campaign:7`.
    pub about: Subject,
    /// SHA-256 of the record's salt and content.
    pub commitment: B256,
}
staff_event!(StaffActed);

/// Somebody who works here read what is known of players.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonalDataRead {
    /// The record of the audit log.
    pub id: Uuid,
    /// The organisation whose players they are.
    pub org: OrgId,
    /// What was asked: the operation of the interface.
    pub action: String,
    /// Of whom, as `player:…`; where nobody in particular was asked for, the campaign or the organisation.
    pub about: Subject,
    /// SHA-256 of the record's salt and content.
    pub commitment: B256,
}
staff_event!(PersonalDataRead);
