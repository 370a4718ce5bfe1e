//! An upper bound of the steps that one evaluation takes.
//!
//! A step is about what comparing two numbers costs. Both branches of a conditional and both sides of `&&` count, and a
//! macro counts its body once for each item that the range can have.

use super::{
    limits::ATTRIBUTES_MAX,
    program::{List, Node, Op},
};

/// Looking at every byte of a text of [`super::limits::TEXT_BYTES_MAX`].
const TEXT_STEPS: u32 = 16;

/// Comparing texts, which differ early as a rule, or finding an attribute by its name.
const NAME_STEPS: u32 = 4;

/// Searching a text for a pattern. It takes a quarter of this; the rest keeps the automata of one rule below 5 MB.
const PATTERN_STEPS: u32 = 1_000;

/// The most steps that `node` takes; saturates.
pub(super) fn of(node: &Node) -> u32 {
    let below = match &node.op {
        Op::Constant(_) | Op::Read(_) | Op::RankPresent | Op::AttributeCount | Op::Item => 0,
        Op::Attribute(name) | Op::AttributePresent(name) => of(name).saturating_add(NAME_STEPS),
        Op::Not(operand) | Op::Negate(operand) | Op::Calendar(_, operand) => of(operand),
        Op::And(left, right) | Op::Or(left, right) | Op::Calculate(_, left, right) => {
            of(left).saturating_add(of(right))
        }
        Op::Compare(_, left, right) => of(left).saturating_add(of(right)).saturating_add(NAME_STEPS),
        Op::Search(_, left, right) => of(left).saturating_add(of(right)).saturating_add(TEXT_STEPS),
        Op::If(parts) => parts.iter().map(of).fold(0, u32::saturating_add),
        Op::InList(item, list) => {
            of(item).saturating_add(list_cost(list)).saturating_add(times(items(list), NAME_STEPS))
        }
        Op::InTable(key, table) | Op::Lookup(table, key) => {
            of(key).saturating_add(times(table.len(), NAME_STEPS))
        }
        Op::ItemAt(list, index) => list_cost(list).saturating_add(of(index)),
        Op::StringSize(text) => of(text).saturating_add(TEXT_STEPS),
        Op::ListSize(list) => list_cost(list),
        Op::Matches(text, _) => of(text).saturating_add(PATTERN_STEPS),
        Op::Quantify(_, list, test) => list_cost(list).saturating_add(times(items(list), of(test))),
    };
    below.saturating_add(1)
}

fn list_cost(list: &List) -> u32 {
    match list {
        List::Items(items) => items.iter().map(of).fold(1, u32::saturating_add),
        List::AttributeNames(_) => times(ATTRIBUTES_MAX, 1),
        List::Picked { range, keep, to } => {
            let body = [keep, to].into_iter().flatten().map(|node| of(node)).fold(1, u32::saturating_add);
            list_cost(range).saturating_add(times(items(range), body))
        }
        List::If(condition, branches) => {
            branches.iter().map(list_cost).fold(of(condition), u32::saturating_add)
        }
    }
}

/// The most items that the list can have.
fn items(list: &List) -> usize {
    match list {
        List::Items(items) => items.len(),
        List::AttributeNames(_) => ATTRIBUTES_MAX,
        List::Picked { range, .. } => items(range),
        List::If(_, branches) => branches.iter().map(items).max().unwrap_or(0),
    }
}

fn times(count: usize, steps: u32) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX).saturating_mul(steps)
}
