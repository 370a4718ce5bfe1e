//! Whether the database is the one that it was, and keeps what it says that it keeps.

use anyhow::{Context, bail};
use laurel_events::{Clock, SystemClock, time_ordered};
use laurel_ledger::{LedgerError, quarantine_another};
use rand::{SeedableRng, rngs::StdRng};
use sqlx::{PgConnection, PgPool};

/// Looks at a new connection. If it leads to another database than the one that it was, a quarantine begins by itself; one to a
/// standby is refused, because it would not be looked at again when that is promoted.
///
/// # Errors
/// If the database does not answer, or is a standby.
pub(super) async fn check(conn: &mut PgConnection) -> sqlx::Result<()> {
    let standby: bool = sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(&mut *conn).await?;
    if standby {
        return Err(sqlx::Error::Protocol("the database is a standby: connect to the primary".to_owned()));
    }
    let known: Option<String> =
        sqlx::query_scalar("SELECT to_regclass('identity')::text").fetch_one(&mut *conn).await?;
    if known.is_none() {
        // Before its migrations; whoever connects says so.
        return Ok(());
    }
    let now = SystemClock.now();
    let epoch = time_ordered(now, &mut StdRng::from_os_rng());
    let begun = quarantine_another(conn, now, epoch).await.map_err(|error| match error {
        LedgerError::Database(error) => error,
        other => sqlx::Error::Protocol(other.to_string()),
    })?;
    if let Some(reason) = begun {
        tracing::error!(reason, "quarantine: nothing is signed until `laurel recover` was run");
    }
    Ok(())
}

/// Refuses a database that may forget what it has acknowledged: a settlement is sent as soon as its commit is.
pub(crate) async fn require_durable(pool: &PgPool) -> anyhow::Result<()> {
    for setting in ["fsync", "synchronous_commit"] {
        let value: String = sqlx::query_scalar("SELECT current_setting($1)")
            .bind(setting)
            .fetch_one(pool)
            .await
            .context(setting)?;
        if value == "off" {
            bail!(
                "the database has {setting} = off and may forget what was signed: set it to on, or, for a throw-away \
                 database, database.durable = false"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use laurel_devnet::testing::TestDatabase;
    use laurel_ledger::{MIGRATOR, lock_quarantine};
    use sqlx::{Connection as _, postgres::PgPoolOptions};

    use super::*;

    #[tokio::test]
    async fn a_database_that_may_forget_is_refused() {
        let database = TestDatabase::create(&MIGRATOR).await;
        let pool = PgPoolOptions::new()
            .after_connect(|conn, _| {
                Box::pin(async {
                    sqlx::raw_sql("SET synchronous_commit = off").execute(conn).await.map(drop)
                })
            })
            .connect(database.url())
            .await
            .unwrap();
        let refused = require_durable(&pool).await.expect_err("it may forget").to_string();
        assert!(refused.contains("= off and may forget what was signed"), "{refused}");
    }

    #[tokio::test]
    async fn a_copy_goes_into_quarantine_and_what_it_is_a_copy_of_does_not() {
        let database = TestDatabase::create(&MIGRATOR).await;
        let mut conn = PgConnection::connect(database.url()).await.unwrap();
        for _ in 0..2 {
            check(&mut conn).await.unwrap();
            assert_eq!(lock_quarantine(&mut conn).await.unwrap(), None);
        }
        conn.close().await.unwrap();
        let copy = database.copy().await;
        let mut conn = PgConnection::connect(copy.url()).await.unwrap();
        let stopped = laurel_ledger::is_chain_stopped(&mut conn, 1).await.unwrap();
        assert!(stopped, "nothing is signed even before anybody has looked");
        check(&mut conn).await.unwrap();
        let quarantine = lock_quarantine(&mut conn).await.unwrap().expect("it is in quarantine");
        assert!(quarantine.reason.contains("the database's id was"), "{}", quarantine.reason);
        check(&mut conn).await.unwrap();
        let told: i64 = sqlx::query_scalar("SELECT count(*) FROM journal WHERE kind = 'OperatorAlertRaised'")
            .fetch_one(&mut conn)
            .await
            .unwrap();
        assert!((1..=2).contains(&told), "it is told once");
    }
}
