//! From syntax tree to program: what has no rule here does not exist in the language.

mod calls;
mod literals;
mod macros;
mod names;
mod operators;
mod ranges;

use cel::common::ast::{Expr, IdedExpr, SourceInfo};

use super::{
    Kind, Position, RuleError, limits,
    program::{List, Node, Op, Table},
};

/// Turns the syntax tree of `source` into a program whose result is a bool.
pub(super) fn check(source: &str, tree: &IdedExpr, places: &SourceInfo) -> Result<Node, RuleError> {
    let mut checker = Checker { source, places, nodes: 0, depth: 0, item: None, inside_macro: false };
    match checker.term(tree)? {
        Term::Value(node, Kind::Bool) => Ok(node),
        other => Err(RuleError::NotBool { found: other.kind() }),
    }
}

/// What an expression turned into.
enum Term {
    Value(Node, Kind),
    /// A list and the kind of its items; none while it is known to be empty.
    List(List, Option<Kind>),
    Table(Table, TableKind),
    Attributes,
    Outcome,
    Player,
}

/// The kinds of a table's keys and values; none for an empty one.
type TableKind = Option<(Kind, Kind)>;

impl Term {
    const fn kind(&self) -> Kind {
        match self {
            Self::Value(_, kind) => *kind,
            Self::List(..) => Kind::List,
            Self::Table(..) => Kind::Table,
            Self::Attributes => Kind::Attributes,
            Self::Outcome => Kind::Outcome,
            Self::Player => Kind::Player,
        }
    }
}

struct Checker<'s> {
    source: &'s str,
    places: &'s SourceInfo,
    nodes: usize,
    depth: usize,
    /// The item that a macro is looking at.
    item: Option<(String, Kind)>,
    inside_macro: bool,
}

impl Checker<'_> {
    /// Checks one expression.
    fn term(&mut self, expr: &IdedExpr) -> Result<Term, RuleError> {
        self.nodes += 1;
        self.depth += 1;
        if self.nodes > limits::NODES_MAX {
            return Err(RuleError::TooManyNodes { at: self.place(expr) });
        }
        if self.depth > limits::DEPTH_MAX {
            return Err(RuleError::TooDeep { at: self.place(expr) });
        }
        let term = self.dispatch(expr);
        self.depth -= 1;
        term
    }

    fn dispatch(&mut self, expr: &IdedExpr) -> Result<Term, RuleError> {
        let at = self.place(expr);
        match &expr.expr {
            Expr::Literal(literal) => literals::scalar(literal, at),
            Expr::List(list) => self.list(list, at),
            Expr::Map(map) => self.table(map, at),
            Expr::Ident(name) => self.name(name, at),
            Expr::Select(select) => self.select(select, at),
            Expr::Call(call) => self.call(call, at),
            Expr::Struct(_) => Err(RuleError::NotAllowed {
                at,
                what: "messages (name{field: value})",
                instead: "read the fields of outcome and player",
            }),
            Expr::Comprehension(_) | Expr::Unspecified => {
                Err(RuleError::Syntax { at, message: "an expression without a written form".to_owned() })
            }
        }
    }

    /// Checks an expression that must give one value.
    fn value(&mut self, expr: &IdedExpr, expected: Kind) -> Result<(Node, Kind), RuleError> {
        match self.term(expr)? {
            Term::Value(node, kind) => Ok((node, kind)),
            other => Err(RuleError::WrongKind { at: self.place(expr), expected, found: other.kind() }),
        }
    }

    /// Checks an expression that must be of `expected` kind.
    fn of_kind(&mut self, expr: &IdedExpr, expected: Kind) -> Result<Node, RuleError> {
        let (node, found) = self.value(expr, expected)?;
        if found.fits(expected) {
            Ok(node)
        } else {
            Err(RuleError::WrongKind { at: self.place(expr), expected, found })
        }
    }

    /// Where the expression is. The parser puts a field at its dot and a call at its parenthesis; the name says more.
    fn place(&self, expr: &IdedExpr) -> Position {
        let start = self.places.offset_for(expr.id).map_or(0, |(start, _)| start as usize);
        let offset = match &expr.expr {
            Expr::Select(_) => start + 1,
            Expr::Call(call) => {
                let before = self.source.get(..start).unwrap_or_default();
                before.strip_suffix(call.func_name.as_str()).map_or(start, str::len)
            }
            _ => start,
        };
        Position::of_byte(self.source, offset)
    }
}

/// A node of the program and its kind.
const fn value(op: Op, at: Position, kind: Kind) -> Term {
    Term::Value(Node { op, at }, kind)
}
