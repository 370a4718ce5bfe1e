//! Why a rule has no answer for an outcome.

use super::Position;

/// A rule met an outcome that it has no answer for; the outcome is declined with [`RuleFault::code`].
///
/// The same rule and input always give the same fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {kind}")]
pub struct RuleFault {
    /// What is wrong.
    pub kind: FaultKind,
    /// The part of the rule that met it.
    pub at: Position,
}

/// What an outcome lacked, or which calculation has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// The outcome has no rank.
    #[error("the outcome has no rank; ask has(outcome.rank) first")]
    RankMissing,
    /// The outcome does not have the attribute.
    #[error("the outcome lacks the attribute; ask has(outcome.attributes.NAME) first")]
    AttributeMissing,
    /// An attribute is not of the type that the rule needs.
    #[error("the attribute is not of the type that the rule needs here")]
    AttributeType,
    /// A number left 64 bits, or a time the years 1 to 9999.
    #[error("the result is out of range")]
    Overflow,
    /// A division or remainder by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// A list has no item at the index.
    #[error("the list has no item at this index; the first one is 0")]
    IndexOutOfRange,
    /// A map literal lacks the key.
    #[error("the map has no such key; ask KEY in MAP first")]
    KeyMissing,
    /// The outcome has more or longer attributes than intake accepts.
    #[error("the outcome's attributes are more or longer than a rule reads")]
    InputTooLarge,
}

impl RuleFault {
    /// The reason that the declined outcome keeps. These never change.
    pub const fn code(self) -> &'static str {
        match self.kind {
            FaultKind::RankMissing => "rule_rank_missing",
            FaultKind::AttributeMissing => "rule_attribute_missing",
            FaultKind::AttributeType => "rule_attribute_type",
            FaultKind::Overflow => "rule_overflow",
            FaultKind::DivisionByZero => "rule_division_by_zero",
            FaultKind::IndexOutOfRange => "rule_index_out_of_range",
            FaultKind::KeyMissing => "rule_key_missing",
            FaultKind::InputTooLarge => "rule_input_too_large",
        }
    }
}
