//! What looks into lists, maps and attributes.

use cel::common::ast::IdedExpr;

use super::{Checker, Kind, Position, RuleError, Term, operators::refused, value};
use crate::rule::program::Op;

impl Checker<'_> {
    /// `range[index]`.
    pub(super) fn index(
        &mut self,
        range: &IdedExpr,
        index: &IdedExpr,
        at: Position,
    ) -> Result<Term, RuleError> {
        match self.term(range)? {
            Term::Attributes => {
                let name = self.of_kind(index, Kind::String)?;
                Ok(value(Op::Attribute(Box::new(name)), at, Kind::Attribute))
            }
            Term::List(list, kind) => {
                let index = self.of_kind(index, Kind::Int)?;
                Ok(value(Op::ItemAt(list, Box::new(index)), at, kind.unwrap_or(Kind::Attribute)))
            }
            Term::Table(table, kinds) => {
                let (keys, values) = kinds.unwrap_or((Kind::Attribute, Kind::Attribute));
                let (key, found) = self.value(index, keys)?;
                if found.join(keys).is_none() {
                    return Err(RuleError::WrongKind { at: key.at, expected: keys, found });
                }
                Ok(value(Op::Lookup(table, Box::new(key)), at, values))
            }
            other => {
                let (_, found) = self.value(index, Kind::Int)?;
                Err(refused("[ ]", other.kind(), found, at))
            }
        }
    }

    /// `item in range`.
    pub(super) fn membership(
        &mut self,
        item: &IdedExpr,
        range: &IdedExpr,
        at: Position,
    ) -> Result<Term, RuleError> {
        let (item, kind) = self.value(item, Kind::String)?;
        let range = self.term(range)?;
        let inside = match &range {
            Term::Attributes => Some(Kind::String),
            Term::List(_, items) => Some(items.unwrap_or(kind)),
            Term::Table(_, kinds) => Some(kinds.map_or(kind, |(keys, _)| keys)),
            _ => None,
        };
        if inside.is_none_or(|inside| inside.join(kind).is_none()) {
            return Err(refused("in", kind, range.kind(), at));
        }
        let item = Box::new(item);
        let op = match range {
            Term::List(list, _) => Op::InList(item, list),
            Term::Table(table, _) => Op::InTable(item, table),
            _ => Op::AttributePresent(item),
        };
        Ok(value(op, at, Kind::Bool))
    }
}
