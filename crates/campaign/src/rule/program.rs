//! A checked rule, ready to run: every name is resolved and every type settled, but for the attributes'.

use super::{Position, pattern::Pattern};
use chrono::{DateTime, TimeDelta, Utc};
use laurel_events::Amount;

/// A part of a rule that gives one value.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) op: Op,
    pub(super) at: Position,
}

/// What a part of a rule does.
#[derive(Debug)]
pub(super) enum Op {
    Constant(Constant),
    Read(Field),
    RankPresent,
    Attribute(Box<Node>),
    AttributePresent(Box<Node>),
    AttributeCount,
    Item,
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    If(Box<[Node; 3]>),
    Compare(Comparison, Box<Node>, Box<Node>),
    Calculate(Calculation, Box<Node>, Box<Node>),
    InList(Box<Node>, List),
    InTable(Box<Node>, Table),
    ItemAt(List, Box<Node>),
    Lookup(Table, Box<Node>),
    StringSize(Box<Node>),
    ListSize(List),
    Search(Search, Box<Node>, Box<Node>),
    Matches(Box<Node>, Box<Pattern>),
    Calendar(Calendar, Box<Node>),
    Quantify(Quantifier, List, Box<Node>),
}

/// A part of a rule that gives a list.
#[derive(Debug)]
pub(super) enum List {
    Items(Vec<Node>),
    AttributeNames(Position),
    /// The items that `keep` accepts, each turned into what `to` makes of it.
    Picked {
        range: Box<List>,
        keep: Option<Box<Node>>,
        to: Option<Box<Node>>,
    },
    If(Box<Node>, Box<[List; 2]>),
}

/// A map literal: constants by constants.
pub(super) type Table = Vec<(Constant, Constant)>;

/// A value that is written in the rule.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Constant {
    Bool(bool),
    Int(i64),
    Text(Box<str>),
    Time(DateTime<Utc>),
    Span(TimeDelta),
    Amount(Amount),
}

/// A value that is read from the input.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    Score,
    Rank,
    Game,
    OccurredAt,
    Grants,
    Amount,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    AtMost,
    More,
    AtLeast,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Calculation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Search {
    Contains,
    StartsWith,
    EndsWith,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Quantifier {
    All,
    Exists,
    ExistsOne,
}

/// A part of a date or time of day, in UTC.
#[derive(Clone, Copy, Debug)]
pub(super) enum Calendar {
    FullYear,
    Month,
    Date,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}
