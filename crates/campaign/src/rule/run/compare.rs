//! Comparing values.

use std::cmp::Ordering;

use super::Value;
use crate::rule::program::Comparison;

/// The result, or none if the two cannot be compared: of different types, or bools by size.
pub(super) fn compare(comparison: Comparison, left: Value<'_>, right: Value<'_>) -> Option<bool> {
    if let (Value::Bool(left), Value::Bool(right)) = (left, right) {
        return match comparison {
            Comparison::Equal => Some(left == right),
            Comparison::NotEqual => Some(left != right),
            _ => None,
        };
    }
    let ordering = order(left, right)?;
    Some(match comparison {
        Comparison::Equal => ordering == Ordering::Equal,
        Comparison::NotEqual => ordering != Ordering::Equal,
        Comparison::Less => ordering == Ordering::Less,
        Comparison::AtMost => ordering != Ordering::Greater,
        Comparison::More => ordering == Ordering::Greater,
        Comparison::AtLeast => ordering != Ordering::Less,
    })
}

/// Texts are ordered by code point, which is the order of their UTF-8 bytes.
fn order(left: Value<'_>, right: Value<'_>) -> Option<Ordering> {
    Some(match (left, right) {
        (Value::Int(left), Value::Int(right)) => left.cmp(&right),
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        (Value::Time(left), Value::Time(right)) => left.cmp(&right),
        (Value::Span(left), Value::Span(right)) => left.cmp(&right),
        (Value::Amount(left), Value::Amount(right)) => left.cmp(right),
        _ => return None,
    })
}
