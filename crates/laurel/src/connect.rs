//! Connections to the database and the chains, and the checks that they are the right ones.

mod identity;

use std::{io::ErrorKind, str::FromStr, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use laurel_chain::{
    ChainNode, Endpoint, EndpointMetrics, Endpoints, EndpointsParts, HttpNode, IdentityError, KeySource,
    LocalKey, deploy_block, require_vault_code, vault_code,
};
use laurel_events::{Clock, SystemClock};
use laurel_ledger::{MIGRATOR, PinError, Vault, VaultIdentity, commit, list_vaults, pin_vault};
use prometheus::Registry;
use rand::{RngCore, SeedableRng, rngs::StdRng};
use sqlx::{
    Connection as _, PgConnection, PgPool, Row as _,
    migrate::Migrate,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio_util::sync::CancellationToken;

use crate::{config, environment::Environment, secret::Secret};

/// How long to wait for a connection from the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a statement may run: ten times the slowest that is expected.
const STATEMENT_TIMEOUT_MS: u32 = 30_000;

/// The most connections of this process for reads: enough to keep two cores busy, few beside those that write.
const READ_CONNECTIONS_MAX: u32 = 8;

/// How long a statement of a reader may run: ten times the slowest that is expected, and no longer than a reader waits for
/// one of the few connections.
const READ_STATEMENT_TIMEOUT_MS: u32 = 5_000;

/// The most connections of this process for limits: a lease takes a fraction of a millisecond.
const LIMITS_CONNECTIONS_MAX: u32 = 2;

/// How long a statement for limits may run: nobody waits for it that long.
const LIMITS_STATEMENT_TIMEOUT_MS: u32 = 2_000;

/// How long a statement may wait for a lock.
const LOCK_TIMEOUT_MS: u32 = 10_000;

/// How long a transaction may do nothing before the server ends it: a replica that hangs must not keep its locks.
const IDLE_IN_TRANSACTION_TIMEOUT_MS: u32 = 15_000;

/// Connects to a database.
pub(crate) async fn database(url: &Secret, connections_max: u32) -> anyhow::Result<PgPool> {
    transactions(connections_max)
        .connect_with(connect_options(url, STATEMENT_TIMEOUT_MS)?)
        .await
        .context(UNREACHABLE)
}

/// Connects to the database from which settlements are signed. Every connection looks whether it is the one that it was: a
/// replica may have been promoted under a running process.
pub(crate) async fn own_database(url: &Secret, connections_max: u32) -> anyhow::Result<PgPool> {
    transactions(connections_max)
        .after_connect(|conn, _| Box::pin(identity::check(conn)))
        .connect_with(connect_options(url, STATEMENT_TIMEOUT_MS)?)
        .await
        .context(UNREACHABLE)
}

/// Connects to a database for reads only, each a statement of its own, so that readers never take what writers need.
pub(crate) async fn read_database(url: &Secret) -> anyhow::Result<PgPool> {
    let options = connect_options(url, READ_STATEMENT_TIMEOUT_MS)?;
    statements(READ_CONNECTIONS_MAX)
        .connect_with(options.options([("default_transaction_read_only", "on")]))
        .await
        .context(UNREACHABLE)
}

/// Connects to a database for limits only: they are there when all other connections are taken. None is opened before it is needed.
pub(crate) fn limits_database(url: &Secret) -> anyhow::Result<PgPool> {
    let options = connect_options(url, LIMITS_STATEMENT_TIMEOUT_MS)?;
    Ok(statements(LIMITS_CONNECTIONS_MAX).connect_lazy_with(options))
}

const UNREACHABLE: &str = "the database cannot be reached: check database.url and that PostgreSQL is running";

fn connect_options(url: &Secret, statement_timeout_ms: u32) -> anyhow::Result<PgConnectOptions> {
    let options = PgConnectOptions::from_str(url.reveal())
        .map_err(|_| anyhow::anyhow!("database.url is no postgres:// URL"))?;
    Ok(options.application_name("laurel").options([
        ("statement_timeout", statement_timeout_ms.to_string()),
        ("lock_timeout", LOCK_TIMEOUT_MS.to_string()),
        ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_TIMEOUT_MS.to_string()),
        // A plan that was made while a table was small is kept while it grows; none of these statements is to read a whole table.
        ("enable_seqscan", "off".to_owned()),
        // It takes longer to compile any of them than to execute it, and a table that can only be read whole would have it compiled.
        ("jit", "off".to_owned()),
    ]))
}

/// Connections on which transactions begin.
fn transactions(connections_max: u32) -> PgPoolOptions {
    pool_options(connections_max)
        .after_release(|conn, _| Box::pin(in_time_to_be_used_again(is_between_transactions(conn))))
}

/// Connections on which none begins: it costs nothing to look whether they can be used again.
fn statements(connections_max: u32) -> PgPoolOptions {
    pool_options(connections_max)
        .after_release(|conn, _| Box::pin(in_time_to_be_used_again(has_answered(conn))))
}

fn pool_options(connections_max: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|conn, seen| Box::pin(is_still_there(conn, seen.idle_for)))
}

