//! `all`, `exists`, `exists_one`, `filter` and `map`: one at a time, over a list of bounded length.

use cel::common::ast::{Expr, IdedExpr};

use super::{Checker, Kind, Position, RuleError, Term, value};
use crate::rule::program::{List, Op, Quantifier};

/// Names that an item cannot take, because they mean something everywhere.
const TAKEN: [&str; 2] = ["outcome", "player"];

impl Checker<'_> {
    /// `range.name(item, body)`.
    pub(super) fn macro_call(
        &mut self,
        name: &str,
        range: &IdedExpr,
        item: &IdedExpr,
        body: &[IdedExpr],
        at: Position,
    ) -> Result<Term, RuleError> {
        if self.inside_macro {
            return Err(RuleError::NestedMacro { at, name: name.to_owned() });
        }
        self.inside_macro = true;
        let (range, kind) = self.range(range)?;
        self.item = Some((self.item_name(item)?, kind));
        let term = self.body(name, range, body, at)?;
        self.item = None;
        self.inside_macro = false;
        Ok(term)
    }

    fn range(&mut self, range: &IdedExpr) -> Result<(List, Kind), RuleError> {
        match self.term(range)? {
            Term::List(list, kind) => Ok((list, kind.unwrap_or(Kind::Attribute))),
            Term::Attributes => Ok((List::AttributeNames(self.place(range)), Kind::String)),
            other => {
                Err(RuleError::WrongKind { at: self.place(range), expected: Kind::List, found: other.kind() })
            }
        }
    }

    fn item_name(&self, item: &IdedExpr) -> Result<String, RuleError> {
        let at = self.place(item);
        match &item.expr {
            Expr::Ident(name) if TAKEN.contains(&name.as_str()) => {
                Err(RuleError::Shadowing { at, name: name.clone() })
            }
            Expr::Ident(name) if !name.starts_with('.') => Ok(name.clone()),
            _ => Err(RuleError::WrongArguments {
                at,
                name: "item".to_owned(),
                usage: "as a name: list.exists(x, x > 3)",
            }),
        }
    }

    fn body(&mut self, name: &str, range: List, body: &[IdedExpr], at: Position) -> Result<Term, RuleError> {
        match (name, body) {
            ("all", [test]) => self.quantify(Quantifier::All, range, test, at),
            ("exists", [test]) => self.quantify(Quantifier::Exists, range, test, at),
            ("exists_one", [test]) => self.quantify(Quantifier::ExistsOne, range, test, at),
            ("filter", [test]) => {
                let kind = self.item.as_ref().map(|(_, kind)| *kind);
                let keep = Some(Box::new(self.of_kind(test, Kind::Bool)?));
                Ok(Term::List(List::Picked { range: Box::new(range), keep, to: None }, kind))
            }
            ("map", [to]) => self.map(range, None, to),
            ("map", [test, to]) => self.map(range, Some(test), to),
            _ => Err(RuleError::WrongArguments { at, name: name.to_owned(), usage: usage(name) }),
        }
    }

    fn quantify(
        &mut self,
        quantifier: Quantifier,
        range: List,
        test: &IdedExpr,
        at: Position,
    ) -> Result<Term, RuleError> {
        let test = self.of_kind(test, Kind::Bool)?;
        Ok(value(Op::Quantify(quantifier, range, Box::new(test)), at, Kind::Bool))
    }

    fn map(&mut self, range: List, test: Option<&IdedExpr>, to: &IdedExpr) -> Result<Term, RuleError> {
        let keep = test.map(|test| self.of_kind(test, Kind::Bool)).transpose()?.map(Box::new);
        let (to, kind) = self.value(to, Kind::Int)?;
        Ok(Term::List(List::Picked { range: Box::new(range), keep, to: Some(Box::new(to)) }, Some(kind)))
    }
}

/// How the macro is written.
pub(super) fn usage(name: &str) -> &'static str {
    match name {
        "all" => "list.all(x, x > 3)",
        "exists" => "list.exists(x, x > 3)",
        "exists_one" => "list.exists_one(x, x > 3)",
        "filter" => "list.filter(x, x > 3)",
        _ => "list.map(x, x * 2) or list.map(x, x > 3, x * 2)",
    }
}
