//! A chain that is not this database's is refused, and the message says what to do.

use std::{pin::pin, task::Poll, time::Duration};

use alloy::primitives::Address;
use laurel_chain::{Deployed, deploy_contracts};
use laurel_devnet::{
    Anvil, AnvilOptions, Mining,
    dev_keys::DEV_KEYS,
    testing::{Line, LineState, TestDatabase},
};

use super::*;

/// Not Anvil's own 30 million, so that the first block is another.
const OTHER_GAS_LIMIT: u64 = 40_000_000;

/// An Anvil with the contracts, and the configuration that fits.
async fn devchain() -> (Anvil, Deployed, config::Chain) {
    devchain_with(None).await
}

/// The same with another gas limit. Anvils that start in the same second with the same settings have the same genesis.
async fn devchain_with(gas_limit: Option<u64>) -> (Anvil, Deployed, config::Chain) {
    let options = AnvilOptions::new(Mining::Every(Duration::from_millis(50)));
    let anvil = Anvil::start(AnvilOptions { gas_limit, ..options }).await.unwrap();
    let node = HttpNode::new(anvil.rpc_url()).unwrap();
    let owner = LocalKey::from_hex(DEV_KEYS[0].secret).unwrap();
    let deployed = deploy_contracts(&node, &owner, &[]).await.unwrap();
    let config = config_for(anvil.rpc_url(), deployed.vault);
    (anvil, deployed, config)
}

fn config_for(rpc_url: &str, vault: Address) -> config::Chain {
    config::Chain { treasury_orgs: Vec::new(), ..config::Chain::new(31_337, rpc_url, vault) }
}

fn parts() -> ChainParts {
    ChainParts::unwatched().unwrap()
}

/// How many chains and vaults the database belongs to.
async fn pinned(pool: &PgPool) -> (i64, i64) {
    sqlx::query_as("SELECT (SELECT count(*) FROM chains), (SELECT count(*) FROM vaults)")
        .fetch_one(pool)
        .await
        .unwrap()
}

