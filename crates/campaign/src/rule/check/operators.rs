//! Operators and the types they take.

use cel::common::ast::{CallExpr, IdedExpr};

use super::{Checker, Kind, Position, RuleError, Term, value};
use crate::rule::program::{Calculation, Comparison, List, Op};

impl Checker<'_> {
    /// A call that is written as an operator; none if it is another function.
    pub(super) fn operator(&mut self, call: &CallExpr, at: Position) -> Result<Option<Term>, RuleError> {
        let term = match (call.func_name.as_str(), call.args.as_slice()) {
            ("_&&_", [left, right]) => self.both(left, right, Op::And, at)?,
            ("_||_", [left, right]) => self.both(left, right, Op::Or, at)?,
            ("!_", [operand]) => value(Op::Not(Box::new(self.of_kind(operand, Kind::Bool)?)), at, Kind::Bool),
            ("-_", [operand]) => {
                value(Op::Negate(Box::new(self.of_kind(operand, Kind::Int)?)), at, Kind::Int)
            }
            ("_?_:_", [condition, yes, no]) => self.conditional(condition, yes, no, at)?,
            ("_[_]", [range, index]) => self.index(range, index, at)?,
            ("@in", [item, range]) => self.membership(item, range, at)?,
            (name, [left, right]) => {
                if let Some((sign, comparison)) = comparison(name) {
                    self.comparison(sign, comparison, left, right, at)?
                } else if let Some((sign, calculation)) = calculation(name) {
                    self.calculation(sign, calculation, left, right, at)?
                } else {
                    return Ok(None);
                }
            }
            _ => return Ok(None),
        };
        Ok(Some(term))
    }

    fn both(
        &mut self,
        left: &IdedExpr,
        right: &IdedExpr,
        op: fn(Box<super::Node>, Box<super::Node>) -> Op,
        at: Position,
    ) -> Result<Term, RuleError> {
        let left = self.of_kind(left, Kind::Bool)?;
        let right = self.of_kind(right, Kind::Bool)?;
        Ok(value(op(Box::new(left), Box::new(right)), at, Kind::Bool))
    }

    fn comparison(
        &mut self,
        operator: &'static str,
        comparison: Comparison,
        left: &IdedExpr,
        right: &IdedExpr,
        at: Position,
    ) -> Result<Term, RuleError> {
        let (left, right) = (self.term(left)?, self.term(right)?);
        let ordered = !matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        let joined = left.kind().join(right.kind()).filter(|kind| !(ordered && *kind == Kind::Bool));
        let bools = left.kind() == Kind::Bool || right.kind() == Kind::Bool;
        match (left, right) {
            (Term::Value(left, _), Term::Value(right, _)) if joined.is_some() && !(ordered && bools) => {
                Ok(value(Op::Compare(comparison, Box::new(left), Box::new(right)), at, Kind::Bool))
            }
            (left, right) => Err(refused(operator, left.kind(), right.kind(), at)),
        }
    }

    fn calculation(
        &mut self,
        operator: &'static str,
        calculation: Calculation,
        left: &IdedExpr,
        right: &IdedExpr,
        at: Position,
    ) -> Result<Term, RuleError> {
        let (left, right) = (self.term(left)?, self.term(right)?);
        let kind = match (left.kind(), calculation, right.kind()) {
            (Kind::Timestamp, Calculation::Subtract, Kind::Timestamp) => Some(Kind::Duration),
            (Kind::Timestamp, Calculation::Add | Calculation::Subtract, Kind::Duration)
            | (Kind::Duration, Calculation::Add, Kind::Timestamp) => Some(Kind::Timestamp),
            (Kind::Duration, Calculation::Add | Calculation::Subtract, Kind::Duration) => {
                Some(Kind::Duration)
            }
            (left, _, right) if left.fits(Kind::Int) && right.fits(Kind::Int) => Some(Kind::Int),
            _ => None,
        };
        match (left, right, kind) {
            (Term::Value(left, _), Term::Value(right, _), Some(kind)) => {
                Ok(value(Op::Calculate(calculation, Box::new(left), Box::new(right)), at, kind))
            }
            (left, right, _) => Err(refused(operator, left.kind(), right.kind(), at)),
        }
    }

    fn conditional(
        &mut self,
        condition: &IdedExpr,
        yes: &IdedExpr,
        no: &IdedExpr,
        at: Position,
    ) -> Result<Term, RuleError> {
        let condition = self.of_kind(condition, Kind::Bool)?;
        match (self.term(yes)?, self.term(no)?) {
            (Term::Value(yes, one), Term::Value(no, other)) => match one.join(other) {
                Some(kind) => Ok(value(Op::If(Box::new([condition, yes, no])), at, kind)),
                None => Err(refused("? :", one, other, at)),
            },
            (Term::List(yes, one), Term::List(no, other)) => {
                let kind = match (one, other) {
                    (Some(one), Some(other)) => {
                        Some(one.join(other).ok_or_else(|| refused("? :", one, other, at))?)
                    }
                    (one, other) => one.or(other),
                };
                Ok(Term::List(List::If(Box::new(condition), Box::new([yes, no])), kind))
            }
            (yes, no) => Err(refused("? :", yes.kind(), no.kind(), at)),
        }
    }
}

fn comparison(name: &str) -> Option<(&'static str, Comparison)> {
    Some(match name {
        "_==_" => ("==", Comparison::Equal),
        "_!=_" => ("!=", Comparison::NotEqual),
        "_<_" => ("<", Comparison::Less),
        "_<=_" => ("<=", Comparison::AtMost),
        "_>_" => (">", Comparison::More),
        "_>=_" => (">=", Comparison::AtLeast),
        _ => return None,
    })
}

fn calculation(name: &str) -> Option<(&'static str, Calculation)> {
    Some(match name {
        "_+_" => ("+", Calculation::Add),
        "_-_" => ("-", Calculation::Subtract),
        "_*_" => ("*", Calculation::Multiply),
        "_/_" => ("/", Calculation::Divide),
        "_%_" => ("%", Calculation::Remainder),
        _ => return None,
    })
}

/// An operator that does not take these operands, with the way to say it if there is one.
pub(super) fn refused(operator: &'static str, left: Kind, right: Kind, at: Position) -> RuleError {
    let either = |kind| left == kind || right == kind;
    let hint = if either(Kind::Amount) && (either(Kind::Int) || either(Kind::String)) {
        "; amounts are only compared, with each other: `player.amount < amount('5000')`"
    } else if either(Kind::Amount) {
        "; amounts are only compared, with each other"
    } else if either(Kind::Timestamp) && either(Kind::String) {
        "; write the time as timestamp('2026-01-31T00:00:00Z')"
    } else if operator == "in" {
        "; the item is of the type of the list's items or the map's keys, and a string for the attributes"
    } else if either(Kind::Duration) && (either(Kind::String) || either(Kind::Int)) && operator != "*" {
        "; write the length of time as duration('36h')"
    } else if operator == "+" && either(Kind::String) {
        "; texts cannot be joined, compare their parts one by one"
    } else if either(Kind::List) {
        "; a list is tested with `in`, `all`, `exists` or size"
    } else {
        ""
    };
    RuleError::Operands { at, operator, left, right, hint }
}
