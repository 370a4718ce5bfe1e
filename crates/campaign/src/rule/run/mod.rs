//! Running a checked rule over one input: no clock, no randomness, no allocation but for lists.

mod arithmetic;
mod compare;
mod lists;

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};
use laurel_events::{Amount, Attribute};

use super::{
    FaultKind, Position, RuleFault, RuleInput, limits,
    program::{Calendar, Constant, Field, Node, Op, Search},
};

/// Whether the rule accepts the input.
pub(super) fn run(root: &Node, input: &RuleInput<'_>) -> Result<bool, RuleFault> {
    Run { input, item: None }.truth(root)
}

/// A value that an expression gave.
#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Bool(bool),
    Int(i64),
    Text(&'a str),
    Time(DateTime<Utc>),
    Span(TimeDelta),
    Amount(&'a Amount),
}

/// One evaluation.
struct Run<'a> {
    input: &'a RuleInput<'a>,
    /// The item that a macro is looking at. The checker lets no rule ask for it outside of one.
    item: Option<Value<'a>>,
}

impl<'a> Run<'a> {
    fn value(&mut self, node: &'a Node) -> Result<Value<'a>, RuleFault> {
        let at = node.at;
        Ok(match &node.op {
            Op::Constant(constant) => Value::from(constant),
            Op::Read(field) => self.read(*field, at)?,
            Op::RankPresent => Value::Bool(self.input.outcome.rank.is_some()),
            Op::Attribute(name) => self.attribute(name, at)?,
            Op::AttributePresent(name) => {
                let name = self.text(name)?;
                Value::Bool(self.input.outcome.attributes.contains_key(name))
            }
            Op::AttributeCount => count(self.input.outcome.attributes.len(), at)?,
            Op::Item => self.item.ok_or(fault(FaultKind::KeyMissing, at))?,
            Op::Not(operand) => Value::Bool(!self.truth(operand)?),
            Op::Negate(operand) => {
                let negated = self.int(operand)?.checked_neg();
                Value::Int(negated.ok_or(fault(FaultKind::Overflow, at))?)
            }
            Op::And(left, right) => Value::Bool(!self.either(left, right, false)?),
            Op::Or(left, right) => Value::Bool(self.either(left, right, true)?),
            Op::If(parts) => {
                let [condition, yes, no] = &**parts;
                let chosen = if self.truth(condition)? { yes } else { no };
                self.value(chosen)?
            }
            Op::Compare(comparison, left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                Value::Bool(
                    compare::compare(*comparison, left, right).ok_or(fault(FaultKind::AttributeType, at))?,
                )
            }
            Op::Calculate(calculation, left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                arithmetic::calculate(*calculation, left, right).map_err(|kind| fault(kind, at))?
            }
            Op::InList(item, list) => self.in_list(item, list, at)?,
            Op::InTable(item, table) => {
                let item = self.value(item)?;
                Value::Bool(lists::find(table, item, at)?.is_some())
            }
            Op::ItemAt(list, index) => self.item_at(list, index, at)?,
            Op::Lookup(table, key) => {
                let key = self.value(key)?;
                lists::find(table, key, at)?.ok_or(fault(FaultKind::KeyMissing, at))?
            }
            Op::StringSize(text) => count(self.text(text)?.chars().count(), at)?,
            Op::ListSize(list) => count(self.list(list)?.len(), at)?,
            Op::Search(search, text, part) => {
                let (text, part) = (self.text(text)?, self.text(part)?);
                Value::Bool(match search {
                    Search::Contains => text.contains(part),
                    Search::StartsWith => text.starts_with(part),
                    Search::EndsWith => text.ends_with(part),
                })
            }
            Op::Matches(text, pattern) => {
                let found = pattern.is_in(self.text(text)?);
                Value::Bool(found.ok_or(fault(FaultKind::InputTooLarge, at))?)
            }
            Op::Calendar(part, time) => match self.value(time)? {
                Value::Time(time) => Value::Int(calendar(*part, time)),
                _ => return Err(fault(FaultKind::AttributeType, at)),
            },
            Op::Quantify(quantifier, list, test) => Value::Bool(self.quantify(*quantifier, list, test)?),
        })
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

fn calendar(part: Calendar, time: DateTime<Utc>) -> i64 {
    i64::from(match part {
        Calendar::FullYear => return time.year().into(),
        Calendar::Month => time.month0(),
        Calendar::Date => time.day(),
        Calendar::DayOfMonth => time.day0(),
        Calendar::DayOfWeek => time.weekday().num_days_from_sunday(),
        Calendar::DayOfYear => time.ordinal0(),
        Calendar::Hours => time.hour(),
        Calendar::Minutes => time.minute(),
        Calendar::Seconds => time.second(),
        Calendar::Milliseconds => time.timestamp_subsec_millis().min(999),
    })
}
