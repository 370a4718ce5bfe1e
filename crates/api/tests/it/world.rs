//! What the tests stand on: a database, the router, two organisations, a vault and a lane whose keys we hold.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use alloy_primitives::{Address, B256, keccak256};
use axum::{Router, http::HeaderValue};
use laurel_api::{
    ApiParts, ApiState, AuthMode, LimitMetrics, LimitParts, Rates, Role, SecretsKey, TokenKey, router,
};
use laurel_bus::{BusMetrics, Runner, RunnerSettings, Stage, Wakes};
use laurel_campaign::DecisionStage;
use laurel_chain::{ChainNode, HttpNode, LaneSigner, LocalKey};
use laurel_devnet::testing::TestDatabase;
use laurel_events::{Amount, BudgetFunded, CampaignId, Clock, MockClock, VaultId};
use laurel_grant_saga::register_lane;
use laurel_ledger::{Context, Funding, MIGRATOR, VaultIdentity, add_organisation, append, fund, pin_vault};
use laurel_views::CampaignStatsStage;
use prometheus::Registry;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool, postgres::PgPoolOptions};
use tokio_util::sync::CancellationToken;

use crate::{call::Call, token_node::TokenNode};

pub(crate) const CHAIN: u64 = 31_337;

/// A site whose scripts may call.
pub(crate) const ORIGIN: &str = "https://games.example";

/// Where nobody listens.
pub(crate) const NO_NODE: &str = "http://127.0.0.1:9";

/// Few, so that a test can take them all.
pub(crate) const READ_CONNECTIONS: u32 = 2;

/// How long a question waits for its turn: longer than any test keeps others waiting.
const QUEUE_TIME: Duration = Duration::from_secs(10);

/// How long a client may take to send a body: short, for the test that waits for it.
const BODY_TIMEOUT: Duration = Duration::from_millis(500);

/// How long anybody waits for a connection: long enough for a test that takes none.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

const SIGNING_KEY: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) router: Router,
    pub(crate) state: ApiState,
    pub(crate) wakes: Wakes,
    pub(crate) shutdown: CancellationToken,
    pub(crate) read_pool: PgPool,
    pub(crate) clock: Arc<MockClock>,
    pub(crate) vault: VaultId,
}

/// How a world differs from the usual one.
pub(crate) struct Setup {
    /// Without, a node that knows the token and nothing else.
    pub(crate) rpc_url: Option<String>,
    /// That node.
    pub(crate) node: Arc<TokenNode>,
    pub(crate) vault: Address,
    pub(crate) treasury: bool,
    pub(crate) sign_in: bool,
    /// Without, as many as any test may ask for.
    pub(crate) rates: Rates,
    /// The most connections of the interface.
    pub(crate) connections: u32,
    /// How many requests of a class may wait for their turn.
    pub(crate) queue_max: usize,
    /// How long a question waits for its turn.
    pub(crate) queue_time: Duration,
    /// How much of bodies is kept at the same time, in KiB.
    pub(crate) bodies_kib_max: u32,
    /// How many chunks may be undecided.
    pub(crate) lag_chunks_max: i64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            rpc_url: None,
            node: Arc::default(),
            vault: address("vault"),
            treasury: true,
            sign_in: true,
            rates: Rates::GENEROUS,
            connections: 10,
            queue_max: 1_000,
            queue_time: QUEUE_TIME,
            bodies_kib_max: 64 * 1024,
            lag_chunks_max: i64::MAX,
        }
    }
}

/// A key that has a name.
pub(crate) fn key(name: &str) -> LocalKey {
    LocalKey::from_hex(&keccak256(name).to_string()).unwrap()
}

pub(crate) fn address(name: &str) -> Address {
    key(name).address()
}

