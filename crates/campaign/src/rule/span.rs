//! Lengths of time as CEL writes them: `36h`, `1h30m`, `250ms`.

use chrono::TimeDelta;

/// Nanoseconds in each unit; a unit comes before those that it begins with.
const UNITS: [(&str, i64); 6] = [
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
];

/// Parses whole numbers with units; nothing else, and none past 2^63 nanoseconds (292 years).
pub(super) fn parse(text: &str) -> Option<TimeDelta> {
    let (sign, mut rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    if rest.is_empty() {
        return None;
    }
    let mut nanoseconds: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let (unit, length) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        let part = number.parse::<i64>().ok()?.checked_mul(*length)?;
        nanoseconds = nanoseconds.checked_add(part)?;
        rest = &after[unit.len()..];
    }
    Some(TimeDelta::nanoseconds(sign * nanoseconds))
}
