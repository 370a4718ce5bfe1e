//! Windows that come again and again: every Friday from six to nine in Berlin.

use chrono::{DateTime, DurationRound, Offset, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::{
    Cron, Direction,
    parser::{CronParser, Seconds, Year},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The longest window: with a longer one, a week's would never close.
const MINUTES_MAX: u32 = 7 * 24 * 60;

/// The longest pattern, in bytes.
const PATTERN_MAX: usize = 100;

/// How long a pattern may be without any time: 29 February comes after eight years at the latest.
const GAP_MAX: TimeDelta = TimeDelta::days(9 * 366);

/// How far from a change of the clock things are not what it shows: more than it is ever changed by at once.
const CHANGE_MAX: TimeDelta = TimeDelta::hours(3);

/// How many openings are looked at for one moment: there is one a minute, and two where the clock shows an hour twice.
const OPENINGS_MAX: usize = 1_000;

/// When windows open, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Windows {
    /// When one opens: minute, hour, day of the month, month, day of the week, as cron has it.
    #[schema(format = "cron", max_length = 100, example = "0 18 * * FRI")]
    pub cron: String,
    /// The time zone of that clock, as the IANA database names it. A time that its clock skips is the first one after; of a time that
    /// its clock shows twice, the first counts.
    #[schema(format = "time-zone", example = "Europe/Berlin")]
    pub time_zone: String,
    /// For how many minutes it is open.
    #[schema(minimum = 1, maximum = 10080, example = 240)]
    pub minutes: u32,
}

/// Windows, ready to be asked.
#[derive(Clone, Debug)]
pub struct Recurrence {
    cron: Cron,
    time_zone: Tz,
    length: TimeDelta,
}

impl Windows {
    /// Checks them; `now` is where one looks for the next from.
    ///
    /// # Errors
    /// The field that is wrong, and what it must be.
    pub fn check(&self, now: DateTime<Utc>) -> Result<(), (&'static str, String)> {
        let next = self.parse()?.next_after(now);
        if next.is_some_and(|next| next - now <= GAP_MAX) {
            Ok(())
        } else {
            Err(("cron", format!("{} comes in no year", self.cron)))
        }
    }

    /// Makes them ready to be asked.
    ///
    /// # Errors
    /// The field that is wrong, and what it must be.
    pub fn parse(&self) -> Result<Recurrence, (&'static str, String)> {
        if !(1..=MINUTES_MAX).contains(&self.minutes) {
            return Err(("minutes", format!("1 to {MINUTES_MAX}")));
        }
        if self.cron.len() > PATTERN_MAX {
            return Err(("cron", format!("at most {PATTERN_MAX} bytes")));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(&self.cron).map_err(|error| {
            let problem = format!("{error}; such as 0 18 * * FRI: minute, hour, day, month, day of the week");
            ("cron", problem)
        })?;
        let time_zone = self
            .time_zone
            .parse()
            .map_err(|_| ("time_zone", format!("{:?} is none; such as Europe/Berlin", self.time_zone)))?;
        Ok(Recurrence { cron, time_zone, length: TimeDelta::minutes(self.minutes.into()) })
    }
}

impl Recurrence {
    /// Whether a window is open at that time: from its first moment on, and no more at its end.
    pub fn is_open(&self, at: DateTime<Utc>) -> bool {
        // Windows open at whole seconds. One that did later than this is still open.
        let Ok(since) = (at - self.length).duration_trunc(TimeDelta::seconds(1)) else { return false };
        self.opens(since, at).any(|opens| opens > since && opens <= at)
    }

    /// When the next window opens.
    fn next_after(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.opens(moment, moment + GAP_MAX).find(|opens| *opens > moment)
    }

    /// When windows open from one moment to another. Where the clock is set, some are earlier or later.
    fn opens(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        let local = |moment: DateTime<Utc>| moment.with_timezone(&self.time_zone);
        let (before, after) = (from - CHANGE_MAX, to + CHANGE_MAX);
        let is_set = local(before).offset().fix() != local(after).offset().fix();
        // A time that the clock skips is found only from before; of one that it shows twice the second comes before the next.
        let (from, to) = if is_set { (before, after) } else { (from, to) };
        let all = self.cron.iter_from(local(from), Direction::Forward).take(OPENINGS_MAX);
        all.map(|opens| opens.with_timezone(&Utc)).take_while(move |opens| *opens <= to)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn windows(cron: &str, time_zone: &str, minutes: u32) -> Windows {
        Windows { cron: cron.to_owned(), time_zone: time_zone.to_owned(), minutes }
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[rstest]
    #[case::before("2026-01-02T16:59:59.999Z", false)]
    #[case::opens("2026-01-02T17:00:00Z", true)]
    #[case::within("2026-01-02T19:59:59.999Z", true)]
    #[case::closed("2026-01-02T20:00:00Z", false)]
    #[case::another_day("2026-01-03T18:00:00Z", false)]
    #[case::summer_opens("2026-07-03T16:00:00Z", true)]
    #[case::summer_closed("2026-07-03T19:00:00Z", false)]
    fn every_friday_evening_in_berlin(#[case] time: &str, #[case] open: bool) {
        let windows = windows("0 18 * * FRI", "Europe/Berlin", 180).parse().unwrap();
        assert_eq!(windows.is_open(at(time)), open);
    }

    #[rstest]
    // On 29 March 2026 the clock goes from 2:00 to 3:00: half past two is three.
    #[case::skipped_before("2026-03-29T00:59:59Z", false)]
    #[case::skipped_opens("2026-03-29T01:00:00Z", true)]
    #[case::skipped_within("2026-03-29T01:09:59Z", true)]
    #[case::skipped_closed("2026-03-29T01:10:00Z", false)]
    // On 25 October 2026 it shows 2:30 twice: the first one counts.
    #[case::first_of_two("2026-10-25T00:30:00Z", true)]
    #[case::first_closed("2026-10-25T00:40:00Z", false)]
    #[case::second_of_two("2026-10-25T01:30:00Z", false)]
    #[case::second_within("2026-10-25T01:35:00Z", false)]
    #[case::next_day("2026-10-26T01:30:00Z", true)]
    fn a_clock_that_is_set(#[case] time: &str, #[case] open: bool) {
        let windows = windows("30 2 * * *", "Europe/Berlin", 10).parse().unwrap();
        assert_eq!(windows.is_open(at(time)), open);
    }

    #[test]
    fn every_minute_is_open_also_when_the_clock_is_set() {
        let windows = windows("* * * * *", "Europe/Berlin", 1).parse().unwrap();
        for day in ["2026-03-29", "2026-10-25"] {
            let midnight = at(&format!("{day}T00:00:00Z"));
            for second in (0..4 * 3_600).step_by(7) {
                let time = midnight + TimeDelta::seconds(second);
                assert!(windows.is_open(time), "{time}");
            }
        }
    }

    #[test]
    fn a_window_is_as_long_as_it_says_whatever_the_clock_shows() {
        // Open from 1:00 for three hours, while the clock shows the hour from two to three twice.
        let windows = windows("0 1 * * *", "Europe/Berlin", 180).parse().unwrap();
        for (time, open) in [
            ("2026-10-24T23:00:00Z", true),
            ("2026-10-25T00:30:00Z", true),
            ("2026-10-25T01:59:59Z", true),
            ("2026-10-25T02:00:00Z", false),
        ] {
            assert_eq!(windows.is_open(at(time)), open, "{time}");
        }
    }

    #[rstest]
    #[case::no_pattern("", "UTC", 60, "cron")]
    #[case::seconds("0 0 18 * * FRI", "UTC", 60, "cron")]
    #[case::nonsense("at six", "UTC", 60, "cron")]
    #[case::never("0 0 30 2 *", "UTC", 60, "comes in no year")]
    #[case::no_zone("0 18 * * *", "Berlin", 60, "such as Europe/Berlin")]
    #[case::nothing("0 18 * * *", "UTC", 0, "minutes: 1 to 10080")]
    #[case::for_ever("0 18 * * *", "UTC", 10_081, "minutes: 1 to 10080")]
    fn what_cannot_be_is_refused(
        #[case] cron: &str,
        #[case] zone: &str,
        #[case] minutes: u32,
        #[case] says: &str,
    ) {
        let (field, problem) = windows(cron, zone, minutes).check(at("2026-01-01T00:00:00Z")).unwrap_err();
        let told = format!("{field}: {problem}");
        assert!(told.contains(says), "{told}");
    }

    #[test]
    fn what_comes_seldom_is_fine() {
        assert_eq!(windows("0 0 29 2 *", "UTC", 60).check(at("2096-03-01T00:00:00Z")), Ok(()));
    }
}