async fn refused(pool: &PgPool, config: &config::Chain, saying: &[&str]) {
    let before = pinned(pool).await;
    let error = chain(pool, config, &parts()).await.unwrap_err();
    let text = format!("{error:#}");
    for part in saying {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    assert_eq!(pinned(pool).await, before, "nothing was written");
}

#[tokio::test]
async fn the_vault_is_pinned_with_the_block_that_was_found() {
    let database = TestDatabase::create(&MIGRATOR).await;
    let (_anvil, deployed, mut config) = devchain().await;
    let first = chain(database.pool(), &config, &parts()).await.unwrap();
    let found = first.vault.identity.deploy_block;
    assert!(found >= deployed.block, "{found}, deployed from block {} on", deployed.block);
    // What is pinned stays, whatever is configured later.
    config.deploy_block = Some(found - 1);
    let again = chain(database.pool(), &config, &parts()).await.unwrap();
    assert_eq!(again.vault, first.vault);
    assert_eq!(pinned(database.pool()).await, (1, 1));
}

#[tokio::test]
async fn a_wrong_chain_id_is_refused() {
    let database = TestDatabase::create(&MIGRATOR).await;
    let (_anvil, _, mut config) = devchain().await;
    config.id = 1;
    let saying = ["chain 1: the node is on chain 31337", "correct chains.id or chains.rpc_urls"];
    refused(database.pool(), &config, &saying).await;
}

#[tokio::test]
async fn another_chain_of_the_same_id_is_refused() {
    let database = TestDatabase::create(&MIGRATOR).await;
    let (_anvil, _, config) = devchain().await;
    chain(database.pool(), &config, &parts()).await.unwrap();
    // A development chain that was started again, with or without the contracts.
    let (_other, _, with_vault) = devchain_with(Some(OTHER_GAS_LIMIT)).await;
    let empty = AnvilOptions { gas_limit: Some(OTHER_GAS_LIMIT), ..AnvilOptions::new(Mining::OnDemand) };
    let empty = Anvil::start(empty).await.unwrap();
    for other in [with_vault, config_for(empty.rpc_url(), config.vault)] {
        let saying = ["it is another chain of the same id", "use a fresh database"];
        refused(database.pool(), &other, &saying).await;
    }
}

#[tokio::test]
async fn a_vault_without_code_or_with_other_code_is_refused() {
    let database = TestDatabase::create(&MIGRATOR).await;
    let (_anvil, deployed, mut config) = devchain().await;
    config.vault = Address::repeat_byte(0x77);
    refused(database.pool(), &config, &["there is no contract", "laurel deploy"]).await;
    config.vault = deployed.token;
    refused(database.pool(), &config, &["is no RewardVault of this build", "correct chains.vault"]).await;
}

#[tokio::test]
async fn a_vault_whose_code_changed_is_refused() {
    let database = TestDatabase::create(&MIGRATOR).await;
    let (anvil, deployed, config) = devchain().await;
    chain(database.pool(), &config, &parts()).await.unwrap();
    let request = serde_json::json!({
        "jsonrpc": "2.0", "id": 1, "method": "anvil_setCode", "params": [deployed.vault, "0x60006000f3"],
    });
    reqwest::Client::new().post(anvil.rpc_url()).json(&request).send().await.unwrap();
    refused(database.pool(), &config, &["when this database was first used", "fresh database"]).await;
}

#[tokio::test]
async fn a_node_that_is_down_at_start_is_named() {
    let database = TestDatabase::create(&MIGRATOR).await;
    let (anvil, _, config) = devchain().await;
    anvil.stop().await.unwrap();
    let saying = ["127.0.0.1", "the node cannot be asked", "check that it runs", "chains.rpc_urls"];
    refused(database.pool(), &config, &saying).await;
}

#[tokio::test]
async fn one_of_the_endpoints_may_be_down_at_the_start_while_a_quorum_is_not() {
    let database = TestDatabase::create(&MIGRATOR).await;
    let (_anvil, _, mut config) = devchain().await;
    config.rpc_urls.insert(0, Secret::new("http://127.0.0.1:1/?key=secret"));
    let saying = ["the node at 127.0.0.1", "1 of 2 endpoints answer", "chains.final_quorum is 2"];
    refused(database.pool(), &config, &saying).await;
    config.final_quorum = Some(1);
    let connected = chain(database.pool(), &config, &parts()).await.unwrap();
    assert_eq!(connected.node.chain_id().await.unwrap(), 31_337);
    let states: Vec<_> = connected.endpoints.status().iter().map(ToString::to_string).collect();
    assert_eq!(states, ["127.0.0.1 is open: eth_chainId: it cannot be reached", "127.0.0.1 is closed"]);
}

#[tokio::test]
async fn an_endpoint_on_another_chain_is_refused_also_beside_a_good_one() {
    let database = TestDatabase::create(&MIGRATOR).await;
    let (_anvil, _, mut config) = devchain().await;
    chain(database.pool(), &config, &parts()).await.unwrap();
    let good = config.rpc_urls[0].clone();
    let other = AnvilOptions { chain_id: 5, ..AnvilOptions::new(Mining::OnDemand) };
    let other = Anvil::start(other).await.unwrap();
    config.rpc_urls = vec![good.clone(), Secret::new(other.rpc_url())];
    refused(database.pool(), &config, &["the node at 127.0.0.1", "the node is on chain 5"]).await;
    // The same id, but another first block.
    let (twin, ..) = devchain_with(Some(OTHER_GAS_LIMIT)).await;
    config.rpc_urls = vec![good, Secret::new(twin.rpc_url())];
    refused(database.pool(), &config, &["the node at 127.0.0.1", "it is another chain of the same id"]).await;
}

#[tokio::test]
async fn a_second_vault_on_a_chain_is_refused() {
    let database = TestDatabase::create(&MIGRATOR).await;
    let (anvil, deployed, config) = devchain().await;
    chain(database.pool(), &config, &parts()).await.unwrap();
    let node = HttpNode::new(anvil.rpc_url()).unwrap();
    let owner = LocalKey::from_hex(DEV_KEYS[0].secret).unwrap();
    let second = deploy_contracts(&node, &owner, &[]).await.unwrap();
    let saying = [
        &format!("set chains.vault = \"{}\"", deployed.vault),
        "one vault on each chain",
        "a fresh database",
    ];
    refused(database.pool(), &config_for(anvil.rpc_url(), second.vault), &saying).await;
}

#[tokio::test]
async fn a_vault_whose_blocks_were_passed_is_refused() {
    let database = TestDatabase::create(&MIGRATOR).await;
    let (_anvil, deployed, config) = devchain().await;
    let follow = |database: TestDatabase, head: u64| async move {
        // Followed for another reason, with no vault yet.
        sqlx::query(
            "INSERT INTO chains (id, genesis_hash, head_number, head_hash) VALUES (31337, $1, $2, $1)",
        )
        .bind([7_u8; 32].as_slice())
        .bind(head.cast_signed())
        .execute(database.pool())
        .await
        .unwrap();
        database
    };
    let identity = |deploy_block| VaultIdentity {
        chain_id: 31_337,
        genesis_hash: [7; 32].into(),
        vault: config.vault,
        code_hash: [8; 32].into(),
        deploy_block,
    };
    let database = follow(database, deployed.block).await;
    let mut conn = database.pool().begin().await.unwrap();
    let error = pin_vault(&mut conn, &identity(deployed.block)).await.unwrap_err();
    assert!(error.to_string().contains("or use a fresh database"), "{error}");
    conn.rollback().await.unwrap();
    let mut conn = database.pool().begin().await.unwrap();
    pin_vault(&mut conn, &identity(deployed.block + 1)).await.expect("its blocks are still to come");
}

/// Requests that go away at any moment while their transactions begin: whoever comes next starts on a clean connection.
#[tokio::test]
async fn a_transaction_that_is_given_up_while_it_begins_is_not_handed_on() {
    let test = TestDatabase::create(&MIGRATOR).await;
    let pool = database(&Secret::new(test.url()), 1).await.unwrap();
    let mut given_up = 0;
    for polls in (1..=40).cycle().take(200) {
        let begun = {
            let mut begin = pin!(pool.begin());
            let mut left = polls;
            loop {
                match futures::poll!(&mut begin) {
                    Poll::Ready(begun) => break Some(begun.unwrap()),
                    Poll::Pending if left == 1 => break None,
                    Poll::Pending => left -= 1,
                }
                tokio::task::yield_now().await;
            }
        };
        given_up += u32::from(begun.is_none());
        drop(begun);
        let mut conn = pool.acquire().await.unwrap();
        sqlx::query("CREATE TABLE IF NOT EXISTS kept (at integer)").execute(&mut *conn).await.unwrap();
        sqlx::query("INSERT INTO kept VALUES (1)").execute(&mut *conn).await.unwrap();
    }
    assert!(given_up >= 5, "one poll is never enough");
    pool.close().await;
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM kept").fetch_one(test.pool()).await.unwrap();
    assert_eq!(kept, 200, "nothing was written into a transaction that nobody commits");
}

#[tokio::test]
async fn a_connection_that_is_in_order_is_kept() {
    let test = TestDatabase::create(&MIGRATOR).await;
    let pool = database(&Secret::new(test.url()), 1).await.unwrap();
    let mut sessions = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let mut tx = pool.begin().await.unwrap();
        let session: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *tx).await.unwrap();
        sessions.insert(session);
        tx.commit().await.unwrap();
        sqlx::query("SELECT 1").execute(&pool).await.unwrap();
    }
    assert_eq!(sessions.len(), 1, "connecting costs a hundred times what a statement does");
}

