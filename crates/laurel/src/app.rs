//! A running Laurel: connections, shared parts, and the tasks of its roles.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use laurel_api::{AuthMode, SecretsKey, TokenKey};
use laurel_audit::AuditMetrics;
use laurel_bus::{BusMetrics, Runner, RunnerSettings, Stage, Wakes, announce_wakes, hear_wakes};
use laurel_chain::{ChainNode, EndpointMetrics};
use laurel_chain_watcher::WatcherMetrics;
use laurel_events::{Clock, LaneId, SystemClock, time_ordered};
use laurel_grant_saga::SagaMetrics;
use laurel_views::ViewsMetrics;
use prometheus::Registry;
use rand::{RngCore, SeedableRng, rngs::StdRng};
use sqlx::PgPool;
use tokio::{net::TcpListener, task::JoinError};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{self, Config, Feed},
    connect::{self, ChainParts, ConnectedChain},
    environment::Environment,
    gauges::Gauges,
    ops, roles,
    roles::Role,
    schedule,
    skew::{SkewGauge, require_little},
};

/// How long connecting may take, and starting the roles then: a database or a node that lets itself be connected to and says nothing
/// keeps no start for good.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a pool may take to close: what is still asked then is lost anyway.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a shutdown may take: a request's time limit and a bit.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(35);

/// What every role can use.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) pool: PgPool,
    pub(crate) read_pool: PgPool,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) wakes: Wakes,
    pub(crate) chains: Vec<ConnectedChain>,
    pub(crate) auth: AuthMode,
    /// What encrypts secrets that have to be read again.
    pub(crate) secrets: Option<SecretsKey>,
    pub(crate) registry: Registry,
    pub(crate) bus_metrics: BusMetrics,
    pub(crate) saga_metrics: SagaMetrics,
    pub(crate) watcher_metrics: WatcherMetrics,
    pub(crate) views_metrics: ViewsMetrics,
    pub(crate) gauges: Gauges,
    pub(crate) audit_metrics: AuditMetrics,
    pub(crate) skew: SkewGauge,
    /// The name under which this process holds leases.
    pub(crate) replica: String,
    pub(crate) shutdown: CancellationToken,
    pub(crate) tasks: TaskTracker,
    environment: Environment,
    seed: u64,
}

/// Where a running Laurel is reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listening {
    /// REST, if this process serves it.
    pub(crate) api: Option<SocketAddr>,
    /// Health and metrics.
    pub(crate) ops: SocketAddr,
}

impl App {
    /// Connects to everything that the configuration names, or gives up in time.
    pub(crate) async fn connect(config: Config, environment: Environment) -> anyhow::Result<Self> {
        in_time("connecting to the database and the chains", Self::connect_all(config, environment)).await
    }

    async fn connect_all(config: Config, environment: Environment) -> anyhow::Result<Self> {
        let pool = connect::own_database(&config.database.url, config.database.connections_max).await?;
        connect::require_current_schema(&pool).await?;
        let read_url = config.database.read_url.as_ref().unwrap_or(&config.database.url);
        let read_pool = connect::read_database(read_url).await?;
        let (wakes, announced) = Wakes::new();
        let registry = Registry::new();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let skew = SkewGauge::register(&registry)?;
        require_little(skew.look(&pool, &*clock).await?)?;
        let mut rng = StdRng::from_os_rng();
        let metrics = EndpointMetrics::register(&registry)?;
        let parts = ChainParts { clock: clock.clone(), metrics, seed: rng.next_u64() };
        let mut chains = Vec::with_capacity(config.chains.len());
        for chain in &config.chains {
            chains.push(connect::chain(&pool, chain, &parts).await?);
        }
        let app = Self {
            auth: auth_mode(&config, &environment)?,
            secrets: secrets_key(&config, &environment)?,
            bus_metrics: BusMetrics::register(&registry)?,
            saga_metrics: SagaMetrics::register(&registry)?,
            watcher_metrics: WatcherMetrics::register(&registry)?,
            views_metrics: ViewsMetrics::register(&registry)?,
            gauges: Gauges::register(&registry)?,
            audit_metrics: AuditMetrics::register(&registry)?,
            skew,
            replica: time_ordered(clock.now(), &mut rng).to_string(),
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
            seed: rng.next_u64(),
            config,
            pool,
            read_pool,
            clock,
            wakes,
            chains,
            registry,
            environment,
        };
        app.spawn(announce_wakes(app.pool.clone(), announced, app.shutdown.clone()));
        let listen_url = app.config.database.listen_url.as_ref().unwrap_or(&app.config.database.url);
        app.spawn(hear_wakes(listen_url.reveal().to_owned(), app.wakes.clone(), app.shutdown.clone()));
        for chain in &app.chains {
            app.spawn(connect::tend(chain.endpoints.clone(), app.shutdown.clone()));
        }
        Ok(app)
    }

