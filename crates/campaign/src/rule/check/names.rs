//! Identifiers and fields.

use cel::common::ast::{Expr, IdedExpr, SelectExpr};

use super::{Checker, Kind, Position, RuleError, Term, value};
use crate::rule::program::{Constant, Field, Node, Op};

const OUTCOME_FIELDS: &str = "score, rank, game, attributes and occurred_at";
const PLAYER_FIELDS: &str = "grants and amount";

impl Checker<'_> {
    /// An identifier.
    pub(super) fn name(&self, name: &str, at: Position) -> Result<Term, RuleError> {
        match (name, &self.item) {
            ("outcome", _) => Ok(Term::Outcome),
            ("player", _) => Ok(Term::Player),
            (_, Some((item, kind))) if item == name => Ok(value(Op::Item, at, *kind)),
            _ => Err(RuleError::UnknownName { at, name: name.to_owned() }),
        }
    }

    /// `operand.field`.
    pub(super) fn select(&mut self, select: &SelectExpr, at: Position) -> Result<Term, RuleError> {
        let field = select.field.as_str();
        let of = self.term(&select.operand)?;
        let known = match (&of, field) {
            (Term::Outcome, "attributes") => return Ok(Term::Attributes),
            (Term::Outcome, "score") => return Ok(read(Field::Score, at, Kind::Int)),
            (Term::Outcome, "rank") => return Ok(read(Field::Rank, at, Kind::Int)),
            (Term::Outcome, "game") => return Ok(read(Field::Game, at, Kind::String)),
            (Term::Outcome, "occurred_at") => return Ok(read(Field::OccurredAt, at, Kind::Timestamp)),
            (Term::Player, "grants") => return Ok(read(Field::Grants, at, Kind::Int)),
            (Term::Player, "amount") => return Ok(read(Field::Amount, at, Kind::Amount)),
            (Term::Attributes, _) => {
                return Ok(value(Op::Attribute(Box::new(text(field, at))), at, Kind::Attribute));
            }
            (Term::Outcome, _) => OUTCOME_FIELDS,
            (Term::Player, _) => PLAYER_FIELDS,
            (Term::Table(..), _) => "keys; write map['key']",
            _ => "none",
        };
        Err(RuleError::UnknownField { at, of: of.kind(), name: field.to_owned(), known })
    }

    /// `has(operand.field)`.
    pub(super) fn has(&mut self, argument: &IdedExpr, at: Position) -> Result<Term, RuleError> {
        let usage = "has(outcome.rank) or has(outcome.attributes.NAME)";
        let wrong = RuleError::WrongArguments { at, name: "has".to_owned(), usage };
        if !matches!(argument.expr, Expr::Select(_)) {
            return Err(wrong);
        }
        match self.term(argument)? {
            Term::Value(Node { op: Op::Attribute(name), .. }, _) => {
                Ok(value(Op::AttributePresent(name), at, Kind::Bool))
            }
            Term::Value(Node { op: Op::Read(Field::Rank), .. }, _) => {
                Ok(value(Op::RankPresent, at, Kind::Bool))
            }
            Term::Value(Node { op: Op::Read(_), .. }, _) | Term::Attributes => {
                Ok(value(Op::Constant(Constant::Bool(true)), at, Kind::Bool))
            }
            _ => Err(wrong),
        }
    }
}

fn read(field: Field, at: Position, kind: Kind) -> Term {
    value(Op::Read(field), at, kind)
}

fn text(text: &str, at: Position) -> Node {
    Node { op: Op::Constant(Constant::Text(text.into())), at }
}
