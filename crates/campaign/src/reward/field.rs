//! What a `per_unit` reward is counted by.

use std::{fmt, str::FromStr};

use laurel_events::Attribute;
use serde::{Deserialize, Serialize};

use super::{NoReward, RewardError};
use crate::rule::{RuleInput, limits::TEXT_BYTES_MAX};

const ATTRIBUTES: &str = "attributes.";

/// The whole number that a `per_unit` reward is counted by: `score` or `attributes.NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RewardField(Source);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Score,
    Attribute(String),
}

impl RewardField {
    /// The field's value in the outcome; a negative one counts as zero.
    pub(super) fn units(&self, input: &RuleInput<'_>) -> Result<u64, NoReward> {
        match &self.0 {
            Source::Score => Ok(input.outcome.score),
            Source::Attribute(name) => match input.outcome.attributes.get(name) {
                None => Err(NoReward::FieldMissing),
                Some(Attribute::Int(number)) => Ok(u64::try_from(*number).unwrap_or(0)),
                Some(Attribute::Bool(_) | Attribute::Text(_)) => Err(NoReward::FieldType),
            },
        }
    }
}

impl FromStr for RewardField {
    type Err = RewardError;

    fn from_str(text: &str) -> Result<Self, RewardError> {
        match text.strip_prefix(ATTRIBUTES) {
            None if text == "score" => Ok(Self(Source::Score)),
            // No outcome has an attribute whose name holds a control character.
            Some(name)
                if (1..=TEXT_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control) =>
            {
                Ok(Self(Source::Attribute(name.to_owned())))
            }
            _ => Err(RewardError::UnknownField { field: text.chars().take(80).collect() }),
        }
    }
}

impl fmt::Display for RewardField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Score => f.write_str("score"),
            Source::Attribute(name) => write!(f, "{ATTRIBUTES}{name}"),
        }
    }
}

impl TryFrom<String> for RewardField {
    type Error = RewardError;

    fn try_from(text: String) -> Result<Self, RewardError> {
        text.parse()
    }
}

impl From<RewardField> for String {
    fn from(field: RewardField) -> Self {
        field.to_string()
    }
}
