//! Buckets of all callers, as one replica sees them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use moka::sync::Cache;
use sqlx::PgPool;
use tokio::sync::Mutex;

use super::{
    Bucket, Class, LimitMetrics, Rate, Rates,
    store::{self, Lease, Leased, Wanted},
};
use crate::{Problem, together::Together};

/// How long what was leased may be spent. What is left then goes back with the next lease.
const LEASE: TimeDelta = TimeDelta::seconds(10);

/// A lease is this part of the quota: a caller who uses all of it costs some twenty statements in its window, and replicas that
/// are not asked any more keep no more from the others.
const PORTIONS: u32 = 20;

/// How long a lease is waited for. Nobody waits for the limiter longer.
const LEASE_TIMEOUT: Duration = Duration::from_millis(100);

/// For how long the database is not asked after it did not answer.
const AWAY: TimeDelta = TimeDelta::seconds(1);

/// How many callers a replica remembers. Who is forgotten is looked up.
const CALLERS_MAX: u64 = 100_000;

/// How long a caller is remembered who asks for nothing.
const IDLE: Duration = Duration::from_secs(600);

/// What a replica knows of a bucket, and has of it.
#[derive(Debug, Default)]
struct Share {
    /// What is leased and not spent.
    left: i64,
    /// Until when it may be spent, and what is known of the bucket is taken for true.
    until: Option<DateTime<Utc>>,
    /// The bucket's theoretical arrival time, in nanoseconds, as far as it is known.
    arrival: i64,
}

/// How a caller stands with a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(super) class: Class,
    pub(super) rate: Rate,
    /// How much there is.
    pub(super) remaining: i64,
    /// In how many seconds there is all of the quota.
    pub(super) full_in_s: i64,
    /// In how many seconds what was refused would be admitted.
    pub(super) refused_for_s: Option<i64>,
}

/// The buckets. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Limiter {
    pool: PgPool,
    rates: Rates,
    metrics: LimitMetrics,
    shares: Cache<[u8; 16], Arc<Mutex<Share>>>,
    leases: Together<Lease, Leased>,
    /// Until when the database is not asked, in milliseconds since 1970.
    away_until: Arc<AtomicI64>,
}

impl Limiter {
    /// A replica's limiter. `pool` is for nothing else, so that it is there when all else is busy.
    pub(crate) fn new(pool: PgPool, rates: Rates, metrics: LimitMetrics) -> Self {
        let shares = Cache::builder().max_capacity(CALLERS_MAX).time_to_idle(IDLE).build();
        let leases = Together::default();
        Self { pool, rates, metrics, shares, leases, away_until: Arc::default() }
    }

    /// How much a full bucket holds.
    pub(super) fn quota(&self, bucket: &Bucket) -> usize {
        usize::try_from(self.rates.of(bucket.class).quota()).unwrap_or(usize::MAX)
    }

    /// Takes `count` of a bucket, if there are as many.
    ///
    /// While the database is away, a replica goes on alone from what it knows: it admits what one replica may.
    pub(crate) async fn take(&self, now: DateTime<Utc>, bucket: &Bucket, count: usize) -> Standing {
        let rate = self.rates.of(bucket.class);
        let count = i64::try_from(count).unwrap_or(i64::MAX).min(i64::from(rate.quota()));
        let share = self.shares.get_with(bucket.key, Arc::default);
        let mut share = share.lock().await;
        let nanos = nanos(now);
        let over = share.until.is_none_or(|until| until <= now);
        let (has, unspent) = if over { (0, share.left) } else { (share.left, 0) };
        let known = share.arrival - unspent * rate.interval();
        // There is more than what is known only if another replica has brought back what it did not spend, which it does once its lease
        // is over: whoever is refused by what is known is looked up once a lease, and not before.
        if has < count && (over || count - has <= available(rate, known, nanos)) {
            let portion = i64::from(rate.quota() / PORTIONS).max(count - has);
            let leased = match self.lease(now, bucket, rate, Wanted { portion, unspent }).await {
                Some(leased) => leased,
                None => alone(rate, share.arrival, nanos, Wanted { portion: count - has, unspent }),
            };
            *share = Share { left: has + leased.portion, until: Some(now + LEASE), arrival: leased.arrival };
        }
        let admitted = share.until.is_some_and(|until| until > now) && share.left >= count;
        if admitted {
            share.left -= count;
        } else {
            self.metrics.limited_total.with_label_values(&[bucket.class.as_str()]).inc();
        }
        standing(bucket.class, rate, &share, now, (!admitted).then_some(count))
    }

