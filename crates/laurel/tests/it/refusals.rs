//! What Laurel refuses to start with, and what it then tells to do.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
};

use laurel_devnet::testing::TestDatabase;
use laurel_ledger::MIGRATOR;
use rstest::rstest;

use crate::process::{laurel, output};

/// A configuration file.
fn file(folder: &Path, toml: &str) -> PathBuf {
    let file = folder.join("laurel.toml");
    std::fs::write(&file, toml).unwrap();
    file
}

/// Runs a command with a configuration that cannot work; what it says on stderr.
async fn refused(toml: &str, arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = laurel(arguments);
    command.arg("--config").arg(file(folder.path(), toml));
    let ended = output(command).await;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    said
}

#[rstest]
#[case::not_toml("[database", "expected")]
#[case::unknown_key("[database]\nurl = \"postgres://x\"\n[api]\nbnid = \"127.0.0.1:1\"\n", "bnid")]
#[case::no_database("[api]\nbind = \"127.0.0.1:0\"\n", "set DATABASE_URL, or database.url")]
#[case::open_to_the_world(
    "[database]\nurl = \"postgres://x\"\n[auth]\nmode = \"none\"\n[api]\nbind = \"0.0.0.0:8080\"\n",
    "api.bind must be a loopback address"
)]
#[case::too_many_grants("[database]\nurl = \"postgres://x\"\n[batch]\ngrants_max = 501\n", "EIP-7825")]
#[case::not_a_url("[database]\nurl = \"nonsense\"\n", "postgres://")]
#[tokio::test]
async fn a_configuration_that_cannot_work(#[case] toml: &str, #[case] says: &str) {
    let said = refused(toml, &["all"]).await;
    assert!(said.contains(says), "{said}");
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let ended = output(laurel(&["all", "--config", "/nowhere/laurel.toml"])).await;
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("/nowhere/laurel.toml"));
}

#[tokio::test]
async fn a_database_that_is_down() {
    // Bound and never listened on by a server: whoever connects is told nothing.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let toml = format!("[database]\nurl = \"postgres://laurel:geheim@127.0.0.1:{port}/laurel\"\n");
    let said = refused(&toml, &["all"]).await;
    assert!(said.contains("check database.url and that PostgreSQL is running"), "{said}");
    assert!(!said.contains("geheim"), "{said}");
}

fn config_of(database: &TestDatabase) -> String {
    format!(
        "[database]\nurl = \"{}\"\n[auth]\nmode = \"none\"\n[api]\nbind = \"127.0.0.1:0\"\n[ops]\nbind = \"127.0.0.1:0\"\n",
        database.url(),
    )
}

#[tokio::test]
async fn a_database_that_is_behind() {
    let database = TestDatabase::create(&MIGRATOR).await;
    let config = config_of(&database);
    let folder = tempfile::tempdir().unwrap();
    let mut down = laurel(&["migrate", "--down", "1"]);
    down.arg("--config").arg(file(folder.path(), &config));
    assert_eq!(output(down).await.status.code(), Some(0));
    let said = refused(&config, &["all"]).await;
    assert!(said.contains("run `laurel migrate`"), "{said}");
}

#[tokio::test]
async fn a_database_that_is_ahead() {
    let database = TestDatabase::create(&MIGRATOR).await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'of tomorrow', true, '', 0)",
    )
    .execute(database.pool())
    .await
    .unwrap();
    let said = refused(&config_of(&database), &["all"]).await;
    assert!(said.contains("migrations that this build does not know"), "{said}");
}

#[tokio::test]
async fn a_migration_that_was_changed() {
    let database = TestDatabase::create(&MIGRATOR).await;
    sqlx::query("UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 1")
        .execute(database.pool())
        .await
        .unwrap();
    let said = refused(&config_of(&database), &["all"]).await;
    assert!(said.contains("migrations that this build does not know"), "{said}");
}

#[rstest]
#[case::not_a_source("name where a key comes from, such as env:LAUREL_JWT_KEY", "\"deadbeef\"")]
#[case::not_set("the environment variable LAUREL_NO_SUCH_KEY is not set", "\"env:LAUREL_NO_SUCH_KEY\"")]
#[case::none("auth.signing_keys is empty", "")]
#[tokio::test]
async fn signing_keys_that_are_none(#[case] says: &str, #[case] keys: &str) {
    let database = TestDatabase::create(&MIGRATOR).await;
    let config = config_of(&database).replace("mode = \"none\"", &format!("signing_keys = [{keys}]"));
    let said = refused(&config, &["all"]).await;
    assert!(said.contains(says), "{said}");
    assert!(!said.contains("deadbeef"), "a key in the wrong place is not repeated: {said}");
}

#[tokio::test]
async fn a_database_without_any_migration() {
    let database = TestDatabase::create(&MIGRATOR).await;
    sqlx::query("DROP TABLE _sqlx_migrations").execute(database.pool()).await.unwrap();
    let said = refused(&config_of(&database), &["all"]).await;
    assert!(said.contains("run `laurel migrate`"), "{said}");
    let made: Option<String> = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations')::text")
        .fetch_one(database.pool())
        .await
        .unwrap();
    assert_eq!(made, None, "whoever refuses changes nothing");
}
