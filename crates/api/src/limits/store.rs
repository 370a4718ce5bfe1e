//! Buckets in the database.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::{Bucket, Rate};

/// How many buckets are swept at once, so that nobody waits for it.
const SWEEP_ROWS_MAX: i64 = 10_000;

/// What is wanted of a bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// How much, if there is as much.
    pub(super) portion: i64,
    /// What was leased before and not spent.
    pub(super) unspent: i64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leased {
    /// How much.
    pub(super) portion: i64,
    /// The bucket's theoretical arrival time then.
    pub(super) arrival: i64,
}

/// A bucket of which something is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    pub(super) bucket: Bucket,
    pub(super) rate: Rate,
    pub(super) wanted: Wanted,
}

/// Takes a portion of each bucket: as much of it as there is at `now`, in nanoseconds.
pub(super) async fn lease(conn: &mut PgConnection, now: i64, leases: &[Lease]) -> sqlx::Result<Vec<Leased>> {
    let mut leased: Vec<Option<Leased>> = vec![None; leases.len()];
    // A bucket that is asked of twice is asked of again: a statement changes no row twice.
    while leased.contains(&None) {
        let mut now_asked: BTreeMap<&[u8], (usize, &Lease)> = BTreeMap::new();
        for (at, lease) in leases.iter().enumerate().filter(|(at, _)| leased[*at].is_none()) {
            now_asked.entry(&lease.bucket.key).or_insert((at, lease));
        }
        for row in lease_each(conn, now, &now_asked).await? {
            if let Some((at, _)) = now_asked.get(row.key.as_slice()) {
                leased[*at] = Some(Leased { portion: row.portion, arrival: row.arrival });
            }
        }
    }
    Ok(leased.into_iter().flatten().collect())
}

struct Row {
    key: Vec<u8>,
    arrival: i64,
    portion: i64,
}

async fn lease_each(
    conn: &mut PgConnection,
    now: i64,
    leases: &BTreeMap<&[u8], (usize, &Lease)>,
) -> sqlx::Result<Vec<Row>> {
    let keys: Vec<Vec<u8>> = leases.keys().map(|key| key.to_vec()).collect();
    let column = |of: fn(&Lease) -> i64| leases.values().map(|(_, lease)| of(lease)).collect::<Vec<i64>>();
    // What comes back was charged before: it cannot have the bucket hold more than its quota. In the order of the keys, so that replicas
    // do not wait for each other's rows.
    sqlx::query_as!(
        Row,
        r#"
        WITH wanted AS (
            SELECT * FROM unnest($1::bytea[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
                AS w (key, portion, quota, span, unspent)
        )
        INSERT INTO rate_buckets AS bucket (key, arrival, leased)
        SELECT key, $2::bigint + least(portion, quota) * span, least(portion, quota) FROM wanted
        ORDER BY key
        ON CONFLICT (key) DO UPDATE SET (arrival, leased) = (
            SELECT since.at + taken.portion * w.span, taken.portion
            FROM wanted w,
                 LATERAL (SELECT greatest(bucket.arrival - w.unspent * w.span, $2::bigint) AS at) since,
                 LATERAL (
                     SELECT least(w.portion, greatest(0, ($2::bigint + w.quota * w.span - since.at) / w.span)) AS portion
                 ) taken
            WHERE w.key = bucket.key
        )
        RETURNING key, arrival, leased AS portion
        "#,
        &keys,
        now,
        &column(|lease| lease.wanted.portion),
        &column(|lease| i64::from(lease.rate.quota())),
        &column(|lease| lease.rate.interval()),
        &column(|lease| lease.wanted.unspent),
    )
    .fetch_all(conn)
    .await
}

/// Removes buckets that are full, which are as good as none.
pub(super) async fn sweep(conn: &mut PgConnection, now: i64) -> sqlx::Result<u64> {
    let swept = sqlx::query!(
        r#"
        DELETE FROM rate_buckets
        WHERE key IN (SELECT key FROM rate_buckets WHERE arrival < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)
        "#,
        now,
        SWEEP_ROWS_MAX,
    )
    .execute(conn)
    .await?;
    Ok(swept.rows_affected())
}
