//! A campaign's life.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Where a campaign is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CampaignState {
    /// It meets no outcomes yet.
    Draft,
    /// It becomes active when its window begins.
    Scheduled,
    /// It grants.
    Active,
    /// It meets outcomes and declines them.
    Paused,
    /// It meets no outcomes any more; grants under way are still paid.
    Ended,
    /// The vault is to release what it does not pay.
    Closing,
    /// The vault has released it, and the books have given back what was left.
    Closed,
    /// It was a draft, and nothing came of it.
    Deleted,
}

/// What can be done to a campaign's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// draft -> scheduled
    Schedule,
    /// scheduled -> draft
    Unschedule,
    /// draft or scheduled -> active
    Activate,
    /// active -> paused
    Pause,
    /// paused -> active
    Resume,
    /// whatever was begun, or has money -> ended
    End,
    /// ended -> closing
    Close,
    /// ended or closing -> closed, by what the chain says
    Settle,
    /// closed -> closing, by what the chain took back
    Reopen,
    /// draft -> deleted
    Delete,
}

/// A move that the state does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a campaign that is {from} cannot {action}")]
pub struct IllegalTransition {
    /// The state.
    pub from: CampaignState,
    /// The move.
    pub action: Move,
}

impl CampaignState {
    /// All states.
    pub const ALL: [Self; 8] = [
        Self::Draft,
        Self::Scheduled,
        Self::Active,
        Self::Paused,
        Self::Ended,
        Self::Closing,
        Self::Closed,
        Self::Deleted,
    ];

    /// The name that the database stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Scheduled => "scheduled",
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Ended => "ended",
            Self::Closing => "closing",
            Self::Closed => "closed",
            Self::Deleted => "deleted",
        }
    }

    /// Whether outcomes are decided by it, now or later.
    pub const fn is_under_way(self) -> bool {
        matches!(self, Self::Scheduled | Self::Active | Self::Paused)
    }

    /// Whether nothing will be granted any more.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::Closing | Self::Closed | Self::Deleted)
    }

    /// The state after `action`.
    ///
    /// # Errors
    /// If the state does not allow it.
    pub const fn apply(self, action: Move) -> Result<Self, IllegalTransition> {
        match (self, action) {
            (Self::Draft, Move::Schedule) => Ok(Self::Scheduled),
            (Self::Scheduled, Move::Unschedule) => Ok(Self::Draft),
            (Self::Draft | Self::Scheduled, Move::Activate) | (Self::Paused, Move::Resume) => {
                Ok(Self::Active)
            }
            (Self::Active, Move::Pause) => Ok(Self::Paused),
            (Self::Draft | Self::Scheduled | Self::Active | Self::Paused, Move::End) => Ok(Self::Ended),
            (Self::Ended, Move::Close) | (Self::Closed, Move::Reopen) => Ok(Self::Closing),
            (Self::Ended | Self::Closing, Move::Settle) => Ok(Self::Closed),
            (Self::Draft, Move::Delete) => Ok(Self::Deleted),
            (from, action) => Err(IllegalTransition { from, action }),
        }
    }
}

impl fmt::Display for CampaignState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CampaignState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(())
    }
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Schedule => "be scheduled",
            Self::Unschedule => "be taken from the schedule",
            Self::Activate => "be activated",
            Self::Pause => "be paused",
            Self::Resume => "be resumed",
            Self::End => "be ended",
            Self::Close => "be closed",
            Self::Settle => "be settled",
            Self::Reopen => "be reopened",
            Self::Delete => "be deleted",
        })
    }
}
