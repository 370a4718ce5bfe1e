//! The parts start, answer, and are what was asked for.

use std::{path::Path, time::Duration};

use anyhow::Result;
use laurel_devnet::{
    Anvil, AnvilOptions, DevnetError, Mining, Postgres, PostgresOptions, chain_control::ChainControl,
    dev_keys::DEV_KEYS, testing,
};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tokio::task::{JoinSet, yield_now};

use crate::{eventually, gone, keeper_of, private};

/// Enough that a session begins whenever a server is killed.
const CALLERS: usize = 8;
const KILLS: usize = 10;

async fn setting(url: &str, name: &str) -> Result<String> {
    let mut session = PgConnection::connect(url).await?;
    let value = sqlx::query_scalar("SELECT current_setting($1)").bind(name).fetch_one(&mut session).await?;
    session.close().await?;
    Ok(value)
}

async fn call(url: &str, method: &str) -> Result<Value> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": [] });
    let answer: Value = reqwest::Client::new().post(url).json(&request).send().await?.json().await?;
    Ok(answer["result"].clone())
}

#[tokio::test]
async fn a_cluster_answers_until_it_is_stopped() -> Result<()> {
    let postgres = Postgres::start(private(PostgresOptions::throw_away())).await?;
    postgres.create_database("one", None).await?;
    assert_eq!(setting(&postgres.url("one"), "fsync").await?, "off");

    let process = postgres.process_id().expect("our own");
    let (keeper, folder) = (keeper_of(process), postgres.folder().expect("our own").to_owned());
    postgres.stop().await?;
    gone(&[process, keeper], &[folder]).await;
    Ok(())
}

#[tokio::test]
async fn a_durable_cluster_keeps_its_promises() -> Result<()> {
    let postgres = Postgres::start(private(PostgresOptions::durable())).await?;
    for (name, value) in
        [("fsync", "on"), ("synchronous_commit", "on"), ("full_page_writes", "on"), ("listen_addresses", "")]
    {
        assert_eq!(setting(&postgres.url("postgres"), name).await?, value, "{name}");
    }
    postgres.stop().await?;
    Ok(())
}

#[tokio::test]
async fn what_was_committed_survives_the_server_being_killed() -> Result<()> {
    let mut postgres = Postgres::start(private(PostgresOptions::durable())).await?;
    postgres.create_database("kept", None).await?;
    let mut session = PgConnection::connect(&postgres.url("kept")).await?;
    sqlx::query("CREATE TABLE things AS SELECT 7 AS n").execute(&mut session).await?;
    let killed = postgres.process_id().expect("our own");
    for _ in 0..2 {
        postgres.kill_9().await?;
        assert!(sqlx::query("SELECT 1").execute(&mut session).await.is_err(), "its sessions died with it");
        postgres.start_again().await?;
        session = PgConnection::connect(&postgres.url("kept")).await?;
        let n: i32 = sqlx::query_scalar("SELECT n FROM things").fetch_one(&mut session).await?;
        assert_eq!(n, 7);
    }
    let process = postgres.process_id().expect("our own");
    assert_ne!(process, killed);
    session.close().await?;

    let (keeper, folder) = (keeper_of(process), postgres.folder().expect("our own").to_owned());
    postgres.stop().await?;
    gone(&[process, keeper], &[folder]).await;
    Ok(())
}

/// Nothing that holds a lock is killed without what waits for it, which would wait for ever and have no server start on the data.
#[tokio::test]
async fn a_server_is_killed_with_the_sessions_that_begin_meanwhile() -> Result<()> {
    let mut postgres = Postgres::start(private(PostgresOptions::durable())).await?;
    let url = postgres.url("postgres");
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let url = url.clone();
        callers.spawn(async move {
            loop {
                if let Ok(session) = PgConnection::connect(&url).await {
                    session.close_hard().await.ok();
                }
                yield_now().await;
            }
        });
    }
    for _ in 0..KILLS {
        postgres.kill_9().await?;
        assert_eq!(working_below(&postgres.folder().expect("our own").join("data"))?, 0);
        postgres.start_again().await?;
    }
    callers.abort_all();
    Ok(postgres.stop().await?)
}

/// How many processes work in a folder or below.
fn working_below(folder: &Path) -> Result<usize> {
    let mut working = 0;
    for process in std::fs::read_dir("/proc")? {
        let cwd = std::fs::read_link(process?.path().join("cwd"));
        working += usize::from(cwd.is_ok_and(|cwd| cwd.starts_with(folder)));
    }
    Ok(working)
}

