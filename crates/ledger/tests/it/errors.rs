//! Which errors of a real PostgreSQL say something about the data.

use laurel_ledger::is_infrastructure;
use sqlx::{
    Connection, PgPool,
    postgres::{PgConnectOptions, PgConnection},
};

use crate::world::{database, funded_campaign};

fn code(error: &sqlx::Error) -> String {
    error.as_database_error().and_then(|error| error.code()).unwrap().into_owned()
}

async fn raise(pool: &PgPool, code: &str) -> sqlx::Error {
    let statement = format!("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}'; END $$");
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(pool).await.unwrap_err()
}

#[tokio::test]
async fn codes_are_told_apart() {
    let database = database().await;
    let infrastructure = [
        "08006", "25006", "28000", "28P01", "3D000", "40001", "40P01", "42501", "42703", "42P01", "53100",
        "53200", "53300", "55000", "55006", "55P03", "57014", "57P01", "57P02", "57P03", "58030", "F0000",
        "XX000", "XX001",
    ];
    // 0A000 as well, where nothing says that it is a plan's fault.
    let data = ["0A000", "22001", "22003", "22P02", "23001", "23502", "23503", "23505", "25P02", "P0001"];
    for expected in infrastructure {
        let error = raise(database.pool(), expected).await;
        assert_eq!(code(&error), expected);
        assert!(is_infrastructure(&error), "{expected}");
    }
    for expected in data {
        let error = raise(database.pool(), expected).await;
        assert_eq!(code(&error), expected);
        assert!(!is_infrastructure(&error), "{expected}");
    }
}

#[tokio::test]
async fn whatever_happens_while_connecting_is_the_infrastructures() {
    let database = database().await;
    let options = (*database.pool().connect_options()).clone();
    let closed = format!("{}_closed", options.get_database().unwrap());
    let statements = [
        format!(r#"CREATE DATABASE "{closed}""#),
        format!(r#"ALTER DATABASE "{closed}" ALLOW_CONNECTIONS false"#),
    ];
    for statement in statements {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(database.pool()).await.unwrap();
    }
    let refused = |options: PgConnectOptions| async move {
        let error = PgConnection::connect_with(&options).await.unwrap_err();
        assert!(is_infrastructure(&error), "{error}");
        code(&error)
    };
    assert_eq!(refused(options.clone().database("no_such_database")).await, "3D000");
    assert_eq!(refused(options.clone().database(&closed)).await, "55000");
    assert_eq!(refused(options.clone().options([("work_mem", "much")])).await, "22023");
    let dropped = format!(r#"DROP DATABASE "{closed}""#);
    sqlx::query(sqlx::AssertSqlSafe(dropped)).execute(database.pool()).await.unwrap();
}

#[tokio::test]
async fn a_session_that_is_ended_is_the_infrastructures() {
    let database = database().await;
    let mut conn = database.pool().acquire().await.unwrap();
    let ended = sqlx::query("SELECT pg_terminate_backend(pg_backend_pid())").execute(&mut *conn).await;
    assert!(is_infrastructure(&ended.unwrap_err()));
}

#[tokio::test]
async fn a_plan_from_before_a_migration_is_the_infrastructures() {
    let database = database().await;
    let mut conn = database.pool().acquire().await.unwrap();
    let read = "SELECT * FROM organisations";
    sqlx::query(read).execute(&mut *conn).await.unwrap();
    sqlx::query("ALTER TABLE organisations ADD COLUMN extra integer").execute(database.pool()).await.unwrap();
    let stale = sqlx::query(read).execute(&mut *conn).await.unwrap_err();
    assert_eq!(code(&stale), "0A000");
    assert!(is_infrastructure(&stale), "{stale}");
}

#[tokio::test]
async fn a_missing_range_is_no_check_that_failed() {
    let database = database().await;
    let pool = database.pool();
    let campaign = funded_campaign(pool, 7, 100).await;
    let missing = sqlx::query(
        "INSERT INTO declines SELECT $1, 0, 0, 1000000000, 0, gen_random_uuid(), gen_random_uuid(), 'x', 1, now()",
    )
    .bind(campaign.number())
    .execute(pool)
    .await
    .unwrap_err();
    let check =
        sqlx::query("UPDATE accounts SET available = -1, reserved = 101").execute(pool).await.unwrap_err();
    assert_eq!((code(&missing), code(&check)), ("23514".to_owned(), "23514".to_owned()));
    assert!(is_infrastructure(&missing), "{missing}");
    assert!(!is_infrastructure(&check), "{check}");
}

#[test]
fn errors_that_no_server_made() {
    assert!(is_infrastructure(&sqlx::Error::PoolTimedOut));
    assert!(is_infrastructure(&sqlx::Error::BeginFailed));
    assert!(!is_infrastructure(&sqlx::Error::RowNotFound));
}
