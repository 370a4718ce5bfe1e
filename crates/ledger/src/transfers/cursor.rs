//! Where a list of transfers goes on.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Up to where each kind of transfer was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferCursor {
    pub(super) hold: i64,
    pub(super) funding: (DateTime<Utc>, i64, i32, i32),
    pub(super) post: (DateTime<Utc>, Uuid, i32),
    pub(super) void: (DateTime<Utc>, i64, i32),
    pub(super) returned: i32,
}

impl TransferCursor {
    /// Before every transfer.
    pub const START: Self = Self {
        hold: -1,
        funding: (DateTime::UNIX_EPOCH, -1, -1, -1),
        post: (DateTime::UNIX_EPOCH, Uuid::nil(), -1),
        void: (DateTime::UNIX_EPOCH, -1, -1),
        returned: -1,
    };

    /// Before every transfer that was recorded at `moment` or later, of which the first hold has that number.
    pub(super) fn since(moment: DateTime<Utc>, hold: i64) -> Self {
        let moment = moment.clamp(*TIMES.start(), *TIMES.end());
        let (start, hold) = (Self::START, hold - 1);
        Self {
            hold,
            funding: (moment, start.funding.1, start.funding.2, start.funding.3),
            post: (moment, start.post.1, start.post.2),
            void: (moment, start.void.1, start.void.2),
            returned: start.returned,
        }
    }
}

impl fmt::Display for TransferCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hold, funding, post, void, returned } = self;
        let [funded, posted, voided] = [funding.0, post.0, void.0].map(|at| at.timestamp_micros());
        write!(f, "{hold}.{funded}.{}.{}.{}.", funding.1, funding.2, funding.3)?;
        write!(f, "{posted}.{}.{}.{voided}.{}.{}.{returned}", post.1.simple(), post.2, void.1, void.2)
    }
}

/// A text that is no [`TransferCursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor of a list of transfers")]
pub struct NoTransferCursor;

impl FromStr for TransferCursor {
    type Err = NoTransferCursor;

    fn from_str(text: &str) -> Result<Self, NoTransferCursor> {
        let parts: Vec<&str> = text.split('.').collect();
        let [hold, funded, block, log, taken_back, posted, batch, turn, voided, number, undone, returned] =
            parts[..]
        else {
            return Err(NoTransferCursor);
        };
        fn part<T: FromStr>(text: &str) -> Result<T, NoTransferCursor> {
            text.parse().map_err(|_| NoTransferCursor)
        }
        let time = |text: &str| {
            let time = DateTime::from_timestamp_micros(part(text)?).ok_or(NoTransferCursor)?;
            // The database keeps no others.
            if TIMES.contains(&time) { Ok(time) } else { Err(NoTransferCursor) }
        };
        Ok(Self {
            hold: part(hold)?,
            funding: (time(funded)?, part(block)?, part(log)?, part(taken_back)?),
            post: (time(posted)?, part(batch)?, part(turn)?),
            void: (time(voided)?, part(number)?, part(undone)?),
            returned: part(returned)?,
        })
    }
}

/// From when on anything was recorded, and until when at the very most: the year 9999.
pub(super) const TIMES: std::ops::RangeInclusive<DateTime<Utc>> = DateTime::UNIX_EPOCH
    ..=match DateTime::from_timestamp_secs(253_402_300_799) {
        Some(end) => end,
        None => DateTime::UNIX_EPOCH,
    };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_goes_there_and_back() {
        let cursor = TransferCursor {
            hold: 12,
            funding: (DateTime::from_timestamp_micros(7).unwrap(), 3, 4, 1),
            post: (DateTime::from_timestamp_micros(1_767_225_600_000_001).unwrap(), Uuid::from_u128(5), 2),
            void: (DateTime::UNIX_EPOCH, 6, 1),
            returned: 2,
        };
        for cursor in [cursor, TransferCursor::START] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let start = TransferCursor::START.to_string();
        for text in ["", "1.2.3", "x", &format!("{start}.1"), &start.replace(".0.", ".9223372036854775807.")]
        {
            assert_eq!(text.parse::<TransferCursor>(), Err(NoTransferCursor), "{text}");
        }
    }
}
