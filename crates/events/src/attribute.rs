//! What a game may say of an outcome beyond its score.

use serde::{Deserialize, Serialize};

/// A scalar attribute of an outcome: text, a whole number or a yes/no. Never a float.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Attribute {
    /// Yes or no.
    Bool(bool),
    /// A whole number within ±(2^53 - 1), which JSON carries exactly.
    Int(i64),
    /// A short text that names no person.
    Text(String),
}
