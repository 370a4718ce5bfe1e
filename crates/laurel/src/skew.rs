//! How far this machine's clock is from the database's: deadlines and leases are decided by the clocks of many machines, and the
//! database's is the one that all of them can see.

use chrono::{DateTime, TimeDelta, Utc};
use laurel_events::Clock;
use prometheus::{Gauge, Registry};
use sqlx::PgPool;

/// Further off than that nobody works. Two that are off by as much each way are less than the shortest lease apart, which lasts two
/// seconds: more, and whoever is ahead would take what others have, and fail grants whose deadlines have not passed.
const SKEW_MAX: TimeDelta = TimeDelta::milliseconds(900);

/// Refuses a clock that is too far ahead of the database's, or behind.
///
/// # Errors
/// If it is.
pub(crate) fn require_little(ahead: TimeDelta) -> anyhow::Result<()> {
    if ahead.abs() <= SKEW_MAX {
        return Ok(());
    }
    let how = if ahead < TimeDelta::zero() { "behind" } else { "ahead of" };
    anyhow::bail!(
        "the clock of this machine is {} ms {how} the database's, and deadlines bear {} ms: have both follow the same time",
        ahead.num_milliseconds().abs(),
        SKEW_MAX.num_milliseconds(),
    )
}

/// Looks at both clocks.
#[derive(Clone, Debug)]
pub(crate) struct SkewGauge(Gauge);

impl SkewGauge {
    /// Registers the gauge.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = Gauge::new(
            "laurel_clock_skew_seconds",
            "By how much this machine's clock is ahead of the database's, as far as the way there lets see it.",
        )?;
        registry.register(Box::new(gauge.clone()))?;
        Ok(Self(gauge))
    }

    /// By how much this machine's clock is ahead.
    ///
    /// # Errors
    /// If the database does not answer.
    pub(crate) async fn look(&self, pool: &PgPool, clock: &dyn Clock) -> sqlx::Result<TimeDelta> {
        // Waiting for a connection is no part of the way.
        let mut conn = pool.acquire().await?;
        let asked = clock.now();
        let there: DateTime<Utc> =
            sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "there!""#).fetch_one(&mut *conn).await?;
        let ahead = ahead(asked, there, clock.now());
        self.0.set(ahead.as_seconds_f64());
        Ok(ahead)
    }
}

/// By how much this machine is ahead, at least: the database was asked for its time between two moments here.
fn ahead(asked: DateTime<Utc>, there: DateTime<Utc>, answered: DateTime<Utc>) -> TimeDelta {
    if there < asked {
        asked - there
    } else if there > answered {
        answered - there
    } else {
        TimeDelta::zero()
    }
}

#[cfg(test)]
mod tests {
    use laurel_devnet::testing::TestDatabase;
    use laurel_events::{MockClock, SystemClock};

    use super::*;

    #[test]
    fn a_slow_answer_is_no_skew() {
        let at = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        assert_eq!(ahead(at(10), at(15), at(20)), TimeDelta::zero());
        assert_eq!(ahead(at(10), at(7), at(20)), TimeDelta::seconds(3));
        assert_eq!(ahead(at(10), at(25), at(20)), TimeDelta::seconds(-5));
    }

    #[tokio::test]
    async fn a_clock_that_is_far_off_is_refused() {
        let database = TestDatabase::create(&laurel_ledger::MIGRATOR).await;
        let gauge = SkewGauge::register(&Registry::new()).unwrap();
        let look =
            async |clock: &dyn Clock| require_little(gauge.look(database.pool(), clock).await.unwrap());
        look(&SystemClock).await.unwrap();
        for (by, how) in [(60, "ahead of"), (-60, "behind")] {
            let clock = MockClock::at(SystemClock.now() + TimeDelta::seconds(by));
            let refused = look(&clock).await.unwrap_err().to_string();
            assert!(refused.contains(how), "{refused}");
        }
    }
}
