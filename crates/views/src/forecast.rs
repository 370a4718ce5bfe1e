//! When a budget will be used up, at the rate of the last day.

use bigdecimal::BigDecimal;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use crate::CampaignHour;

/// The hours that tell the rate.
pub const FORECAST_HOURS: i64 = 24;

/// For how long something has to have been spent, at least, that a rate is made of it.
const KNOWN_MIN: TimeDelta = TimeDelta::minutes(5);

/// The last moment that is told.
const LAST: DateTime<Utc> = match DateTime::from_timestamp_secs(253_402_300_799) {
    Some(last) => last,
    None => DateTime::UNIX_EPOCH,
};

/// How fast a campaign spends its budget, and until when that lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// What is granted in an hour, less what is given back, in base units.
    pub per_hour: BigDecimal,
    /// When nothing is left, to the hour; nothing if it grants nothing, or nothing is left already.
    pub budget_ends_at: Option<DateTime<Utc>>,
}

/// The first of the hours that a forecast is made of.
pub fn forecast_from(now: DateTime<Utc>) -> DateTime<Utc> {
    let hour = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now);
    hour - TimeDelta::hours(FORECAST_HOURS - 1)
}

/// The forecast by the hours from [`forecast_from`] on, with what is `available`; nothing while too little is known. It is that of a whole minute:
/// it does not change by itself in between.
pub fn forecast(now: DateTime<Utc>, hours: &[CampaignHour], available: &BigDecimal) -> Option<Forecast> {
    let now = now.duration_trunc(TimeDelta::minutes(1)).ok()?;
    let first = hours.iter().map(|hour| hour.hour).min()?;
    let known = (now - first).max(KNOWN_MIN);
    let spent: BigDecimal = hours.iter().map(|hour| &hour.granted_amount - &hour.released_amount).sum();
    let spent = spent.max(BigDecimal::default());
    let seconds = BigDecimal::from(known.num_seconds());
    let hour = BigDecimal::from(3_600);
    let per_hour = (&spent * &hour / &seconds).with_scale(0);
    let nothing = BigDecimal::default();
    let lasts = (spent > nothing && *available > nothing).then(|| available * &seconds / &spent);
    let ends = |lasts: BigDecimal| {
        let seconds: i64 = lasts.with_scale(0).to_string().parse().ok()?;
        let ends = now.checked_add_signed(TimeDelta::try_seconds(seconds)?)?;
        ends.duration_trunc(TimeDelta::hours(1)).ok().filter(|ends| *ends <= LAST)
    };
    Some(Forecast { per_hour, budget_ends_at: lasts.and_then(ends) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(hour: DateTime<Utc>, granted: i64, released: i64) -> CampaignHour {
        CampaignHour {
            hour,
            granted: 1,
            granted_amount: granted.into(),
            declined: 0,
            released: 1,
            released_amount: released.into(),
            paid: 0,
            paid_amount: 0.into(),
        }
    }

    fn at(hours: i64, minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::hours(hours) + TimeDelta::minutes(minutes)
    }

    #[test]
    fn what_is_spent_in_an_hour_lasts_as_many_hours() {
        // Two and a half hours, in which 250 less 50 were granted.
        let hours = [hour(at(2, 0), 50, 50), hour(at(1, 0), 100, 0), hour(at(0, 0), 100, 0)];
        let told = forecast(at(2, 30), &hours, &800.into()).unwrap();
        assert_eq!(told, Forecast { per_hour: 80.into(), budget_ends_at: Some(at(12, 0)) });
        let later = at(2, 30) + TimeDelta::seconds(59);
        assert_eq!(forecast(later, &hours, &800.into()), Some(told), "the same within a minute");
    }

    #[test]
    fn who_spends_nothing_or_has_nothing_comes_to_no_end() {
        assert_eq!(forecast(at(3, 0), &[], &800.into()), None);
        let idle = forecast(at(3, 0), &[hour(at(1, 0), 10, 10)], &800.into()).unwrap();
        assert_eq!((idle.per_hour, idle.budget_ends_at), (0.into(), None));
        let given_back = forecast(at(3, 0), &[hour(at(1, 0), 10, 20)], &800.into()).unwrap();
        assert_eq!((given_back.per_hour, given_back.budget_ends_at), (0.into(), None));
        let empty = forecast(at(3, 0), &[hour(at(1, 0), 10, 0)], &0.into()).unwrap();
        assert_eq!(empty.budget_ends_at, None);
        // Nor does one that would end in millions of years.
        let huge: BigDecimal = "1e40".parse().unwrap();
        assert_eq!(forecast(at(3, 0), &[hour(at(1, 0), 10, 0)], &huge).unwrap().budget_ends_at, None);
    }

    #[test]
    fn the_first_minutes_are_no_rate_of_seconds() {
        let told = forecast(at(1, 0), &[hour(at(1, 0), 10, 0)], &120.into()).unwrap();
        assert_eq!((told.per_hour, told.budget_ends_at), (120.into(), Some(at(2, 0))));
        assert_eq!(forecast_from(at(30, 30)), at(7, 0));
    }
}
