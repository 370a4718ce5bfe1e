//! What every route can use.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use laurel_bus::Wakes;
use laurel_chain::ChainNode;
use laurel_events::Clock;
use laurel_ledger::Context;
use rand::{SeedableRng, rngs::StdRng};
use sqlx::PgPool;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::{AuthMode, SecretsKey, request_id::RequestId, staff_log::ReadLog, statistics::StatisticsCache};

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
    /// When nothing more is served.
    pub shutdown: CancellationToken,
}

/// What every route can use. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiState {
    parts: Arc<ApiParts>,
    rng: Arc<Mutex<StdRng>>,
    statistics: StatisticsCache,
    reads: ReadLog,
    streams: Arc<Semaphore>,
    exports: Arc<Semaphore>,
}

/// How many callers may watch something at the same time.
const STREAMS_MAX: usize = 1_000;

/// How many exports may be made at the same time: each keeps a connection busy, and some ten megabytes.
const EXPORTS_MAX: usize = 4;

impl ApiState {
    /// The state; `seed` is for ids and nonces.
    pub fn new(parts: ApiParts, seed: [u8; 32]) -> Self {
        Self {
            parts: Arc::new(parts),
            rng: Arc::new(Mutex::new(StdRng::from_seed(seed))),
            statistics: StatisticsCache::default(),
            reads: ReadLog::default(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
        }
    }

    pub(crate) const fn statistics(&self) -> &StatisticsCache {
        &self.statistics
    }

    pub(crate) const fn reads(&self) -> &ReadLog {
        &self.reads
    }

    /// Says when campaigns' statistics may have changed.
    pub fn statistics_changes(&self) -> watch::Receiver<()> {
        self.statistics.changes()
    }

    /// Whoever watches something holds one of these.
    pub(crate) fn streams(&self) -> Arc<Semaphore> {
        self.streams.clone()
    }

    /// Whoever exports something holds one of these.
    pub(crate) fn exports(&self) -> Arc<Semaphore> {
        self.exports.clone()
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.parts.clock.now()
    }

    /// Whether a treasury brings an organisation's caps onto a chain.
    pub(crate) fn has_treasury(&self, chain_id: u64, org: &str) -> bool {
        self.treasuries.get(&chain_id).is_some_and(|orgs| orgs.iter().any(|name| name == org))
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
