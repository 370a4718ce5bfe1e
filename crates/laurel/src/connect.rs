//! Connections to the database and the chains, and the checks that they are the right ones.

use std::{str::FromStr, sync::Arc, time::Duration};

use alloy::primitives::keccak256;
use anyhow::{Context, bail};
use laurel_chain::{BlockRef, ChainNode, HttpNode, KeySource, LocalKey};
use laurel_ledger::{MIGRATOR, Vault, VaultIdentity, pin_vault};
use sqlx::{
    PgPool,
    migrate::Migrate,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{config, environment::Environment, secret::Secret};

/// How long to wait for a connection from the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a statement may run: ten times the slowest that is expected.
const STATEMENT_TIMEOUT_MS: u32 = 30_000;

/// How long a statement may wait for a lock.
const LOCK_TIMEOUT_MS: u32 = 10_000;

/// How long a transaction may do nothing before the server ends it: a replica that hangs must not keep its locks.
const IDLE_IN_TRANSACTION_TIMEOUT_MS: u32 = 15_000;

/// Connects to a database.
pub(crate) async fn database(url: &Secret, connections_max: u32) -> anyhow::Result<PgPool> {
    let options = PgConnectOptions::from_str(url.reveal())
        .map_err(|_| anyhow::anyhow!("database.url is no postgres:// URL"))?
        .application_name("laurel")
        .options([
            ("statement_timeout", STATEMENT_TIMEOUT_MS.to_string()),
            ("lock_timeout", LOCK_TIMEOUT_MS.to_string()),
            ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_TIMEOUT_MS.to_string()),
        ]);
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options)
        .await
        .context("the database cannot be reached: check database.url and that PostgreSQL is running")
}

/// How a database's schema compares with this build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schema {
    /// They are the same.
    Current,
    /// Migrations are missing.
    Behind,
    /// It has migrations that this build does not know, or others of the same number.
    Ahead,
}

/// Compares the database's schema with this build.
pub(crate) async fn schema(pool: &PgPool) -> anyhow::Result<Schema> {
    let mut conn = pool.acquire().await?;
    let table: Option<String> = sqlx::query_scalar("SELECT to_regclass($1)::text")
        .bind(MIGRATOR.table_name.as_ref())
        .fetch_one(&mut *conn)
        .await?;
    if table.is_none() {
        return Ok(Schema::Behind);
    }
    let applied = conn.list_applied_migrations(&MIGRATOR.table_name).await?;
    let known: Vec<_> =
        MIGRATOR.iter().filter(|migration| migration.migration_type.is_up_migration()).collect();
    let unknown = applied.iter().any(|applied| {
        !known.iter().any(|known| known.version == applied.version && known.checksum == applied.checksum)
    });
    if unknown {
        return Ok(Schema::Ahead);
    }
    Ok(if applied.len() < known.len() { Schema::Behind } else { Schema::Current })
}

/// Refuses a database that this build cannot work with.
pub(crate) async fn require_current_schema(pool: &PgPool) -> anyhow::Result<()> {
    match schema(pool).await? {
        Schema::Current => Ok(()),
        Schema::Behind => bail!("the database lacks migrations: run `laurel migrate`"),
        Schema::Ahead => bail!(
            "the database has migrations that this build does not know: run the build that made them, or go back \
             with that build's `laurel migrate --down STEPS`"
        ),
    }
}

/// A chain with the vault that belongs to this database, checked.
#[derive(Clone, Debug)]
pub(crate) struct ConnectedChain {
    pub(crate) config: config::Chain,
    pub(crate) node: Arc<dyn ChainNode>,
    pub(crate) vault: Vault,
}

/// Connects to a chain and checks that it, and the vault, are the ones of this database.
pub(crate) async fn chain(pool: &PgPool, config: &config::Chain) -> anyhow::Result<ConnectedChain> {
    let id = config.id;
    let url = config.rpc_urls.first().context("rpc_urls is checked to have an address")?;
    let node = HttpNode::new(url.reveal())?;
    let answer = node.chain_id().await;
    let found =
        answer.with_context(|| format!("chain {id}: the node at {} cannot be reached", node.host()))?;
    if found != id {
        bail!("chain {id}: the node at {} is on chain {found}; correct chains.id or rpc_urls", node.host());
    }
    let genesis = node.block(BlockRef::Number(0)).await?;
    let genesis =
        genesis.with_context(|| format!("chain {id}: the node at {} has no block 0", node.host()))?;
    let code = node.code(config.vault).await?;
    if code.is_empty() {
        bail!(
            "chain {id}: there is no contract at the vault's address {}; run `laurel deploy`",
            config.vault
        );
    }
    let identity = VaultIdentity {
        chain_id: id,
        genesis_hash: genesis.hash,
        vault: config.vault,
        code_hash: keccak256(&code),
        deploy_block: config.deploy_block,
    };
    let mut tx = pool.begin().await?;
    let vault = pin_vault(&mut tx, &identity).await?;
    tx.commit().await?;
    Ok(ConnectedChain { config: config.clone(), node: Arc::new(node), vault })
}

/// Loads a key from where the configuration says it is.
pub(crate) fn key(source: &str, environment: &Environment) -> anyhow::Result<LocalKey> {
    let source: KeySource = source.parse()?;
    Ok(source.load(|name| environment.get(name))?)
}
