//! What a rule reads.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use laurel_events::{Amount, Attribute};

/// An outcome and its player, as a rule sees them.
#[derive(Clone, Copy, Debug)]
pub struct RuleInput<'a> {
    /// How the game ended.
    pub outcome: OutcomeFacts<'a>,
    /// What the campaign granted the player so far.
    pub player: PlayerFacts,
}

/// How a game ended for a player.
#[derive(Clone, Copy, Debug)]
pub struct OutcomeFacts<'a> {
    /// Points, 0 to 2^53 - 1.
    pub score: u64,
    /// The place, 1 being the first, where the game has one.
    pub rank: Option<u32>,
    /// The game.
    pub game: &'a str,
    /// What else the game says.
    pub attributes: &'a BTreeMap<String, Attribute>,
    /// When it happened, as the game server says.
    pub occurred_at: DateTime<Utc>,
}

/// What the campaign granted a player so far.
#[derive(Clone, Copy, Debug)]
pub struct PlayerFacts {
    /// How many grants.
    pub grants: u64,
    /// Their sum in base units.
    pub amount: Amount,
}
