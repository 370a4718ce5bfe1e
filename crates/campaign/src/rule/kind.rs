//! The types of the rule language.

use std::fmt;

/// The type of an expression, as far as it is known before the rule runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Yes or no.
    Bool,
    /// A whole number of 64 bits.
    Int,
    /// Unicode text.
    String,
    /// A point in time.
    Timestamp,
    /// A length of time.
    Duration,
    /// Base units of a token, up to 2^256 - 1.
    Amount,
    /// An attribute's value: a bool, an int or a string, known only when the rule runs.
    Attribute,
    /// A list of scalars.
    List,
    /// `outcome.attributes` as a whole.
    Attributes,
    /// A map literal.
    Table,
    /// `outcome` itself.
    Outcome,
    /// `player` itself.
    Player,
}

impl Kind {
    /// Whether a value of this kind can be used where `expected` is asked for, at the latest when the rule runs.
    pub(super) fn fits(self, expected: Self) -> bool {
        self == expected || (self == Self::Attribute && expected.is_attribute())
    }

    /// What values of both kinds have in common, if they can stand side by side in a list or a comparison.
    pub(super) fn join(self, other: Self) -> Option<Self> {
        match (self, other) {
            _ if !self.is_scalar() || !other.is_scalar() => None,
            _ if self == other => Some(self),
            (Self::Attribute, _) if other.is_attribute() => Some(Self::Attribute),
            (_, Self::Attribute) if self.is_attribute() => Some(Self::Attribute),
            _ => None,
        }
    }

    /// Whether a map literal can have keys of this kind.
    pub(super) const fn fits_key(self) -> bool {
        matches!(self, Self::Bool | Self::Int | Self::String)
    }

    fn is_attribute(self) -> bool {
        self.fits_key() || self == Self::Attribute
    }

    fn is_scalar(self) -> bool {
        self.is_attribute() || matches!(self, Self::Timestamp | Self::Duration | Self::Amount)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "a bool",
            Self::Int => "an int",
            Self::String => "a string",
            Self::Timestamp => "a timestamp",
            Self::Duration => "a duration",
            Self::Amount => "an amount",
            Self::Attribute => "an attribute",
            Self::List => "a list",
            Self::Attributes => "the attributes",
            Self::Table => "a map",
            Self::Outcome => "the outcome",
            Self::Player => "the player",
        })
    }
}