pub(crate) fn token_key() -> TokenKey {
    TokenKey::from_hex(SIGNING_KEY).unwrap()
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::of(Setup::default()).await
    }

    pub(crate) async fn of(setup: Setup) -> Self {
        let database = TestDatabase::create(&MIGRATOR).await;
        let mut conn = database.pool().acquire().await.unwrap();
        add_organisation(&mut conn, "other").await.unwrap();
        let identity = VaultIdentity {
            chain_id: CHAIN,
            genesis_hash: B256::repeat_byte(1),
            vault: setup.vault,
            code_hash: B256::repeat_byte(3),
            deploy_block: 1,
        };
        let vault = pin_vault(&mut conn, &identity).await.unwrap().id;
        register_lane(&mut conn, vault, address("lane"), None, 0).await.unwrap();
        drop(conn);
        let clock = Arc::new(MockClock::default());
        let node: Arc<dyn ChainNode> = match &setup.rpc_url {
            Some(url) => Arc::new(HttpNode::new(url).unwrap()),
            None => setup.node.clone(),
        };
        let auth = if setup.sign_in { AuthMode::Jwt(vec![token_key()]) } else { AuthMode::None };
        let pool_of = |connections| {
            PgPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .connect_lazy_with((*database.pool().connect_options()).clone())
        };
        let read_pool = pool_of(READ_CONNECTIONS);
        let limits = LimitParts {
            pool: pool_of(1),
            rates: setup.rates,
            trusted_proxies: vec!["::/128".parse().unwrap()],
            queue_max: setup.queue_max,
            queue_time: setup.queue_time,
            bodies_kib_max: setup.bodies_kib_max,
            body_timeout: BODY_TIMEOUT,
            lag_chunks_max: setup.lag_chunks_max,
            metrics: LimitMetrics::register(&Registry::new()).unwrap(),
        };
        let (wakes, shutdown) = (Wakes::new().0, CancellationToken::new());
        let parts = ApiParts {
            pool: pool_of(setup.connections),
            read_pool: read_pool.clone(),
            clock: clock.clone(),
            wakes: wakes.clone(),
            nodes: BTreeMap::from([(CHAIN, node)]),
            auth,
            secrets: Some(SecretsKey::from_hex(&"5a".repeat(32)).unwrap()),
            public_url: "https://play.example".to_owned(),
            treasuries: setup.treasury.then(|| (CHAIN, vec!["default".to_owned()])).into_iter().collect(),
            limits,
            origins: vec![HeaderValue::from_static(ORIGIN)],
            shutdown: shutdown.clone(),
        };
        let state = ApiState::new(parts, [7; 32]);
        Self { database, router: router(state.clone()), state, wakes, shutdown, read_pool, clock, vault }
    }

    /// Another replica, on the same database and by the same clock.
    pub(crate) fn replica(&self) -> Router {
        let mut parts = (*self.state).clone();
        parts.limits.metrics = LimitMetrics::register(&Registry::new()).unwrap();
        router(ApiState::new(parts, [8; 32]))
    }

    pub(crate) fn pool(&self) -> &PgPool {
        self.database.pool()
    }

    /// A request, such as `GET /v1/campaigns`, by a caller of the organisation `default`.
    pub(crate) fn call(&self, role: Role, line: &str) -> Call<'_> {
        Call::new(self, line).by(role, "default", "caller")
    }

    /// A request without a token.
    pub(crate) fn anonymous(&self, line: &str) -> Call<'_> {
        Call::new(self, line)
    }

    pub(crate) async fn player(&self, name: &str) -> Value {
        self.call(Role::GameServer, &format!("PUT /v1/players/{name}")).send().await.created()
    }

    /// A new campaign, still a draft.
    pub(crate) async fn campaign(&self) -> String {
        let made = self.call(Role::Manager, "POST /v1/campaigns").json(&definition()).send().await.created();
        made["id"].as_str().unwrap().to_owned()
    }

    /// A campaign that is funded, still a draft.
    pub(crate) async fn funded_campaign(&self, cap: u64) -> String {
        let id = self.campaign().await;
        self.fund(&id, cap).await;
        id
    }

    /// A campaign that is funded and active.
    pub(crate) async fn active_campaign(&self, cap: u64) -> String {
        let id = self.funded_campaign(cap).await;
        self.call(Role::Manager, &format!("POST /v1/campaigns/{id}/activate")).send().await.ok();
        id
    }

    /// The vault's cap is seen in a final block.
    pub(crate) async fn fund(&self, id: &str, cap: u64) {
        let mut tx = self.pool().begin().await.unwrap();
        let campaign: CampaignId = id.parse().unwrap();
        let tx_hash = B256::repeat_byte(7);
        let funding =
            Funding { campaign, block_number: 7, log_index: 0, tx: tx_hash, cap: Amount::from(cap) };
        let now = self.clock.now();
        let added = fund(&mut tx, now, &funding).await.unwrap();
        let booked = added.map(|amount| {
            let Funding { campaign, block_number, log_index, tx, cap } = funding;
            BudgetFunded { campaign, amount, cap, tx, block_number, log_index }.into()
        });
        append(&mut tx, &Context::at(now), booked.as_slice()).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn post_outcomes(&self, outcomes: &[Value]) -> Value {
        let body = json!({ "outcomes": outcomes });
        self.call(Role::GameServer, "POST /v1/outcomes").json(&body).send().await.accepted()
    }

    /// Has the campaigns decide all that was recorded, and counts it.
    pub(crate) async fn decide(&self) {
        let stages: [Arc<dyn Stage>; 2] = [Arc::new(DecisionStage::default()), Arc::new(CampaignStatsStage)];
        for stage in stages {
            let metrics = BusMetrics::register(&Registry::new()).unwrap();
            let clock: Arc<dyn Clock> = self.clock.clone();
            let (wakes, _) = Wakes::new();
            let settings = RunnerSettings::default();
            let mut runner = Runner::new(stage, self.pool().clone(), clock, wakes, metrics, settings, 1);
            while runner.round().await.unwrap() {}
        }
    }

    /// What every table holds that must not be lost: how many rows, and a hash of them.
    pub(crate) async fn contents(&self) -> BTreeMap<String, (i64, String)> {
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT relname::text FROM pg_class
             WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
               AND relpersistence = 'p'",
        )
        .fetch_all(self.pool())
        .await
        .unwrap();
        let mut contents = BTreeMap::new();
        for table in tables {
            let rows = format!(
                "SELECT count(*), coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM {table} t"
            );
            let found = sqlx::query_as(AssertSqlSafe(rows)).fetch_one(self.pool()).await.unwrap();
            contents.insert(table, found);
        }
        contents
    }

    /// The same, but for what is kept of whoever reads.
    pub(crate) async fn contents_but_reads(&self) -> BTreeMap<String, (i64, String)> {
        let mut contents = self.contents().await;
        contents.retain(|table, _| !["staff_log", "journal", "heads"].contains(&table.as_str()));
        contents
    }

    /// How many rows a table has.
    pub(crate) async fn rows(&self, table: &str) -> i64 {
        self.contents().await[table].0
    }
}

/// A campaign that gives 5 units for a score of at least 10 in a quiz.
pub(crate) fn definition() -> Value {
    json!({
        "name": "Quiz night", "chain_id": CHAIN, "token": address("token").to_checksum(None),
        "games": ["quiz"], "rule": "outcome.score >= 10", "reward": { "kind": "fixed", "amount": "5" },
        "caps": { "grants_per_player": 2 }, "wallet_deadline_hours": 72,
    })
}

pub(crate) fn outcome(id: &str, player: &str, score: i64) -> Value {
    json!({
        "outcome_id": id, "game": "quiz", "player_id": player, "score": score,
        "occurred_at": MockClock::default().now(),
    })
}
