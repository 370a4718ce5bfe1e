//! What every route can use.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::http::HeaderValue;
use chrono::{DateTime, Utc};
use ipnet::IpNet;
use laurel_bus::Wakes;
use laurel_chain::ChainNode;
use laurel_events::Clock;
use laurel_ledger::Context;
use rand::{SeedableRng, rngs::StdRng};
use sqlx::PgPool;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    AuthMode, Intake, LimitMetrics, Rates, SecretsKey,
    auth::{CheckedTokens, SignedInto},
    export::ExportTurns,
    limits::{GateSettings, Gates, Limiter},
    request_id::RequestId,
    routes::{HoldingsCache, SmallReports},
    staff_log::ReadLog,
    statistics::StatisticsCache,
    together::Together,
};

/// What the interface is made of.
#[derive(Clone, Debug)]
pub struct ApiParts {
    /// The database.
    pub pool: PgPool,
    /// Where reads go: a replica, where there is one.
    pub read_pool: PgPool,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Wakes.
    pub wakes: Wakes,
    /// Nodes by chain id, for contract wallets.
    pub nodes: BTreeMap<u64, Arc<dyn ChainNode>>,
    /// How callers prove who they are.
    pub auth: AuthMode,
    /// What encrypts secrets that have to be read again; without it there are none.
    pub secrets: Option<SecretsKey>,
    /// The address under which clients reach the interface.
    pub public_url: String,
    /// By the id of each chain whose caps a treasury brings onto it: the organisations that may spend it.
    pub treasuries: BTreeMap<u64, Vec<String>>,
    /// How much may be asked for.
    pub limits: LimitParts,
    /// Sites whose scripts may call.
    pub origins: Vec<HeaderValue>,
    /// When nothing more is served.
    pub shutdown: CancellationToken,
}

/// What the limits are made of.
#[derive(Clone, Debug)]
pub struct LimitParts {
    /// Connections for nothing else: limits are there when everything else is busy.
    pub pool: PgPool,
    /// How much of each class a caller may ask for.
    pub rates: Rates,
    /// Proxies whose word on whom they speak for is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// How many requests of a class may wait for their turn at the database.
    pub queue_max: usize,
    /// How long a question may wait for its turn; what is more urgent waits four times as long.
    pub queue_time: Duration,
    /// How much of bodies is kept at the same time, in KiB.
    pub bodies_kib_max: u32,
    /// How long a client may take to send a body.
    pub body_timeout: Duration,
    /// How many chunks of the journal may be undecided before no more outcomes are taken.
    pub lag_chunks_max: i64,
    /// Where it is counted.
    pub metrics: LimitMetrics,
}

/// What every route can use. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiState {
    parts: Arc<ApiParts>,
    rng: Arc<Mutex<StdRng>>,
    statistics: StatisticsCache,
    reads: ReadLog,
    sessions: Together<SignedInto, Option<(i32, bool)>>,
    checked: CheckedTokens,
    small_reports: SmallReports,
    holdings: HoldingsCache,
    limiter: Limiter,
    gates: Gates,
    intake: Intake,
    streams: Arc<Semaphore>,
    exports: ExportTurns,
}

/// How many callers may watch something at the same time.
const STREAMS_MAX: usize = 1_000;

impl ApiState {
    /// The state; `seed` is for ids and nonces.
    pub fn new(parts: ApiParts, seed: [u8; 32]) -> Self {
        let limits = &parts.limits;
        let gates = GateSettings {
            connections: parts.pool.options().get_max_connections(),
            read_connections: parts.read_pool.options().get_max_connections(),
            queue_max: limits.queue_max,
            queue_time: limits.queue_time,
            bodies_kib_max: limits.bodies_kib_max,
        };
        Self {
            limiter: Limiter::new(limits.pool.clone(), limits.rates, limits.metrics.clone()),
            gates: Gates::new(gates, &limits.metrics),
            intake: Intake::new(limits.pool.clone(), limits.lag_chunks_max, limits.metrics.clone()),
            parts: Arc::new(parts),
            rng: Arc::new(Mutex::new(StdRng::from_seed(seed))),
            statistics: StatisticsCache::default(),
            reads: ReadLog::default(),
            sessions: Together::default(),
            checked: CheckedTokens::default(),
            small_reports: SmallReports::default(),
            holdings: HoldingsCache::default(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            exports: ExportTurns::default(),
        }
    }

    pub(crate) const fn statistics(&self) -> &StatisticsCache {
        &self.statistics
    }

    pub(crate) const fn reads(&self) -> &ReadLog {
        &self.reads
    }

    /// Sign-ins that are asked about.
    pub(crate) const fn sessions(&self) -> &Together<SignedInto, Option<(i32, bool)>> {
        &self.sessions
    }

    /// Reports of outcomes that are recorded together.
    pub(crate) const fn small_reports(&self) -> &SmallReports {
        &self.small_reports
    }

    /// What vaults held a moment ago.
    pub(crate) const fn holdings(&self) -> &HoldingsCache {
        &self.holdings
    }

    /// Tokens whose signature was checked.
    pub(crate) const fn checked(&self) -> &CheckedTokens {
        &self.checked
    }

    /// Says when campaigns' statistics may have changed.
    pub fn statistics_changes(&self) -> watch::Receiver<()> {
        self.statistics.changes()
    }

    pub(crate) const fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    pub(crate) const fn gates(&self) -> &Gates {
        &self.gates
    }

    /// Whether more outcomes are taken.
    pub const fn intake(&self) -> &Intake {
        &self.intake
    }

    /// Whoever watches something holds one of these.
    pub(crate) fn streams(&self) -> Arc<Semaphore> {
        self.streams.clone()
    }

    /// Turns of those who export something.
    pub(crate) const fn exports(&self) -> &ExportTurns {
        &self.exports
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.parts.clock.now()
    }

    /// Whether a treasury brings an organisation's caps onto a chain.
    pub(crate) fn has_treasury(&self, chain_id: u64, org: &str) -> bool {
        self.treasuries.get(&chain_id).is_some_and(|orgs| orgs.iter().any(|name| name == org))
    }

    /// Whether clients come by TLS, whoever ends it.
    pub(crate) fn is_secure(&self) -> bool {
        self.public_url.starts_with("https://")
    }

    /// The authority (host and port) under which clients reach the interface.
    pub(crate) fn domain(&self) -> &str {
        self.public_url.split("://").last().unwrap_or_default().trim_end_matches('/')
    }

    /// A generator of its own for one request.
    pub(crate) async fn rng(&self) -> StdRng {
        StdRng::from_rng(&mut *self.rng.lock().await)
    }

    pub(crate) fn context(&self, request_id: &RequestId) -> Context {
        Context { now: self.now(), request_id: Some(request_id.0.clone()), trace: None }
    }
}

impl std::ops::Deref for ApiState {
    type Target = ApiParts;

    fn deref(&self) -> &ApiParts {
        &self.parts
    }
}
