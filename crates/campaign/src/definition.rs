//! What a manager says of a campaign.

use std::ops::RangeInclusive;

use alloy_primitives::{Address, B256};
use chrono::{DateTime, Datelike, Utc};
use laurel_events::{Amount, canonical_json};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    Caps, Windows,
    counters::Kept,
    reward::Reward,
    rule::{Rule, RuleError},
};

/// The longest name of a campaign, in characters.
pub const CAMPAIGN_NAME_MAX: usize = 120;

/// The longest name of a game, in bytes.
pub const GAME_NAME_MAX: usize = 64;

/// The most games that one campaign rewards.
pub const GAMES_MAX: usize = 100;

/// The longest time that a player may be given to link a wallet: a year.
const WALLET_DEADLINE_HOURS_MAX: u32 = 366 * 24;

/// The years of a window. Earlier nobody played here; later has more than four digits, which RFC 3339 does not write.
const YEARS: RangeInclusive<i32> = 1970..=9999;

/// A campaign's definition, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// What people call it.
    pub name: String,
    /// The chain it pays on.
    pub chain_id: u64,
    /// The token it pays.
    pub token: Address,
    /// The games whose outcomes it meets.
    pub games: Vec<String>,
    /// The source of its rule.
    pub rule: String,
    /// What an accepted outcome earns.
    pub reward: Reward,
    /// What one player may get at most.
    pub caps: Caps,
    /// Outcomes that occurred before are declined.
    pub starts_at: Option<DateTime<Utc>>,
    /// Outcomes that occurred then or later are declined.
    pub ends_at: Option<DateTime<Utc>>,
    /// Within that, outcomes that occurred while none of these was open are declined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<Windows>,
    /// Whether only players may earn something whom its list allows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_allowed: bool,
    /// How long a player has to link a wallet.
    pub wallet_deadline_hours: u32,
}

/// What is wrong with a definition.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// A field is out of its bounds.
    #[error("{field}: {problem}")]
    Field {
        /// The field.
        field: String,
        /// What it must be.
        problem: String,
    },
    /// The rule does not compile.
    #[error("rule: {0}")]
    Rule(#[from] RuleError),
}

impl DefinitionError {
    /// The field that is wrong; inside others, with their names before it: `caps.amount_per_player`.
    pub fn field(&self) -> &str {
        match self {
            Self::Field { field, .. } => field,
            Self::Rule(_) => "rule",
        }
    }

    pub(crate) fn of(field: impl Into<String>, problem: String) -> Self {
        Self::Field { field: field.into(), problem }
    }
}

impl Definition {
    /// Checks everything that can be checked without the chain, and compiles the rule.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<Rule, DefinitionError> {
        let refuse = |field: &str, problem| Err(DefinitionError::of(field, problem));
        let plain = |text: &str| !text.trim().is_empty() && !text.chars().any(char::is_control);
        if !plain(&self.name) || self.name.chars().count() > CAMPAIGN_NAME_MAX {
            return refuse(
                "name",
                format!("1 to {CAMPAIGN_NAME_MAX} characters, none of them a control character"),
            );
        }
        if self.token.is_zero() {
            return refuse("token", "the zero address is no token".to_owned());
        }
        if self.games.is_empty() || self.games.len() > GAMES_MAX {
            return refuse("games", format!("1 to {GAMES_MAX} games"));
        }
        if let Some(bad) = self.games.iter().position(|game| !plain(game) || game.len() > GAME_NAME_MAX) {
            return refuse(
                &format!("games.{bad}"),
                format!("a game's name has 1 to {GAME_NAME_MAX} bytes, no control characters"),
            );
        }
        for (field, time) in [("starts_at", self.starts_at), ("ends_at", self.ends_at)] {
            if time.is_some_and(|time| !YEARS.contains(&time.year())) {
                return refuse(field, format!("a year from {} to {}", YEARS.start(), YEARS.end()));
            }
        }
        if self.starts_at.zip(self.ends_at).is_some_and(|(starts, ends)| starts >= ends) {
            return refuse("ends_at", "must be after starts_at".to_owned());
        }
        if let Some(windows) = &self.windows {
            // From the beginning of the campaign's time: whether there is one at all does not depend on the day.
            let checked = windows.check(self.starts_at.unwrap_or(DateTime::UNIX_EPOCH));
            checked.map_err(|(field, problem)| DefinitionError::of(format!("windows.{field}"), problem))?;
        }
        if !(1..=WALLET_DEADLINE_HOURS_MAX).contains(&self.wallet_deadline_hours) {
            return refuse("wallet_deadline_hours", format!("1 to {WALLET_DEADLINE_HOURS_MAX}"));
        }
        if self.rule.contains('\0') {
            return refuse("rule", "holds a NUL, which no outcome has and no database keeps".to_owned());
        }
        self.check_caps()?;
        Ok(Rule::compile(&self.rule)?)
    }

    fn check_caps(&self) -> Result<(), DefinitionError> {
        let caps = &self.caps;
        let none = |cap: Option<u64>| cap.is_some_and(|cap| cap == 0 || i64::try_from(cap).is_err());
        let nothing = |cap: Option<Amount>| cap == Some(Amount::ZERO);
        let wrong = [
            ("grants_per_player", none(caps.grants_per_player)),
            ("grants_per_player_per_day", none(caps.grants_per_player_per_day)),
            ("amount_per_player", nothing(caps.amount_per_player)),
            ("amount_per_player_per_day", nothing(caps.amount_per_player_per_day)),
        ];
        match wrong.into_iter().find(|(_, wrong)| *wrong) {
            Some((cap, _)) => Err(DefinitionError::of(
                format!("caps.{cap}"),
                "a cap is at least 1; leave it out for no cap".to_owned(),
            )),
            None => Ok(()),
        }
    }

    /// The counters that it needs.
    pub(crate) fn kept(&self) -> Result<Kept, DefinitionError> {
        Ok(Kept::of(&self.caps, &Rule::compile(&self.rule)?))
    }

    /// SHA-256 of the definition's canonical JSON: what the journal keeps of it.
    pub(crate) fn hash(&self) -> B256 {
        let json = canonical_json(self).expect("a definition has string keys and whole numbers only");
        B256::new(Sha256::digest(json).into())
    }
}