/// After how long without use a connection is asked whether it is still there: one that comes back was asked just then, and asking
/// before every statement costs as much as a small one.
const IDLE_UNASKED_MAX: Duration = Duration::from_secs(1);

async fn is_still_there(conn: &mut PgConnection, idle: Duration) -> sqlx::Result<bool> {
    if idle > IDLE_UNASKED_MAX {
        conn.ping().await?;
    }
    Ok(true)
}

/// How long a connection that comes back may take to say whether it can be used again: it may still be busy with a statement
/// that somebody has given up.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether a connection that comes back may be given out again. One that does not say so in time is closed, because it would
/// else be missing for as long as it hangs.
async fn in_time_to_be_used_again(asked: impl Future<Output = sqlx::Result<bool>>) -> sqlx::Result<bool> {
    match tokio::time::timeout(RELEASE_TIMEOUT, asked).await {
        Ok(can_be) => can_be,
        Err(_) => Err(sqlx::Error::Io(ErrorKind::TimedOut.into())),
    }
}

/// Whether every statement is answered, be it that nobody waits for the answer any more. Says so at once where nothing is open.
async fn has_answered(conn: &mut PgConnection) -> sqlx::Result<bool> {
    conn.flush().await?;
    Ok(true)
}

/// Whether it is between transactions. A request that goes away while its transaction begins leaves it open, which the driver does not notice: whoever came next would write into it, and nothing of that would be kept.
///
/// One message of the simple protocol: with a prepared statement, the transaction begins one message before it is executed.
async fn is_between_transactions(conn: &mut PgConnection) -> sqlx::Result<bool> {
    let between = sqlx::raw_sql("SELECT transaction_timestamp() = statement_timestamp()");
    between.fetch_one(conn).await?.try_get(0)
}

pub(crate) use self::identity::require_durable;

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
    /// Its endpoints, to be looked after.
    pub(crate) endpoints: Arc<Endpoints>,
    /// The same, to be asked.
    pub(crate) node: Arc<dyn ChainNode>,
    pub(crate) vault: Vault,
}

/// What connections to chains work with.
#[derive(Clone, Debug)]
pub(crate) struct ChainParts {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: EndpointMetrics,
    pub(crate) seed: u64,
}

impl ChainParts {
    /// For a command that ends by itself, whose metrics nobody reads.
    pub(crate) fn unwatched() -> anyhow::Result<Self> {
        let metrics = EndpointMetrics::register(&Registry::new())?;
        Ok(Self { clock: Arc::new(SystemClock), metrics, seed: StdRng::from_os_rng().next_u64() })
    }
}

/// Connects to a chain and checks that it, and the vault, are the ones of this database. Endpoints that do not answer are
/// told of in the log, as long as `final_quorum` do.
pub(crate) async fn chain(
    pool: &PgPool,
    config: &config::Chain,
    parts: &ChainParts,
) -> anyhow::Result<ConnectedChain> {
    let id = config.id;
    let (endpoints, hosts) = endpoints(config, parts)?;
    let at = || format!("the node at {hosts}");
    let pinned = list_vaults(&mut *pool.acquire().await?, id).await?;
    let known = pinned.first().map(|vault| vault.identity.genesis_hash);
    // First of all: on another chain, everything else differs as well.
    let genesis_hash = endpoints.identify(known).await.map_err(|refused| match (&refused.source, known) {
        (IdentityError::OtherGenesis { found, .. }, Some(pinned)) => {
            anyhow::Error::from(PinError::Genesis { chain_id: id, pinned, found: *found })
                .context(refused.to_string())
        }
        _ => refused.into(),
    })?;
    require_the_vault(&pinned, config)?;
    // One that is hours behind is not asked first, also by whoever ends before anybody looks after the endpoints.
    endpoints.tend().await;
    let code_hash = vault_code(&endpoints, id, config.vault).await.with_context(at)?;
    let deploy_block = match pinned.iter().find(|pinned| pinned.identity.vault == config.vault) {
        // What is pinned decides; the node may have forgotten by now.
        Some(pinned) => pinned.identity.deploy_block,
        None => {
            require_vault_code(id, config.vault, code_hash)?;
            deploy_block(&endpoints, id, config.vault, config.deploy_block).await.with_context(at)?
        }
    };
    let identity = VaultIdentity { chain_id: id, genesis_hash, vault: config.vault, code_hash, deploy_block };
    let mut tx = pool.begin().await?;
    let vault = pin_vault(&mut tx, &identity).await?;
    commit(tx, "vault_pinned").await?;
    let endpoints = Arc::new(endpoints);
    Ok(ConnectedChain { config: config.clone(), node: endpoints.clone(), endpoints, vault })
}