    /// Starts roles, with health and metrics beside them.
    pub(crate) async fn start(&self, wanted: &[Role]) -> anyhow::Result<Listening> {
        in_time("starting the roles", self.start_all(wanted)).await
    }

    async fn start_all(&self, wanted: &[Role]) -> anyhow::Result<Listening> {
        // The journal itself is the only feed so far; the pattern makes whoever adds one come here.
        let Feed::Postgres = self.config.bus.feed;
        let bind = self.config.ops.bind;
        let listener = TcpListener::bind(bind).await;
        let listener = listener.with_context(|| format!("ops.bind: cannot listen on {bind}"))?;
        let ops = listener.local_addr()?;
        self.spawn(ops::serve(self.clone(), listener));
        let mut api = None;
        for role in wanted {
            match role {
                Role::Api => api = Some(roles::api::start(self).await?),
                Role::Campaign => roles::campaign::start(self),
                Role::GrantSaga => roles::grant_saga::start(self).await?,
                Role::ChainWatcher => roles::chain_watcher::start(self).await?,
                Role::Views => roles::views::start(self),
            }
        }
        schedule::start(self, wanted).await?;
        tracing::info!(roles = ?wanted, api.address = ?api, ops.address = %ops, "laurel is up");
        Ok(Listening { api, ops })
    }

    /// Runs a stage.
    pub(crate) fn run_stage(&self, stage: impl Stage) {
        let runner = Runner::new(
            Arc::new(stage),
            self.pool.clone(),
            self.clock.clone(),
            self.wakes.clone(),
            self.bus_metrics.clone(),
            RunnerSettings {
                round_timeout: self.config.database.answer_timeout(),
                ..RunnerSettings::default()
            },
            self.seed,
        );
        self.spawn(runner.run(self.shutdown.clone()));
    }

    /// Runs a task. If it ends before the shutdown, or panics, everything stops: whoever supervises the process starts
    /// it again, and half of a system is worse than none.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            let ended: Result<(), JoinError> = tokio::spawn(task).await;
            if let Err(error) = ended {
                tracing::error!(%error, "a task died; laurel stops");
            }
            shutdown.cancel();
        });
    }

    /// Where keys come from.
    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// A seed for a lane's generator: lanes of a process that sign in the same millisecond must not give equal ids.
    pub(crate) fn seed_for(&self, lane: LaneId) -> u64 {
        self.seed.wrapping_add(u64::from(lane.0.unsigned_abs()))
    }

    /// A seed for the auditor's generator.
    pub(crate) const fn audit_seed(&self) -> u64 {
        self.seed.wrapping_sub(1)
    }

    /// The nodes by chain id.
    pub(crate) fn nodes(&self) -> BTreeMap<u64, Arc<dyn ChainNode>> {
        self.chains.iter().map(|chain| (chain.config.id, chain.node.clone())).collect()
    }

    /// Has every task finish what it has begun, and waits for that.
    pub(crate) async fn stop(&self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        self.tasks.close();
        tokio::time::timeout(SHUTDOWN_TIMEOUT, self.tasks.wait())
            .await
            .with_context(|| format!("some tasks did not end within {SHUTDOWN_TIMEOUT:?}"))?;
        for pool in [&self.pool, &self.read_pool] {
            if tokio::time::timeout(CLOSE_TIMEOUT, pool.close()).await.is_err() {
                tracing::warn!("a connection to the database did not close within {CLOSE_TIMEOUT:?}");
            }
        }
        Ok(())
    }
}

/// A part of the start, unless it takes too long.
async fn in_time<T>(what: &str, part: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let done = tokio::time::timeout(START_TIMEOUT, part).await;
    done.unwrap_or_else(|_| anyhow::bail!("nothing has come of {what} within {START_TIMEOUT:?}"))
}

fn auth_mode(config: &Config, environment: &Environment) -> anyhow::Result<AuthMode> {
    if config.auth.mode == config::AuthMode::None {
        return Ok(AuthMode::None);
    }
    let mut keys = Vec::new();
    for name in config.signing_key_names()? {
        let text = environment
            .get(name)
            .with_context(|| format!("auth.signing_keys: the environment variable {name} is not set"))?;
        keys.push(TokenKey::from_hex(&text).with_context(|| format!("auth.signing_keys: {name}"))?);
    }
    if keys.is_empty() {
        anyhow::bail!("auth.signing_keys is empty: give it a source such as env:LAUREL_JWT_KEY");
    }
    Ok(AuthMode::Jwt(keys))
}

/// What encrypts secrets at rest, and what did before.
pub(crate) fn secrets_key(config: &Config, environment: &Environment) -> anyhow::Result<Option<SecretsKey>> {
    let mut keys = Vec::new();
    for name in config.secrets_key_names()? {
        let text = environment
            .get(name)
            .with_context(|| format!("auth.secrets_key: the environment variable {name} is not set"))?;
        keys.push(SecretsKey::from_hex(&text).with_context(|| format!("auth.secrets_key: {name}"))?);
    }
    Ok(keys.into_iter().reduce(SecretsKey::or))
}
