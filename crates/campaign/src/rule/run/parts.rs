//! Parts of texts and times.

use chrono::{DateTime, Datelike, Timelike, Utc};

use super::{FaultKind, RuleFault, Run, Value, fault};
use crate::rule::program::{Calendar, Node, Search};

impl<'a> Run<'a> {
    /// Whether the text has the part.
    pub(super) fn search(
        &mut self,
        search: Search,
        text: &'a Node,
        part: &'a Node,
    ) -> Result<Value<'a>, RuleFault> {
        let (text, part) = (self.text(text)?, self.text(part)?);
        Ok(Value::Bool(match search {
            Search::Contains => text.contains(part),
            Search::StartsWith => text.starts_with(part),
            Search::EndsWith => text.ends_with(part),
        }))
    }

    /// A part of a date or time of day.
    pub(super) fn calendar(&mut self, part: Calendar, time: &'a Node) -> Result<Value<'a>, RuleFault> {
        match self.value(time)? {
            Value::Time(time) => Ok(Value::Int(calendar(part, time))),
            _ => Err(fault(FaultKind::AttributeType, time.at)),
        }
    }
}

fn calendar(part: Calendar, time: DateTime<Utc>) -> i64 {
    /// chrono counts a leap second as milliseconds beyond 999.
    const MILLISECOND_MAX: u32 = 999;
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
        Calendar::Milliseconds => time.timestamp_subsec_millis().min(MILLISECOND_MAX),
    })
}
