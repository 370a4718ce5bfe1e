//! Functions.

use cel::common::ast::{CallExpr, IdedExpr};

use super::{Checker, Kind, Position, RuleError, Term, literals, macros, value};
use crate::rule::{
    pattern::Pattern,
    program::{Calendar, Op, Search},
};

const FUNCTIONS: &str = "has, size, contains, startsWith, endsWith, matches, timestamp, duration, amount, \
    all, exists, exists_one, filter, map and getFullYear to getMilliseconds";

const TIMESTAMP: &str = "timestamp('2026-01-31T00:00:00Z')";
const DURATION: &str = "duration('36h') or duration('1h30m'), with whole numbers of h, m, s, ms, us or ns";
const AMOUNT: &str = "amount('5000'), with digits only and at most 2^256 - 1";
const MATCHES: &str = "outcome.game.matches('^quiz-[0-9]+$'), with the pattern written out";

impl Checker<'_> {
    /// An operator, a macro or a function.
    pub(super) fn call(&mut self, call: &CallExpr, at: Position) -> Result<Term, RuleError> {
        if let Some(term) = self.operator(call, at)? {
            return Ok(term);
        }
        let name = call.func_name.as_str();
        match (name, call.target.as_deref(), call.args.as_slice()) {
            ("has", None, [argument]) => self.has(argument, at),
            ("timestamp", None, [text]) => {
                literals::timestamp(self.literal_text(text, name, TIMESTAMP)?, TIMESTAMP, at)
            }
            ("duration", None, [text]) => {
                literals::duration(self.literal_text(text, name, DURATION)?, DURATION, at)
            }
            ("amount", None, [text]) => literals::amount(self.literal_text(text, name, AMOUNT)?, AMOUNT, at),
            ("size", None, [range]) | ("size", Some(range), []) => self.size(range, at),
            ("contains", Some(text), [part]) => self.search(Search::Contains, text, part, at),
            ("startsWith", Some(text), [part]) => self.search(Search::StartsWith, text, part, at),
            ("endsWith", Some(text), [part]) => self.search(Search::EndsWith, text, part, at),
            ("matches", Some(text), [pattern]) => self.matches(text, pattern, at),
            ("all" | "exists" | "exists_one" | "filter" | "map", Some(range), [item, body @ ..]) => {
                self.macro_call(name, range, item, body, at)
            }
            (_, Some(time), []) if calendar(name).is_some() => self.calendar(name, time, at),
            _ => Err(unknown(name, at)),
        }
    }

    fn size(&mut self, range: &IdedExpr, at: Position) -> Result<Term, RuleError> {
        let op = match self.term(range)? {
            Term::List(list, _) => Op::ListSize(list),
            Term::Attributes => Op::AttributeCount,
            Term::Value(node, kind) if kind.fits(Kind::String) => Op::StringSize(Box::new(node)),
            other => {
                return Err(RuleError::WrongKind {
                    at: self.place(range),
                    expected: Kind::List,
                    found: other.kind(),
                });
            }
        };
        Ok(value(op, at, Kind::Int))
    }

    fn search(
        &mut self,
        search: Search,
        text: &IdedExpr,
        part: &IdedExpr,
        at: Position,
    ) -> Result<Term, RuleError> {
        let text = self.of_kind(text, Kind::String)?;
        let part = self.of_kind(part, Kind::String)?;
        Ok(value(Op::Search(search, Box::new(text), Box::new(part)), at, Kind::Bool))
    }

    fn matches(&mut self, text: &IdedExpr, pattern: &IdedExpr, at: Position) -> Result<Term, RuleError> {
        let text = self.of_kind(text, Kind::String)?;
        let source = self.literal_text(pattern, "matches", MATCHES)?;
        let at_pattern = self.place(pattern);
        let pattern =
            Pattern::new(source).map_err(|reason| RuleError::BadPattern { at: at_pattern, reason })?;
        Ok(value(Op::Matches(Box::new(text), Box::new(pattern)), at, Kind::Bool))
    }

    fn calendar(&mut self, name: &str, time: &IdedExpr, at: Position) -> Result<Term, RuleError> {
        let time = self.of_kind(time, Kind::Timestamp)?;
        let part = calendar(name).ok_or_else(|| unknown(name, at))?;
        Ok(value(Op::Calendar(part, Box::new(time)), at, Kind::Int))
    }
}

fn calendar(name: &str) -> Option<Calendar> {
    Some(match name {
        "getFullYear" => Calendar::FullYear,
        "getMonth" => Calendar::Month,
        "getDate" => Calendar::Date,
        "getDayOfMonth" => Calendar::DayOfMonth,
        "getDayOfWeek" => Calendar::DayOfWeek,
        "getDayOfYear" => Calendar::DayOfYear,
        "getHours" => Calendar::Hours,
        "getMinutes" => Calendar::Minutes,
        "getSeconds" => Calendar::Seconds,
        "getMilliseconds" => Calendar::Milliseconds,
        _ => return None,
    })
}

/// A call that the language does not have: a known name used differently, or an unknown one.
fn unknown(name: &str, at: Position) -> RuleError {
    let usage = match name {
        "has" => "has(outcome.rank) or has(outcome.attributes.NAME)",
        "timestamp" => TIMESTAMP,
        "duration" => DURATION,
        "amount" => AMOUNT,
        "matches" => MATCHES,
        "size" => "size(outcome.game) or outcome.attributes.size()",
        "contains" => "outcome.game.contains('quiz')",
        "startsWith" => "outcome.game.startsWith('quiz')",
        "endsWith" => "outcome.game.endsWith('quiz')",
        "all" | "exists" | "exists_one" | "filter" | "map" => macros::usage(name),
        _ if calendar(name).is_some() => "outcome.occurred_at.getHours(), in UTC and without arguments",
        _ => return RuleError::UnknownFunction { at, name: name.to_owned(), known: FUNCTIONS },
    };
    RuleError::WrongArguments { at, name: name.to_owned(), usage }
}
