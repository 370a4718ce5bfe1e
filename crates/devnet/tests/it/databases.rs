//! Each test has a database of its own, from one cluster and one template.

use std::collections::BTreeSet;

use laurel_devnet::testing::TestDatabase;
use sqlx::{
    Connection as _, PgConnection, PgPool, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

fn migrator() -> &'static Migrator {
    use std::sync::LazyLock;
    static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
        let sql = "CREATE TABLE things (n integer NOT NULL); CREATE TABLE runs AS SELECT now() AS at";
        let up = Migration::new(
            1,
            "things".into(),
            MigrationType::Simple,
            sqlx::AssertSqlSafe(sql).into_sql_str(),
            false,
        );
        Migrator::with_migrations(vec![up])
    });
    &MIGRATOR
}

async fn add_and_count(pool: &PgPool) -> i64 {
    sqlx::query("INSERT INTO things VALUES (1)").execute(pool).await.expect("migrated");
    sqlx::query_scalar("SELECT count(*) FROM things").fetch_one(pool).await.expect("migrated")
}

#[tokio::test]
async fn databases_do_not_see_each_other() {
    let (one, two) = tokio::join!(TestDatabase::create(migrator()), TestDatabase::create(migrator()));
    assert_ne!(one.url(), two.url());
    assert_eq!(add_and_count(one.pool()).await, 1);
    assert_eq!(add_and_count(two.pool()).await, 1);
    assert_eq!(add_and_count(two.pool()).await, 2);
}

#[tokio::test]
async fn a_dropped_database_is_gone_although_its_pool_was_in_use() {
    let database = TestDatabase::create(migrator()).await;
    let url = database.url().to_owned();
    let kept = database.pool().acquire().await.expect("a session");
    drop(database);
    let error = PgConnection::connect(&url).await.expect_err("it is gone");
    assert!(error.to_string().contains("does not exist"), "{error}");
    drop(kept);
}

/// As the test harness does it: each test has a runtime that ends while others go on.
#[test]
fn the_cluster_outlives_the_runtimes_that_use_it() {
    let one_test = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let database = TestDatabase::create(migrator()).await;
            assert_eq!(add_and_count(database.pool()).await, 1);
            let migrated: String = sqlx::query_scalar("SELECT at::text FROM runs")
                .fetch_one(database.pool())
                .await
                .expect("migrated");
            migrated
        })
    };
    let migrated: BTreeSet<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(one_test)).collect();
        threads.into_iter().map(|thread| thread.join().expect("it passed")).collect()
    });
    assert_eq!(migrated.len(), 1, "one template, migrated once");
    assert!(migrated.contains(&one_test()), "also for a later runtime");
}
