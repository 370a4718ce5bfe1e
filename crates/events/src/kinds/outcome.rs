//! What happened in a game, and what a campaign made of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Attribute, CampaignId, OrgId, OutcomeKey, Payload, PlayerId, Subject};

/// A game server reported how a game ended for one player.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GameOutcomeRecorded {
    /// The organisation whose campaigns it may meet.
    pub org: OrgId,
    /// The game server that reported it.
    pub issuer: String,
    /// The outcome's natural key.
    pub outcome: OutcomeKey,
    /// The issuer's own id of the outcome.
    pub outcome_id: String,
    /// The game.
    pub game: String,
    /// The player.
    pub player: PlayerId,
    /// Points, 0 to 2^53 - 1.
    pub score: u64,
    /// The place, 1 being the first, where the game has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// What else the game says, for rules.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, Attribute>,
}

impl Payload for GameOutcomeRecorded {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("player", self.player)
    }

    fn key(&self) -> String {
        self.outcome.to_string()
    }
}

/// A campaign met an outcome and grants nothing for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RewardDeclined {
    /// The campaign.
    pub campaign: CampaignId,
    /// The outcome.
    pub outcome: OutcomeKey,
    /// The player.
    pub player: PlayerId,
    /// A stable code.
    pub reason: String,
}

impl Payload for RewardDeclined {
    const VERSION: i16 = 1;

    fn subject(&self) -> Subject {
        Subject::new("campaign", self.campaign)
    }

    fn key(&self) -> String {
        format!("{}/{}", self.campaign, self.outcome)
    }
}