#[tokio::test]
async fn a_database_is_copied_from_a_template_and_dropped_from_under_its_sessions() -> Result<()> {
    let postgres = Postgres::start(private(PostgresOptions::throw_away())).await?;
    postgres.create_database("model", None).await?;
    let mut session = PgConnection::connect(&postgres.url("model")).await?;
    sqlx::query("CREATE TABLE things AS SELECT 7 AS n").execute(&mut session).await?;
    session.close().await?;

    postgres.create_database("copy", Some("model")).await?;
    let mut session = PgConnection::connect(&postgres.url("copy")).await?;
    let n: i32 = sqlx::query_scalar("SELECT n FROM things").fetch_one(&mut session).await?;
    assert_eq!(n, 7);

    postgres.drop_database("copy").await?;
    assert!(PgConnection::connect(&postgres.url("copy")).await.is_err(), "it is gone");
    postgres.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_name_that_would_need_quoting_is_refused() -> Result<()> {
    let postgres = Postgres::start(private(PostgresOptions::throw_away())).await?;
    for name in ["", "Big", "a b", r#"a"; DROP DATABASE postgres; --"#, &"a".repeat(40)] {
        let refused = postgres.create_database(name, None).await;
        assert!(matches!(refused, Err(DevnetError::DatabaseName(_))), "{name:?}: {refused:?}");
    }
    postgres.stop().await?;
    Ok(())
}

#[tokio::test]
async fn an_anvil_answers_until_it_is_dropped() -> Result<()> {
    let anvil = testing::anvil(Mining::OnDemand).await?;
    assert_eq!(call(anvil.rpc_url(), "eth_chainId").await?, json!("0x7a69"));

    let (process, keeper) = (anvil.process_id(), keeper_of(anvil.process_id()));
    let folder = anvil.folder().to_owned();
    drop(anvil);
    // No waiting: dropping waits.
    assert!(!crate::runs(process) && !crate::runs(keeper) && !folder.exists());
    Ok(())
}

#[tokio::test]
async fn an_anvil_is_what_was_asked_for() -> Result<()> {
    let options = AnvilOptions {
        chain_id: 4_242,
        gas_limit: Some(1_000_000_000),
        accounts: 3,
        ..AnvilOptions::new(Mining::Every(Duration::from_millis(50)))
    };
    let anvil = Anvil::start(options).await?;
    let url = anvil.rpc_url();
    assert_eq!(call(url, "eth_chainId").await?, json!("0x1092"));
    assert_eq!(call(url, "eth_accounts").await?.as_array().map(Vec::len), Some(3));
    let info = call(url, "anvil_nodeInfo").await?;
    assert_eq!(info["environment"]["gasLimit"], json!("0x3b9aca00"));
    let chain = ChainControl::new(url)?;
    eventually("blocks are mined", async || chain.block_number().await.is_ok_and(|number| number >= 3)).await;
    anvil.stop().await?;
    Ok(())
}

#[tokio::test]
async fn the_dev_keys_are_those_that_anvil_prints() -> Result<()> {
    let anvil = testing::anvil(Mining::OnDemand).await?;
    let log = std::fs::read_to_string(anvil.folder().join("log"))?;
    for (n, key) in DEV_KEYS.iter().enumerate() {
        assert!(log.contains(&format!("({n}) {} (", key.address)), "{n}: {}", key.address);
        assert!(log.contains(&format!("({n}) {}\n", key.secret)), "{n}: {}", key.secret);
    }
    Ok(())
}

#[tokio::test]
async fn two_of_each_run_side_by_side() -> Result<()> {
    let cluster = || Postgres::start(private(PostgresOptions::throw_away()));
    let chain = || testing::anvil(Mining::EachTransaction);
    let (one, two, first, second) = tokio::try_join!(cluster(), cluster(), chain(), chain())?;
    one.create_database("same", None).await?;
    two.create_database("same", None).await?;
    assert_ne!(one.url("same"), two.url("same"));
    assert_ne!(first.rpc_url(), second.rpc_url());

    // Ending one pair leaves the other alone.
    one.stop().await?;
    first.stop().await?;
    assert_eq!(setting(&two.url("same"), "fsync").await?, "off");
    assert_eq!(call(second.rpc_url(), "eth_chainId").await?, json!("0x7a69"));
    Ok(())
}
