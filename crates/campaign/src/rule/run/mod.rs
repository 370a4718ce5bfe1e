//! Running a checked rule over one input: no clock, no randomness, no allocation but for lists.

mod arithmetic;
mod compare;
mod lists;
mod parts;

use chrono::{DateTime, TimeDelta, Utc};
use laurel_events::{Amount, Attribute};

use super::{
    FaultKind, Position, RuleFault, RuleInput, limits,
    program::{Constant, Field, Node, Op},
};

/// Whether the rule accepts the input.
pub(super) fn run(root: &Node, input: &RuleInput<'_>) -> Result<bool, RuleFault> {
    Run::new(input).truth(root)
}

/// A value that an expression gave.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Bool(bool),
    Int(i64),
    Text(&'a str),
    Time(DateTime<Utc>),
    Span(TimeDelta),
    Amount(&'a Amount),
}

/// One evaluation.
pub(super) struct Run<'a> {
    input: &'a RuleInput<'a>,
    /// The item that a macro is looking at. The checker lets no rule ask for it outside of one.
    item: Option<Value<'a>>,
}

impl<'a> Run<'a> {
    pub(super) const fn new(input: &'a RuleInput<'a>) -> Self {
        Run { input, item: None }
    }

    /// The item that a macro is looking at.
    pub(super) const fn item(&self) -> Option<Value<'a>> {
        self.item
    }

    /// Has a macro look at an item.
    pub(super) const fn set_item(&mut self, item: Option<Value<'a>>) {
        self.item = item;
    }

    pub(super) fn value(&mut self, node: &'a Node) -> Result<Value<'a>, RuleFault> {
        let at = node.at;
        match &node.op {
            Op::Constant(constant) => Ok(Value::from(constant)),
            Op::Read(field) => self.read(*field, at),
            Op::RankPresent => Ok(Value::Bool(self.input.outcome.rank.is_some())),
            Op::Attribute(name) => self.attribute(name, at),
            Op::AttributePresent(name) => {
                let name = self.text(name)?;
                Ok(Value::Bool(self.input.outcome.attributes.contains_key(name)))
            }
            Op::AttributeCount => count(self.input.outcome.attributes.len(), at),
            Op::Item => self.item.ok_or(fault(FaultKind::KeyMissing, at)),
            Op::Not(operand) => Ok(Value::Bool(!self.truth(operand)?)),
            Op::Negate(operand) => {
                let negated = self.int(operand)?.checked_neg();
                negated.map(Value::Int).ok_or(fault(FaultKind::Overflow, at))
            }
            Op::And(left, right) => Ok(Value::Bool(!self.either(left, right, false)?)),
            Op::Or(left, right) => Ok(Value::Bool(self.either(left, right, true)?)),
            Op::If(parts) => self.conditional(parts),
            Op::Compare(comparison, left, right) => {
                let answer = compare::compare(*comparison, self.value(left)?, self.value(right)?);
                answer.map(Value::Bool).ok_or(fault(FaultKind::AttributeType, at))
            }
            Op::Calculate(calculation, left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                arithmetic::calculate(*calculation, left, right).map_err(|kind| fault(kind, at))
            }
            Op::InList(item, list) => self.in_list(item, list, at),
            Op::InTable(item, table) => Ok(Value::Bool(self.find(table, item, at)?.is_some())),
            Op::ItemAt(list, index) => self.item_at(list, index, at),
            Op::Lookup(table, key) => self.find(table, key, at)?.ok_or(fault(FaultKind::KeyMissing, at)),
            Op::StringSize(text) => count(self.text(text)?.chars().count(), at),
            Op::ListSize(list) => count(self.list(list)?.len(), at),
            Op::Search(search, text, part) => self.search(*search, text, part),
            Op::Matches(text, pattern) => {
                let found = pattern.is_in(self.text(text)?);
                found.map(Value::Bool).ok_or(fault(FaultKind::InputTooLarge, at))
            }
            Op::Calendar(part, time) => self.calendar(*part, time),
            Op::Quantify(quantifier, list, test) => {
                Ok(Value::Bool(self.quantify(*quantifier, list, test)?))
            }
        }
    }

    fn read(&self, field: Field, at: Position) -> Result<Value<'a>, RuleFault> {
        let (outcome, player) = (&self.input.outcome, &self.input.player);
        let int =
            |number: u64| i64::try_from(number).map(Value::Int).map_err(|_| fault(FaultKind::Overflow, at));
        match field {
            Field::Score => int(outcome.score),
            Field::Rank => {
                outcome.rank.map(|rank| Value::Int(rank.into())).ok_or(fault(FaultKind::RankMissing, at))
            }
            Field::Game => text(outcome.game, at),
            Field::OccurredAt => Ok(Value::Time(outcome.occurred_at)),
            Field::Grants => int(player.grants),
            Field::Amount => Ok(Value::Amount(&player.amount)),
        }
    }

    fn attribute(&mut self, name: &'a Node, at: Position) -> Result<Value<'a>, RuleFault> {
        let name = self.text(name)?;
        match self.input.outcome.attributes.get(name) {
            None => Err(fault(FaultKind::AttributeMissing, at)),
            Some(Attribute::Bool(flag)) => Ok(Value::Bool(*flag)),
            Some(Attribute::Int(number)) => Ok(Value::Int(*number)),
            Some(Attribute::Text(value)) => text(value, at),
        }
    }

    fn conditional(&mut self, parts: &'a [Node; 3]) -> Result<Value<'a>, RuleFault> {
        let [condition, yes, no] = parts;
        let chosen = if self.truth(condition)? { yes } else { no };
        self.value(chosen)
    }

    /// Whether one of both is `wanted`; a fault only if the other does not settle it, as CEL has it.
    fn either(&mut self, left: &'a Node, right: &'a Node, wanted: bool) -> Result<bool, RuleFault> {
        let left = self.truth(left);
        if left == Ok(wanted) {
            return Ok(true);
        }
        match self.truth(right) {
            Ok(right) if right == wanted => Ok(true),
            right => left.and(right).map(|_| false),
        }
    }

    fn truth(&mut self, node: &'a Node) -> Result<bool, RuleFault> {
        match self.value(node)? {
            Value::Bool(flag) => Ok(flag),
            _ => Err(fault(FaultKind::AttributeType, node.at)),
        }
    }

    fn int(&mut self, node: &'a Node) -> Result<i64, RuleFault> {
        match self.value(node)? {
            Value::Int(number) => Ok(number),
            _ => Err(fault(FaultKind::AttributeType, node.at)),
        }
    }

    fn text(&mut self, node: &'a Node) -> Result<&'a str, RuleFault> {
        match self.value(node)? {
            Value::Text(text) => Ok(text),
            _ => Err(fault(FaultKind::AttributeType, node.at)),
        }
    }
}

impl<'a> From<&'a Constant> for Value<'a> {
    fn from(constant: &'a Constant) -> Self {
        match constant {
            Constant::Bool(flag) => Self::Bool(*flag),
            Constant::Int(number) => Self::Int(*number),
            Constant::Text(text) => Self::Text(text),
            Constant::Time(time) => Self::Time(*time),
            Constant::Span(span) => Self::Span(*span),
            Constant::Amount(amount) => Self::Amount(amount),
        }
    }
}

const fn fault(kind: FaultKind, at: Position) -> RuleFault {
    RuleFault { kind, at }
}

/// A text of the input, unless it is longer than the cost of the rule assumes.
fn text(text: &str, at: Position) -> Result<Value<'_>, RuleFault> {
    if text.len() > limits::TEXT_BYTES_MAX {
        return Err(fault(FaultKind::InputTooLarge, at));
    }
    Ok(Value::Text(text))
}

fn count<'a>(number: usize, at: Position) -> Result<Value<'a>, RuleFault> {
    i64::try_from(number).map(Value::Int).map_err(|_| fault(FaultKind::Overflow, at))
}
