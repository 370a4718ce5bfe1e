//! Campaigns, outcomes and books on a real PostgreSQL, moved by the real stages.

mod audit;
pub(crate) mod settle;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy_primitives::{Address, B256};
use chrono::{DateTime, Utc};
use laurel_bus::{Backoff, BusMetrics, Runner, RunnerSettings, Stage, Wakes};
use laurel_campaign::{
    BooksStage, By, Caps, DecisionStage, Definition, Move, change_campaign, create_campaign, move_campaign,
    reward::{Fixed, Reward},
};
use laurel_devnet::testing::TestDatabase;
use laurel_events::{
    Amount, CampaignFunded, CampaignId, Clock, Envelope, Event, EventKind, GameOutcomeRecorded, MockClock,
    NewEvent, OrgId, OutcomeKey, Partition, PlayerId,
};
use laurel_ledger::{Balances, Context, MIGRATOR, VaultIdentity, append, find_balances, pin_vault, read};
use prometheus::Registry;
use rand::{SeedableRng, rngs::StdRng};
use sqlx::{PgPool, Row};
use uuid::Uuid;

pub(crate) const CHAIN: u64 = 31_337;
pub(crate) const ORG: OrgId = OrgId(1);
pub(crate) const VAULT: Address = Address::repeat_byte(2);
pub(crate) const TOKEN: Address = Address::repeat_byte(9);

/// No test records so many events in a partition.
const EVENTS_MAX: i64 = 100_000;

/// Numbers outcomes and fundings, so that each is a fact of its own.
static NEXT: AtomicU64 = AtomicU64::new(1);

pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) clock: Arc<MockClock>,
    decisions: Runner,
    books: Runner,
}

impl World {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::create(&MIGRATOR).await;
        let clock = Arc::new(MockClock::default());
        let pool = database.pool();
        let decisions = replica(pool, &clock, Arc::new(DecisionStage::default()));
        let books = replica(pool, &clock, Arc::new(BooksStage));
        let identity = VaultIdentity {
            chain_id: CHAIN,
            genesis_hash: B256::repeat_byte(1),
            vault: VAULT,
            code_hash: B256::repeat_byte(3),
            deploy_block: 1,
        };
        pin_vault(&mut pool.acquire().await.unwrap(), &identity).await.unwrap();
        Self { database, clock, decisions, books }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        self.database.pool()
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub(crate) fn context(&self) -> Context {
        Context::at(self.now())
    }

    /// Another replica of the deciding stage.
    pub(crate) fn another_decider(&self) -> Runner {
        replica(self.pool(), &self.clock, Arc::new(DecisionStage::default()))
    }

    /// A draft.
    pub(crate) async fn draft(&self, org: OrgId, definition: &Definition) -> CampaignId {
        let mut rng = StdRng::seed_from_u64(NEXT.fetch_add(1, Ordering::SeqCst));
        let mut tx = self.pool().begin().await.unwrap();
        let id =
            create_campaign(&mut tx, &self.context(), &mut rng, org, By::somebody("manager"), definition)
                .await;
        tx.commit().await.unwrap();
        id.unwrap()
    }

    /// An active campaign of the default organisation with a cap in the vault.
    pub(crate) async fn campaign(&mut self, definition: &Definition, cap: u64) -> CampaignId {
        let id = self.draft(ORG, definition).await;
        self.transition(id, Move::Activate).await;
        self.fund(id, cap).await;
        id
    }

