//! Buckets in the database.

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
#[derive(Clone, Copy, Debug)]
pub(super) struct Leased {
    /// How much.
    pub(super) portion: i64,
    /// The bucket's theoretical arrival time then.
    pub(super) arrival: i64,
}

/// Takes a portion of a bucket: as much of it as there is at `now`, in nanoseconds.
pub(super) async fn lease(
    conn: &mut PgConnection,
    now: i64,
    bucket: &Bucket,
    rate: Rate,
    wanted: Wanted,
) -> sqlx::Result<Leased> {
    // What comes back was charged before: it cannot have the bucket hold more than its quota.
    sqlx::query_as!(
        Leased,
        r#"
        INSERT INTO rate_buckets AS bucket (key, arrival, leased)
        VALUES ($1, $2::bigint + least($3::bigint, $4::bigint) * $5::bigint, least($3::bigint, $4::bigint))
        ON CONFLICT (key) DO UPDATE SET (arrival, leased) = (
            SELECT since.at + taken.portion * $5::bigint, taken.portion
            FROM (SELECT greatest(bucket.arrival - $6::bigint * $5::bigint, $2::bigint) AS at) since,
                 LATERAL (
                     SELECT least(
                         $3::bigint, greatest(0, ($2::bigint + $4::bigint * $5::bigint - since.at) / $5::bigint)
                     ) AS portion
                 ) taken
        )
        RETURNING arrival, leased AS portion
        "#,
        bucket.key.as_slice(),
        now,
        wanted.portion,
        i64::from(rate.quota()),
        rate.interval(),
        wanted.unspent,
    )
    .fetch_one(conn)
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
