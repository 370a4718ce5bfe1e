//! How much of a class a caller may ask for.

use super::Class;

/// Nanoseconds in a second.
const NANOS: i64 = 1_000_000_000;

/// The largest quota, so that no sum of times leaves 64 bits.
const QUOTA_MAX: u32 = 1_000_000_000;

/// The longest window: a day.
const WINDOW_MAX_S: u32 = 86_400;

/// A full bucket, and in what time an empty one is full again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    quota: u32,
    window_s: u32,
}

impl Rate {
    /// `quota` at once, and as many again in every `window_s` seconds.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(quota: u32, window_s: u32) -> Result<Self, String> {
        if !(1..=QUOTA_MAX).contains(&quota) {
            return Err(format!("quota is from 1 to {QUOTA_MAX}"));
        }
        if !(1..=WINDOW_MAX_S).contains(&window_s) {
            return Err(format!("window_s is from 1 to {WINDOW_MAX_S}"));
        }
        Ok(Self { quota, window_s })
    }

    /// How much a full bucket holds.
    pub const fn quota(self) -> u32 {
        self.quota
    }

    /// In how many seconds an empty one is full again.
    pub const fn window_s(self) -> u32 {
        self.window_s
    }

    /// In how many nanoseconds one is added. Rounded up, so that rounding never adds any.
    pub(super) const fn interval(self) -> i64 {
        let (quota, window) = (self.quota as i64, self.window_s as i64 * NANOS);
        (window + quota - 1) / quota
    }

    /// How many nanoseconds an empty bucket takes to be full.
    pub(super) const fn depth(self) -> i64 {
        self.quota as i64 * self.interval()
    }
}

/// The rates of all classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates([Rate; Class::ALL.len()]);

impl Rates {
    /// For callers who prove who they are.
    pub const STRICT: Self = Self([
        // People who sign in, also those of an office behind one address.
        Rate { quota: 60, window_s: 60 },
        // Nobody mistypes their password more often.
        Rate { quota: 10, window_s: 60 },
        // What clients send whose tokens have just ended, also those behind one address.
        Rate { quota: 600, window_s: 60 },
        // A script that makes campaigns.
        Rate { quota: 600, window_s: 60 },
        // A game server that asks what became of its outcomes.
        Rate { quota: 30_000, window_s: 60 },
        // Some per second would keep the readers' connections busy.
        Rate { quota: 60, window_s: 60 },
        // A game server that brings all its players.
        Rate { quota: 60_000, window_s: 60 },
        // Twice what one game server is said to be able to report.
        Rate { quota: 200_000, window_s: 10 },
    ]);

    /// For those who do not, and are on the same machine.
    pub const GENEROUS: Self = Self([Rate { quota: QUOTA_MAX / 1_000, window_s: 1 }; Class::ALL.len()]);

    /// The rate of a class.
    pub const fn of(&self, class: Class) -> Rate {
        self.0[class as usize]
    }

    /// The same with another rate of a class.
    #[must_use]
    pub const fn with(mut self, class: Class, rate: Rate) -> Self {
        self.0[class as usize] = rate;
        self
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(1, 1)]
    #[case(7, 60)]
    #[case(200_000, 10)]
    #[case(QUOTA_MAX, 1)]
    #[case(3, WINDOW_MAX_S)]
    fn rounding_adds_nothing(#[case] quota: u32, #[case] window_s: u32) {
        let rate = Rate::new(quota, window_s).unwrap();
        assert!(rate.interval() > 0);
        assert!(rate.depth() >= i64::from(window_s) * NANOS);
        assert_eq!(rate.depth() / rate.interval(), i64::from(quota));
    }

    #[rstest]
    #[case(0, 1, "quota is from 1")]
    #[case(QUOTA_MAX + 1, 1, "quota is from 1")]
    #[case(1, 0, "window_s is from 1")]
    #[case(1, WINDOW_MAX_S + 1, "window_s is from 1")]
    fn what_is_no_rate_is_refused(#[case] quota: u32, #[case] window_s: u32, #[case] says: &str) {
        assert!(Rate::new(quota, window_s).unwrap_err().starts_with(says));
    }

    #[test]
    fn a_class_keeps_its_place() {
        for (place, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, place);
            let rate = Rate::new(3, 4).unwrap();
            assert_eq!(Rates::STRICT.with(class, rate).of(class), rate);
        }
    }
}