    pub(crate) async fn transition(&self, id: CampaignId, action: Move) {
        let mut tx = self.pool().begin().await.unwrap();
        move_campaign(&mut tx, &self.context(), ORG, id, action, By::somebody("manager")).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn change(&self, id: CampaignId, change: impl FnOnce(&mut Definition) + Send) {
        let mut tx = self.pool().begin().await.unwrap();
        change_campaign(&mut tx, &self.context(), ORG, id, None, By::somebody("manager"), change)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    /// The vault's cap is seen in a final block.
    pub(crate) async fn fund(&mut self, id: CampaignId, cap: u64) {
        self.append(&[funding(id, cap).into()]).await;
        self.keep_books().await;
    }

    pub(crate) async fn append(&self, events: &[NewEvent]) {
        let mut tx = self.pool().begin().await.unwrap();
        append(&mut tx, &self.context(), events).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Records outcomes in one transaction, as if they occurred now.
    pub(crate) async fn record(&self, outcomes: &[GameOutcomeRecorded]) {
        let events: Vec<NewEvent> = outcomes.iter().cloned().map(NewEvent::from).collect();
        self.append(&events).await;
    }

    /// Records an outcome that occurred at another time, and decides.
    pub(crate) async fn decide_at(&mut self, at: DateTime<Utc>, outcome: GameOutcomeRecorded) -> Vec<String> {
        let key = outcome.outcome;
        self.append(&[NewEvent { event: outcome.into(), occurred_at: Some(at), cause: None }]).await;
        self.run_decisions().await;
        self.verdicts(key).await
    }

    /// Records an outcome and decides on it: what each campaign said, in the order of the campaigns.
    pub(crate) async fn decide(&mut self, outcome: GameOutcomeRecorded) -> Vec<String> {
        let now = self.now();
        self.decide_at(now, outcome).await
    }

    /// Records outcomes together and decides on them: what was said about each.
    pub(crate) async fn decide_all(&mut self, outcomes: &[GameOutcomeRecorded]) -> Vec<String> {
        self.record(outcomes).await;
        self.run_decisions().await;
        let mut verdicts = Vec::new();
        for outcome in outcomes {
            verdicts.extend(self.verdicts(outcome.outcome).await);
        }
        verdicts
    }

    pub(crate) async fn run_decisions(&mut self) {
        drain(&mut self.decisions).await;
    }

    pub(crate) async fn keep_books(&mut self) {
        drain(&mut self.books).await;
    }

    /// One round of the books, which may halt.
    pub(crate) async fn books_round(&mut self) -> Result<bool, laurel_bus::StageError> {
        self.books.round().await
    }

    /// What the campaigns made of an outcome: `granted AMOUNT`, or the reason of the decline.
    pub(crate) async fn verdicts(&self, outcome: OutcomeKey) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT verdict FROM (
                 SELECT campaign, 'granted ' || amount AS verdict FROM grants WHERE outcome = $1
                 UNION ALL SELECT campaign, reason FROM declines WHERE outcome = $1
             ) v ORDER BY campaign",
        )
        .bind(outcome.uuid())
        .fetch_all(self.pool())
        .await
        .unwrap()
    }

    pub(crate) async fn balances(&self, id: CampaignId) -> Balances {
        let mut conn = self.pool().acquire().await.unwrap();
        find_balances(&mut conn, id).await.unwrap().unwrap()
    }

    /// (available, reserved, paid)
    pub(crate) async fn money(&self, id: CampaignId) -> (u64, u64, u64) {
        let balances = self.balances(id).await;
        let units = |amount: Amount| amount.units().to::<u64>();
        (units(balances.available), units(balances.reserved), units(balances.paid))
    }

    /// A number from a query without parameters.
    pub(crate) async fn number(&self, query: &'static str) -> i64 {
        sqlx::query(query).fetch_one(self.pool()).await.unwrap().get(0)
    }

    /// All events of a kind, in the order of partitions and offsets.
    pub(crate) async fn events(&self, kind: EventKind) -> Vec<Envelope> {
        let mut conn = self.pool().acquire().await.unwrap();
        let mut events = Vec::new();
        for partition in Partition::all() {
            let (found, _) = read(&mut conn, partition, 0, i64::MAX, &[kind], EVENTS_MAX).await.unwrap();
            events.extend(found);
        }
        events
    }

    /// Everything of the books that a second handling could change.
    pub(crate) async fn fingerprint(&self) -> BTreeSet<String> {
        let mut rows = BTreeSet::new();
        for table in [
            "accounts",
            "grants",
            "declines",
            "fundings",
            "postings",
            "voids",
            "suspense",
            "counters",
            "campaigns",
            "alerts",
            "heads",
            "dead_letters",
        ] {
            let query = format!("SELECT '{table}' || t::text FROM {table} t");
            let found: Vec<String> =
                sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_all(self.pool()).await.unwrap();
            rows.extend(found);
        }
        rows
    }
}

fn replica(pool: &PgPool, clock: &Arc<MockClock>, stage: Arc<dyn Stage>) -> Runner {
    let (wakes, _) = Wakes::new();
    let settings = RunnerSettings {
        poll_interval: Duration::from_millis(10),
        attempts_max: 3,
        retry: Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(10) },
        infrastructure: Backoff { base: Duration::from_millis(1), cap: Duration::from_millis(1) },
        ..RunnerSettings::default()
    };
    let metrics = BusMetrics::register(&Registry::new()).unwrap();
    Runner::new(stage, pool.clone(), clock.clone(), wakes, metrics, settings, 1)
}

/// Runs a replica until there is nothing to do.
pub(crate) async fn drain(replica: &mut Runner) {
    while replica.round().await.unwrap() {}
}

/// A campaign that gives 10 for every outcome of the quiz.
pub(crate) fn definition() -> Definition {
    Definition {
        name: "c".to_owned(),
        chain_id: CHAIN,
        token: TOKEN,
        games: vec!["quiz".to_owned()],
        rule: "outcome.score >= 100".to_owned(),
        reward: fixed(10),
        caps: Caps::default(),
        starts_at: None,
        ends_at: None,
        windows: None,
        only_allowed: false,
        wallet_deadline_hours: 24,
    }
}

pub(crate) fn fixed(amount: u64) -> Reward {
    Reward::Fixed(Fixed::new(Amount::from(amount)).unwrap())
}

pub(crate) fn player(number: u64) -> PlayerId {
    PlayerId::from(Uuid::from_u128(u128::from(number)))
}

/// An outcome of the quiz that earns.
pub(crate) fn outcome(of: u64) -> GameOutcomeRecorded {
    let outcome_id = format!("o-{}", NEXT.fetch_add(1, Ordering::SeqCst));
    GameOutcomeRecorded {
        org: ORG,
        issuer: "server".to_owned(),
        outcome: OutcomeKey::derive(ORG, "server", &outcome_id),
        outcome_id,
        game: "quiz".to_owned(),
        player: player(of),
        score: 100,
        rank: None,
        attributes: std::collections::BTreeMap::new(),
    }
}

/// The vault's cap for a campaign, as the watcher tells of it.
pub(crate) fn funding(campaign: CampaignId, cap: u64) -> CampaignFunded {
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    CampaignFunded {
        campaign,
        chain_id: CHAIN,
        vault: VAULT,
        token: TOKEN,
        cap: Amount::from(cap),
        tx: B256::with_last_byte(7),
        block_number: number,
        log_index: 0,
    }
}

/// The data of an event of one kind.
pub(crate) fn data<T>(envelopes: Vec<Envelope>, pick: impl Fn(Event) -> Option<T>) -> Vec<T> {
    envelopes.into_iter().filter_map(|envelope| pick(envelope.event)).collect()
}
