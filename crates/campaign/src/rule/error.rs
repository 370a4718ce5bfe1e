//! Why a source is not a rule.

use super::{Kind, Position, limits};

/// Why a source is not a rule, where, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's message is its documentation")]
pub enum RuleError {
    #[error(
        "a rule is at most {} bytes long, this one has {bytes}; split it over several campaigns",
        limits::SOURCE_BYTES_MAX
    )]
    TooLong { bytes: usize },
    #[error(
        "a rule has at most {} operators, dots and brackets, this one has {operators}; `x in [a, b]` needs fewer than `x == a || x == b`",
        limits::OPERATORS_MAX
    )]
    TooManyOperators { operators: usize },
    #[error("{at}: not a CEL expression: {message}")]
    Syntax { at: Position, message: String },
    #[error(
        "{at}: nested too deep; at most {} levels of brackets and {} of operators",
        limits::NESTING_MAX,
        limits::DEPTH_MAX
    )]
    TooDeep { at: Position },
    #[error("{at}: a rule has at most {} parts and this is one too many", limits::NODES_MAX)]
    TooManyNodes { at: Position },
    #[error("{at}: there is no `{name}`; a rule reads `outcome` and `player`")]
    UnknownName { at: Position, name: String },
    #[error("{at}: {of} has no field `{name}`; it has {known}")]
    UnknownField { at: Position, of: Kind, name: String, known: &'static str },
    #[error("{at}: there is no function `{name}`; the rule language has {known}")]
    UnknownFunction { at: Position, name: String, known: &'static str },
    #[error("{at}: a rule cannot use {what}; {instead}")]
    NotAllowed { at: Position, what: &'static str, instead: &'static str },
    #[error("{at}: `{operator}` does not take {left} and {right}{hint}")]
    Operands { at: Position, operator: &'static str, left: Kind, right: Kind, hint: &'static str },
    #[error("{at}: {found} stands where {expected} is needed")]
    WrongKind { at: Position, expected: Kind, found: Kind },
    #[error("the whole rule is {found}; it must be a bool, such as `{}`", example(*found))]
    NotBool { found: Kind },
    #[error("{at}: `{name}` is written {usage}")]
    WrongArguments { at: Position, name: String, usage: &'static str },
    #[error("{at}: {value:?} is no {what}; write {usage}")]
    BadLiteral { at: Position, what: &'static str, value: String, usage: &'static str },
    #[error("{at}: the pattern is refused: {reason}")]
    BadPattern { at: Position, reason: String },
    #[error("{at}: {first} and {other} in one list or map; all must be of one type")]
    MixedItems { at: Position, first: Kind, other: Kind },
    #[error("{at}: a list or map has at most {} items, this one has {items}", limits::ITEMS_MAX)]
    TooManyItems { at: Position, items: usize },
    #[error("{at}: the key is in the map twice")]
    DuplicateKey { at: Position },
    #[error(
        "{at}: `{name}` inside another `all`, `exists`, `exists_one`, `filter` or `map`, or on its result; use one at a time"
    )]
    NestedMacro { at: Position, name: String },
    #[error("{at}: `{name}` is taken; choose another name for the item, such as `x`")]
    Shadowing { at: Position, name: String },
    #[error(
        "the rule may take {cost} steps on the largest outcome, {} are allowed; shorten its lists or use fewer patterns",
        limits::COST_MAX
    )]
    TooExpensive { cost: u32 },
}

impl RuleError {
    /// Where the source is wrong, unless it is wrong as a whole.
    pub const fn at(&self) -> Option<Position> {
        match self {
            Self::TooLong { .. }
            | Self::TooManyOperators { .. }
            | Self::NotBool { .. }
            | Self::TooExpensive { .. } => None,
            Self::Syntax { at, .. }
            | Self::TooDeep { at }
            | Self::TooManyNodes { at }
            | Self::UnknownName { at, .. }
            | Self::UnknownField { at, .. }
            | Self::UnknownFunction { at, .. }
            | Self::NotAllowed { at, .. }
            | Self::Operands { at, .. }
            | Self::WrongKind { at, .. }
            | Self::WrongArguments { at, .. }
            | Self::BadLiteral { at, .. }
            | Self::BadPattern { at, .. }
            | Self::MixedItems { at, .. }
            | Self::TooManyItems { at, .. }
            | Self::DuplicateKey { at }
            | Self::NestedMacro { at, .. }
            | Self::Shadowing { at, .. } => Some(*at),
        }
    }
}

/// A bool that begins with something of `found` kind.
const fn example(found: Kind) -> &'static str {
    match found {
        Kind::Attribute => "outcome.attributes.vip == true",
        _ => "outcome.score >= 100",
    }
}
