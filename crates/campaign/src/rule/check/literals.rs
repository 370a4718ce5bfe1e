//! What is written in the rule: scalars, lists, maps, and the times and amounts that are written as texts.

use cel::common::ast::{EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, MapExpr};
use chrono::{DateTime, Datelike, Utc};
use laurel_events::Amount;

use super::{Checker, Kind, Position, RuleError, Term, value};
use crate::rule::{
    limits,
    program::{Constant, List, Op},
    span,
};

/// A scalar literal.
pub(super) fn scalar(literal: &LiteralValue, at: Position) -> Result<Term, RuleError> {
    let (constant, kind) = constant(literal, at)?;
    Ok(value(Op::Constant(constant), at, kind))
}

fn constant(literal: &LiteralValue, at: Position) -> Result<(Constant, Kind), RuleError> {
    let refused = |what, instead| Err(RuleError::NotAllowed { at, what, instead });
    match literal {
        LiteralValue::Boolean(flag) => Ok((Constant::Bool(*flag.inner()), Kind::Bool)),
        LiteralValue::Int(number) => Ok((Constant::Int(*number.inner()), Kind::Int)),
        LiteralValue::String(text) => Ok((Constant::Text(text.inner().into()), Kind::String)),
        LiteralValue::Double(_) => {
            refused("fractions", "multiply instead: `score * 2 >= 7` for `score >= 3.5`")
        }
        LiteralValue::UInt(_) => refused("unsigned numbers", "leave out the `u`"),
        LiteralValue::Bytes(_) => refused("bytes", "leave out the `b`"),
        LiteralValue::Null => refused("null", "ask `has(…)` whether something is there"),
    }
}

impl Checker<'_> {
    /// `[a, b]`.
    pub(super) fn list(&mut self, list: &ListExpr, at: Position) -> Result<Term, RuleError> {
        within_items_max(list.elements.len(), at)?;
        let mut items = Vec::with_capacity(list.elements.len());
        let mut common = None;
        for element in &list.elements {
            let (node, kind) = self.value(element, common.unwrap_or(Kind::Int))?;
            common = Some(same(common, kind, node.at)?);
            items.push(node);
        }
        Ok(Term::List(List::Items(items), common))
    }

    /// `{key: value}`, both constants, so that looking one up costs no more than its length.
    pub(super) fn table(&mut self, map: &MapExpr, at: Position) -> Result<Term, RuleError> {
        within_items_max(map.entries.len(), at)?;
        let mut entries: Vec<(Constant, Constant)> = Vec::with_capacity(map.entries.len());
        let mut kinds = None;
        for entry in &map.entries {
            let EntryExpr::MapEntry(pair) = &entry.expr else {
                return Err(RuleError::Syntax { at, message: "a map entry without a key".to_owned() });
            };
            let (key, key_kind) = self.literal(&pair.key)?;
            let (value, value_kind) = self.literal(&pair.value)?;
            let (keys, values) = kinds.unzip();
            let place = self.place(&pair.key);
            if !key_kind.fits_key() {
                return Err(RuleError::WrongKind { at: place, expected: Kind::String, found: key_kind });
            }
            kinds = Some((same(keys, key_kind, place)?, same(values, value_kind, place)?));
            if entries.iter().any(|(other, _)| *other == key) {
                return Err(RuleError::DuplicateKey { at: place });
            }
            entries.push((key, value));
        }
        Ok(Term::Table(entries, kinds))
    }

    fn literal(&mut self, expr: &IdedExpr) -> Result<(Constant, Kind), RuleError> {
        let at = self.place(expr);
        match self.value(expr, Kind::Int)? {
            (super::Node { op: Op::Constant(constant), .. }, kind) => Ok((constant, kind)),
            _ => Err(RuleError::NotAllowed {
                at,
                what: "calculations in a map",
                instead: "write its keys and values out, as in {'easy': 10, 'hard': 5}",
            }),
        }
    }

    /// The text in `function('text')`, where only a literal will do.
    pub(super) fn literal_text<'e>(
        &self,
        argument: &'e IdedExpr,
        name: &str,
        usage: &'static str,
    ) -> Result<&'e str, RuleError> {
        match &argument.expr {
            Expr::Literal(LiteralValue::String(text)) => Ok(text.inner()),
            _ => Err(RuleError::WrongArguments { at: self.place(argument), name: name.to_owned(), usage }),
        }
    }
}

fn within_items_max(items: usize, at: Position) -> Result<(), RuleError> {
    if items > limits::ITEMS_MAX { Err(RuleError::TooManyItems { at, items }) } else { Ok(()) }
}

fn same(first: Option<Kind>, other: Kind, at: Position) -> Result<Kind, RuleError> {
    let Some(first) = first else { return Ok(other) };
    first.join(other).ok_or(RuleError::MixedItems { at, first, other })
}

/// `timestamp('…')`.
pub(super) fn timestamp(text: &str, usage: &'static str, at: Position) -> Result<Term, RuleError> {
    match DateTime::parse_from_rfc3339(text) {
        Ok(time) if (1..=9_999).contains(&time.to_utc().year()) => {
            let time: DateTime<Utc> = time.to_utc();
            Ok(value(Op::Constant(Constant::Time(time)), at, Kind::Timestamp))
        }
        _ => Err(bad("timestamp", text, usage, at)),
    }
}

/// `duration('…')`.
pub(super) fn duration(text: &str, usage: &'static str, at: Position) -> Result<Term, RuleError> {
    let span = span::parse(text).ok_or_else(|| bad("duration", text, usage, at))?;
    Ok(value(Op::Constant(Constant::Span(span)), at, Kind::Duration))
}

/// `amount('…')`.
pub(super) fn amount(text: &str, usage: &'static str, at: Position) -> Result<Term, RuleError> {
    let amount = text.parse::<Amount>().map_err(|_| bad("amount", text, usage, at))?;
    Ok(value(Op::Constant(Constant::Amount(amount)), at, Kind::Amount))
}

fn bad(what: &'static str, text: &str, usage: &'static str, at: Position) -> RuleError {
    RuleError::BadLiteral { at, what, value: text.chars().take(80).collect(), usage }
}
