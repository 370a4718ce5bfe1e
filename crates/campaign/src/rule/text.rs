//! A checked rule as text again: what each part of it says, in the language that it was written in.
//!
//! Names of macros' items are not kept: they are `x`. What the checker resolved is written in one way, whichever it was written in.

use std::fmt::{self, Display, Formatter};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::program::{
    Calculation, Calendar, Comparison, Constant, Field, List, Node, Op, Quantifier, Search,
};

/// What the item of a macro is called.
const ITEM: &str = "x";

impl Display for Node {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.op {
            Op::Constant(constant) => constant.fmt(f),
            Op::Read(field) => f.write_str(field.name()),
            Op::RankPresent => f.write_str("has(outcome.rank)"),
            Op::Attribute(name) => match plain_name(name) {
                Some(name) => write!(f, "outcome.attributes.{name}"),
                None => write!(f, "outcome.attributes[{name}]"),
            },
            Op::AttributePresent(name) => write!(f, "{} in outcome.attributes", Operand(name, Binding::Sum)),
            Op::AttributeCount => f.write_str("outcome.attributes.size()"),
            Op::Item => f.write_str(ITEM),
            Op::Not(operand) => write!(f, "!{}", Operand(operand, Binding::Member)),
            Op::Negate(operand) => write!(f, "-{}", Operand(operand, Binding::Member)),
            Op::And(left, right) => {
                write!(f, "{} && {}", Operand(left, Binding::And), Operand(right, Binding::And))
            }
            Op::Or(left, right) => {
                write!(f, "{} || {}", Operand(left, Binding::Or), Operand(right, Binding::Or))
            }
            Op::If(parts) => {
                let [condition, yes, no] = &**parts;
                let [condition, yes, no] = [condition, yes, no].map(|part| Operand(part, Binding::Or));
                write!(f, "{condition} ? {yes} : {no}")
            }
            Op::Compare(comparison, left, right) => {
                let (left, right) = (Operand(left, Binding::Sum), Operand(right, Binding::Sum));
                write!(f, "{left} {} {right}", comparison.sign())
            }
            Op::Calculate(calculation, left, right) => {
                let (left_binds, right_binds) = match calculation {
                    Calculation::Add | Calculation::Subtract => (Binding::Sum, Binding::Product),
                    _ => (Binding::Product, Binding::Sign),
                };
                let (left, right) = (Operand(left, left_binds), Operand(right, right_binds));
                write!(f, "{left} {} {right}", calculation.sign())
            }
            Op::InList(item, list) => write!(f, "{} in {list}", Operand(item, Binding::Sum)),
            Op::InTable(item, table) => write!(f, "{} in {}", Operand(item, Binding::Sum), Braces(table)),
            Op::ItemAt(list, index) => write!(f, "{list}[{index}]"),
            Op::Lookup(table, key) => write!(f, "{}[{key}]", Braces(table)),
            Op::StringSize(text) => write!(f, "{}.size()", Operand(text, Binding::Member)),
            Op::ListSize(list) => write!(f, "{list}.size()"),
            Op::Search(search, text, part) => {
                write!(f, "{}.{}({part})", Operand(text, Binding::Member), search.name())
            }
            Op::Matches(text, pattern) => {
                let pattern = Quoted(pattern.source());
                write!(f, "{}.matches({pattern})", Operand(text, Binding::Member))
            }
            Op::Calendar(part, time) => write!(f, "{}.{}()", Operand(time, Binding::Member), part.name()),
            Op::Quantify(quantifier, list, test) => write!(f, "{list}.{}({ITEM}, {test})", quantifier.name()),
        }
    }
}

impl Display for List {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Items(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Self::AttributeNames(_) => f.write_str("outcome.attributes"),
            Self::Picked { range, keep, to } => match (keep, to) {
                (Some(keep), None) => write!(f, "{range}.filter({ITEM}, {keep})"),
                (None, Some(to)) => write!(f, "{range}.map({ITEM}, {to})"),
                (Some(keep), Some(to)) => write!(f, "{range}.map({ITEM}, {keep}, {to})"),
                (None, None) => range.fmt(f),
            },
            Self::If(condition, branches) => {
                let [yes, no] = &**branches;
                write!(f, "({} ? {yes} : {no})", Operand(condition, Binding::Or))
            }
        }
    }
}

impl Display for Constant {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(flag) => write!(f, "{flag}"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Text(text) => Quoted(text).fmt(f),
            Self::Time(time) => Moment(*time).fmt(f),
            Self::Span(span) => Length(*span).fmt(f),
            Self::Amount(amount) => write!(f, "amount('{amount}')"),
        }
    }
}