/// The machine of the database is replaced: what was asked before is never answered, and the place in the pool comes back.
#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_when_it_comes_back() {
    let test = TestDatabase::create(&MIGRATOR).await;
    let line = Line::to_database(test.url()).await.unwrap();
    for pool_options in [transactions, statements] {
        line.set(LineState::Good);
        let options = connect_options(&Secret::new(line.url()), STATEMENT_TIMEOUT_MS).unwrap();
        let pool = pool_options(1).connect_with(options).await.unwrap();
        let mut conn = pool.acquire().await.unwrap();
        line.set(LineState::Stale);
        let asked = sqlx::query("SELECT 1").execute(&mut *conn);
        assert!(tokio::time::timeout(Duration::from_millis(50), asked).await.is_err());
        drop(conn);
        let waiting = async { while pool.acquire().await.is_err() {} };
        tokio::time::timeout(RELEASE_TIMEOUT * 2, waiting).await.expect("there is a connection again");
    }
}

#[tokio::test]
async fn readers_change_nothing() {
    let test = TestDatabase::create(&MIGRATOR).await;
    let pool = read_database(&Secret::new(test.url())).await.unwrap();
    let changed = sqlx::query("DELETE FROM heads").execute(&pool).await.unwrap_err();
    assert_eq!(changed.as_database_error().unwrap().code().as_deref(), Some("25006"));
}

#[tokio::test]
async fn every_pool_has_the_limits_of_its_server() {
    let database = TestDatabase::create(&MIGRATOR).await;
    let url = Secret::new(database.url());
    let pools = [
        ("30s", super::database(&url, 1).await.unwrap()),
        ("30s", own_database(&url, 1).await.unwrap()),
        ("5s", read_database(&url).await.unwrap()),
    ];
    for (statement, pool) in pools {
        let limits: Vec<String> = sqlx::query_scalar(
            "SELECT current_setting(name) FROM unnest(ARRAY['statement_timeout', 'lock_timeout',
                    'idle_in_transaction_session_timeout']) WITH ORDINALITY AS n (name, at) ORDER BY at",
        )
        .fetch_all(&pool)
        .await
        .unwrap();
        assert_eq!(limits, [statement, "10s", "15s"]);
    }
}
