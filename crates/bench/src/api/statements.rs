//! What each statement of the database took, as PostgreSQL counted it.

use anyhow::Context;
use sqlx::PgPool;

use super::BOUND_MS;
use crate::figures::{Bound, Figure, Figures};

/// What PostgreSQL has to be started with.
pub(super) const SETTINGS: [&str; 2] =
    ["shared_preload_libraries=pg_stat_statements", "pg_stat_statements.track_planning=on"];

/// A statement that is executed less often says nothing.
const CALLS_MIN: i64 = 100;

/// How many standard deviations above the mean no more than one of twenty can be, whatever the distribution (Cantelli's inequality: a share
/// of at most 1 / (1 + k^2) is k standard deviations above the mean).
const DEVIATIONS: f64 = 4.36;

pub(super) async fn begin(pool: &PgPool) -> anyhow::Result<()> {
    sqlx::query("CREATE EXTENSION pg_stat_statements").execute(pool).await.context("counting statements")?;
    Ok(())
}

/// The slowest of all statements. PostgreSQL keeps mean and deviation, which bound the 95th percentile.
pub(super) async fn tell(pool: &PgPool, figures: &mut Figures) -> anyhow::Result<()> {
    let rows: Vec<(String, i64, f64, f64)> = sqlx::query_as(
        "SELECT regexp_replace(left(query, 160), '\\s+', ' ', 'g'), calls, mean_exec_time, stddev_exec_time
         FROM pg_stat_statements WHERE calls >= $1
         ORDER BY mean_exec_time + $2 * stddev_exec_time DESC",
    )
    .bind(CALLS_MIN)
    .bind(DEVIATIONS)
    .fetch_all(pool)
    .await
    .context("reading what statements took")?;
    let count = rows.len();
    for (at, (query, calls, mean, deviation)) in rows.into_iter().take(3).enumerate() {
        figures.figures.push(Figure {
            what: match at {
                0 => format!("the slowest of {count} statements"),
                _ => format!("number {} of them", at + 1),
            },
            value: mean + DEVIATIONS * deviation,
            unit: "ms p95",
            bound: Some(Bound::AtMost(BOUND_MS)),
            detail: format!("at the most: mean {mean:.2}, deviation {deviation:.2}, {calls} calls: {query}"),
        });
    }
    Ok(())
}