    /// Whether a bucket is known to be empty, by what was seen within a lease. Costs nothing.
    pub(crate) async fn is_empty(&self, now: DateTime<Utc>, bucket: &Bucket) -> Option<Standing> {
        let rate = self.rates.of(bucket.class);
        let share = self.shares.get(&bucket.key)?;
        let share = share.lock().await;
        let over = share.until.is_none_or(|until| until <= now);
        let empty = !over && share.left == 0 && available(rate, share.arrival, nanos(now)) == 0;
        empty.then(|| standing(bucket.class, rate, &share, now, Some(1)))
    }

    /// A portion, unless the database is away.
    async fn lease(&self, now: DateTime<Utc>, bucket: &Bucket, rate: Rate, wanted: Wanted) -> Option<Leased> {
        let millis = now.timestamp_millis();
        if millis < self.away_until.load(Ordering::Relaxed) {
            return None;
        }
        let pool = self.pool.clone();
        let lease = self.leases.ask(Lease { bucket: *bucket, rate, wanted }, move |leases| {
            let pool = pool.clone();
            async move {
                let mut conn = pool.acquire().await?;
                let leased = store::lease(&mut conn, nanos(now), &leases).await;
                leased.map_err(|error| {
                    tracing::warn!(%error, "limits are not shared for a moment: the database does not answer");
                    Problem::from(error)
                })
            }
        });
        let became = match tokio::time::timeout(LEASE_TIMEOUT, lease).await {
            Ok(Ok(leased)) => {
                self.metrics.leases_total.with_label_values(&["leased"]).inc();
                return Some(leased);
            }
            Ok(Err(_)) => "failed",
            Err(_) => {
                tracing::warn!("limits are not shared for a moment: the database does not answer in time");
                "late"
            }
        };
        self.metrics.leases_total.with_label_values(&[became]).inc();
        self.away_until.store(millis + AWAY.num_milliseconds(), Ordering::Relaxed);
        None
    }
}

/// What the database would have answered if nobody else asked.
fn alone(rate: Rate, arrival: i64, now: i64, wanted: Wanted) -> Leased {
    let arrival = (arrival - wanted.unspent * rate.interval()).max(now);
    let portion = wanted.portion.min(available(rate, arrival, now));
    Leased { portion, arrival: arrival + portion * rate.interval() }
}

/// How much is in a bucket.
fn available(rate: Rate, arrival: i64, now: i64) -> i64 {
    ((now + rate.depth() - arrival.max(now)) / rate.interval()).max(0)
}

fn standing(class: Class, rate: Rate, share: &Share, now: DateTime<Utc>, refused: Option<i64>) -> Standing {
    let left = share.until.filter(|until| *until > now).map_or(0, |_| share.left);
    let now = nanos(now);
    // When as much will be in the bucket as is missing.
    let admitted_at = |count: i64| share.arrival + (count - left) * rate.interval() - rate.depth();
    Standing {
        class,
        rate,
        remaining: (left + available(rate, share.arrival, now)).min(i64::from(rate.quota())),
        full_in_s: seconds(share.arrival - left * rate.interval() - now).max(0),
        refused_for_s: refused.map(|count| seconds(admitted_at(count) - now).max(1)),
    }
}

/// Whole seconds, rounded up.
fn seconds(nanos: i64) -> i64 {
    (nanos.max(0) + 999_999_999) / 1_000_000_000
}

/// The time in nanoseconds since 1970, which 64 bits hold until 2262.
fn nanos(now: DateTime<Utc>) -> i64 {
    now.timestamp_nanos_opt().unwrap_or(i64::MAX / 2)
}

/// Removes buckets that are full, and says how many.
///
/// # Errors
/// If the database does not answer.
pub async fn sweep_buckets(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<u64> {
    store::sweep(&mut *pool.acquire().await?, nanos(now)).await
}
