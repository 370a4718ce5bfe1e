//! Time as a parameter.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// Where the time comes from. Everything that needs it takes a `&dyn Clock`.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The time in UTC, to the millisecond: what the journal stores.
    fn now(&self) -> DateTime<Utc>;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(3)
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct MockClock {
    epoch_ms: AtomicI64,
}

impl MockClock {
    /// A clock that shows `now`.
    pub fn at(now: DateTime<Utc>) -> Self {
        Self { epoch_ms: AtomicI64::new(now.timestamp_millis()) }
    }

    /// Moves the clock; a negative `by` turns it back.
    pub fn advance(&self, by: TimeDelta) {
        self.epoch_ms.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
    }
}

impl Default for MockClock {
    /// 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self { epoch_ms: AtomicI64::new(1_767_225_600_000) }
    }
}

impl Clock for MockClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.epoch_ms.load(Ordering::SeqCst))
            .expect("a clock that tests move by days stays within chrono's 262,000 years")
    }
}