/// A part as it stands beside an operator or before a dot: in brackets, where it binds less than it would have to.
struct Operand<'a>(&'a Node, Binding);

impl Display for Operand<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(node, wanted) = self;
        if node.binding() < *wanted { write!(f, "({node})") } else { node.fmt(f) }
    }
}

/// How strongly an operator binds, the weakest first, as CEL's grammar has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Conditional,
    Or,
    And,
    Relation,
    Sum,
    Product,
    Sign,
    Member,
}

impl Node {
    fn binding(&self) -> Binding {
        match &self.op {
            Op::If(_) => Binding::Conditional,
            Op::Or(..) => Binding::Or,
            Op::And(..) => Binding::And,
            Op::Compare(..) | Op::InList(..) | Op::InTable(..) | Op::AttributePresent(_) => Binding::Relation,
            Op::Calculate(Calculation::Add | Calculation::Subtract, ..) => Binding::Sum,
            Op::Calculate(..) => Binding::Product,
            Op::Not(_) | Op::Negate(_) => Binding::Sign,
            Op::Constant(Constant::Int(number)) if *number < 0 => Binding::Sign,
            _ => Binding::Member,
        }
    }
}

/// A map literal.
struct Braces<'a>(&'a [(Constant, Constant)]);

impl Display for Braces<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (key, value)) in self.0.iter().enumerate() {
            write!(f, "{}{key}: {value}", if index == 0 { "" } else { ", " })?;
        }
        f.write_str("}")
    }
}

/// A text in single quotes.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("'")?;
        for character in self.0.chars() {
            match character {
                '\'' | '\\' => write!(f, "\\{character}")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                character if character.is_control() => write!(f, "\\u{:04x}", u32::from(character))?,
                character => write!(f, "{character}")?,
            }
        }
        f.write_str("'")
    }
}

/// A time, to the nanosecond where it has them.
pub(super) struct Moment(pub(super) DateTime<Utc>);

impl Display for Moment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "timestamp('{}')", self.0.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

/// A length of time, in the largest unit that it has a whole number of.
pub(super) struct Length(pub(super) TimeDelta);

impl Display for Length {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const UNITS: [(i64, &str); 5] = [
            (3_600_000_000_000, "h"),
            (60_000_000_000, "m"),
            (1_000_000_000, "s"),
            (1_000_000, "ms"),
            (1_000, "us"),
        ];
        let Some(nanoseconds) = self.0.num_nanoseconds() else { return write!(f, "{}", self.0) };
        let whole = UNITS.into_iter().find(|(unit, _)| nanoseconds % unit == 0);
        let (unit, name) = whole.unwrap_or((1, "ns"));
        write!(f, "duration('{}{name}')", nanoseconds / unit)
    }
}

/// The name of an attribute, where it can stand behind a dot.
fn plain_name(node: &Node) -> Option<&str> {
    let Op::Constant(Constant::Text(name)) = &node.op else { return None };
    let mut characters = name.chars();
    let begins = characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    let plain = begins && characters.all(|next| next.is_ascii_alphanumeric() || next == '_');
    (plain && !RESERVED.contains(&&**name)).then_some(name)
}

/// Words that CEL does not take as names.
const RESERVED: [&str; 21] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];

impl Field {
    const fn name(self) -> &'static str {
        match self {
            Self::Score => "outcome.score",
            Self::Rank => "outcome.rank",
            Self::Game => "outcome.game",
            Self::OccurredAt => "outcome.occurred_at",
            Self::Grants => "player.grants",
            Self::Amount => "player.amount",
        }
    }
}

impl Comparison {
    const fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::AtLeast => ">=",
        }
    }
}

impl Calculation {
    const fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

impl Search {
    const fn name(self) -> &'static str {
        match self {
            Self::Contains => "contains",
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
        }
    }
}

impl Quantifier {
    const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Exists => "exists",
            Self::ExistsOne => "exists_one",
        }
    }
}

impl Calendar {
    const fn name(self) -> &'static str {
        match self {
            Self::FullYear => "getFullYear",
            Self::Month => "getMonth",
            Self::Date => "getDate",
            Self::DayOfMonth => "getDayOfMonth",
            Self::DayOfWeek => "getDayOfWeek",
            Self::DayOfYear => "getDayOfYear",
            Self::Hours => "getHours",
            Self::Minutes => "getMinutes",
            Self::Seconds => "getSeconds",
            Self::Milliseconds => "getMilliseconds",
        }
    }
}
