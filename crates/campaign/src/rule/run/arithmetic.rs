//! Checked arithmetic of whole numbers and times.

use chrono::{DateTime, Datelike, Utc};

use super::Value;
use crate::rule::{FaultKind, program::Calculation};

/// The result, or why there is none.
pub(super) fn calculate<'a>(
    calculation: Calculation,
    left: Value<'a>,
    right: Value<'a>,
) -> Result<Value<'a>, FaultKind> {
    use Calculation::{Add, Subtract};
    let result = match (left, calculation, right) {
        (Value::Int(left), _, Value::Int(right)) => integers(calculation, left, right)?.map(Value::Int),
        (Value::Time(left), Subtract, Value::Time(right)) => Some(Value::Span(left - right)),
        (Value::Time(time), Add, Value::Span(span)) | (Value::Span(span), Add, Value::Time(time)) => {
            time.checked_add_signed(span).filter(in_range).map(Value::Time)
        }
        (Value::Time(time), Subtract, Value::Span(span)) => {
            time.checked_sub_signed(span).filter(in_range).map(Value::Time)
        }
        (Value::Span(left), Add, Value::Span(right)) => left.checked_add(&right).map(Value::Span),
        (Value::Span(left), Subtract, Value::Span(right)) => left.checked_sub(&right).map(Value::Span),
        _ => return Err(FaultKind::AttributeType),
    };
    result.ok_or(FaultKind::Overflow)
}

fn integers(calculation: Calculation, left: i64, right: i64) -> Result<Option<i64>, FaultKind> {
    Ok(match calculation {
        Calculation::Add => left.checked_add(right),
        Calculation::Subtract => left.checked_sub(right),
        Calculation::Multiply => left.checked_mul(right),
        Calculation::Divide | Calculation::Remainder if right == 0 => return Err(FaultKind::DivisionByZero),
        Calculation::Divide => left.checked_div(right),
        Calculation::Remainder => left.checked_rem(right),
    })
}

/// CEL's timestamps are those of the years 1 to 9999.
fn in_range(time: &DateTime<Utc>) -> bool {
    (1..=9_999).contains(&time.year())
}