/// Connects to a chain of which only the id is checked: no database says more.
pub(crate) async fn unpinned_chain(
    config: &config::Chain,
    parts: &ChainParts,
) -> anyhow::Result<Arc<dyn ChainNode>> {
    let (endpoints, _) = endpoints(config, parts)?;
    endpoints.identify(None).await?;
    Ok(Arc::new(endpoints))
}

/// Whom an audit asks: one endpoint is enough for what the ledger has as final. That a chain is not the ledger's is for the audit to
/// find, not to be refused: it then asks the first endpoint alone.
pub(crate) async fn audited_node(
    config: &config::Chain,
    parts: &ChainParts,
) -> anyhow::Result<Arc<dyn ChainNode>> {
    let one_is_enough = config::Chain { final_quorum: Some(1), ..config.clone() };
    let (endpoints, _) = endpoints(&one_is_enough, parts)?;
    match endpoints.identify(None).await {
        Ok(_) => Ok(Arc::new(endpoints)),
        Err(refused) => {
            tracing::warn!(chain.id = config.id, error = ?refused, "the first endpoint is asked alone");
            let first = config.rpc_urls.first().context("rpc_urls is checked to have an address")?;
            Ok(Arc::new(HttpNode::new(first.reveal())?))
        }
    }
}

/// The endpoints of a chain, and their hosts, which may be shown.
fn endpoints(config: &config::Chain, parts: &ChainParts) -> anyhow::Result<(Endpoints, String)> {
    let mut endpoints = Vec::with_capacity(config.rpc_urls.len());
    for url in &config.rpc_urls {
        let node = HttpNode::new(url.reveal())?;
        endpoints.push(Endpoint { host: node.host().to_owned(), node: Arc::new(node) });
    }
    let hosts = endpoints.iter().map(|endpoint| endpoint.host.as_str()).collect::<Vec<_>>().join(", ");
    let endpoints = Endpoints::new(EndpointsParts {
        chain_id: config.id,
        endpoints,
        final_quorum: config.final_quorum(),
        clock: parts.clock.clone(),
        seed: parts.seed,
        metrics: parts.metrics.clone(),
    });
    Ok((endpoints, hosts))
}

/// How often endpoints are looked after: whoever is back is asked again about as soon as the breaker allows.
const TEND_INTERVAL: Duration = Duration::from_secs(1);

/// Looks after the endpoints of a chain until `shutdown`.
pub(crate) async fn tend(endpoints: Arc<Endpoints>, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = async { endpoints.tend().await; tokio::time::sleep(TEND_INTERVAL).await } => {}
        }
    }
}

/// Refuses a second vault on a chain: campaigns, lanes and the treasury all stand on the one of this database.
fn require_the_vault(pinned: &[Vault], config: &config::Chain) -> anyhow::Result<()> {
    match pinned.iter().find(|pinned| pinned.identity.vault != config.vault) {
        Some(other) => bail!(
            "chain {id}: this database pays from vault {pinned}, not {configured}, and it pays from one vault on each \
             chain: set chains.vault = \"{pinned}\", or use a fresh database for the new vault",
            id = config.id,
            pinned = other.identity.vault,
            configured = config.vault,
        ),
        None => Ok(()),
    }
}

/// Loads a key from where the configuration says it is.
pub(crate) fn key(source: &str, environment: &Environment) -> anyhow::Result<LocalKey> {
    let source: KeySource = source.parse()?;
    Ok(source.load(|name| environment.get(name))?)
}

#[cfg(test)]
mod tests;
