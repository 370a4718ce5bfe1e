//! A world: two replicas of everything around one database and one chain.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use alloy::primitives::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use laurel_bus::{BusMetrics, Runner, RunnerSettings, Stage, Wakes};
use laurel_campaign::{BooksStage, DecisionStage};
use laurel_chain::{ChainNode, Endpoint, EndpointMetrics, Endpoints, EndpointsParts};
use laurel_chain_watcher::{Finality, Watcher, WatcherMetrics, WatcherParts};
use laurel_events::{CampaignId, Clock, MockClock, PARTITIONS};
use laurel_grant_saga::{
    GrantStage, LaneDriver, LaneParts, LaneSettings, SagaMetrics, SettlementStage, WalletChecker,
};
use laurel_ledger::{Context, faults::Point};
use laurel_views::{CampaignStatsStage, HistoryStage};
use prometheus::Registry;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    actors::{Actor, Kind, State, Work},
    audit::Auditor,
    chain::{Liar, Shared, SimNode},
    clients::Door,
    database::Database,
    dice::Dice,
    genesis::{CHAIN_ID, Genesis, lane_key, owner_sends},
    plan::{Plan, open_call},
    poison::{Mistake, Mistaken, RARITIES},
    releases::RELEASED_WORLDS,
    restore::{RESTORED_WORLDS, Restore},
    run::Wanted,
    stories::Story,
    taken_back::{self, TAKEN_BACK_WORLDS},
    trace::Trace,
};

/// Replicas of everything.
pub(crate) const REPLICAS: usize = 2;

/// How many worlds have all journal partitions.
const ALL_PARTITIONS: f64 = 0.03;

/// What the others have at the most: every stage goes through each of them, and most of a world's time is that.
const FEW_PARTITIONS: u8 = 2;

/// How long a step takes at the most, in milliseconds: in some worlds leases end within a few, settlements outlive their
/// deadlines, and places that were refused have rested.
const STEPS_MS: [i64; 4] = [350, 350, 350, 2_500];

/// Grants in a batch: small, so that there are many batches.
const GRANTS_MAX: u32 = 6;

/// How many worlds have little money, where the chain takes nothing back.
const SHORT_WORLDS: f64 = 0.1;

/// A replica's clock: the world's, and how far it is off.
#[derive(Debug)]
pub(crate) struct ReplicaClock {
    world: Arc<MockClock>,
    pub(crate) off: MockClock,
}

impl Clock for ReplicaClock {
    fn now(&self) -> DateTime<Utc> {
        self.world.now() + (self.off.now() - DateTime::UNIX_EPOCH)
    }
}

/// What a world may have to live through once, and when.
struct Turns {
    restore: Option<Restore>,
    closes_at: Option<u64>,
    takes_back_at: Option<u64>,
}

impl Turns {
    fn of_chance(story: Story, steps: u64, rng: &mut dyn RngCore) -> Self {
        let is_restored =
            rng.random_bool(RESTORED_WORLDS) && story != Story::TakenBack || story == Story::Restored;
        let restore = is_restored.then(|| Restore::of_chance(steps, rng));
        // Not both: a chain that takes back what a recovery has explained is none that the program follows.
        let is_taken_back = rng.random_bool(TAKEN_BACK_WORLDS) || story == Story::TakenBack;
        let takes_back_at = (is_taken_back && !is_restored).then(|| taken_back::of_chance(steps, rng));
        let is_released = rng.random_bool(RELEASED_WORLDS) || story == Story::Released;
        let closes_at = is_released.then(|| rng.random_range(steps / 4..steps / 2));
        Self { restore, closes_at, takes_back_at }
    }
}

/// What a replica is made of, each time that it starts.
pub(crate) struct Replica {
    /// How it speaks with the chain, through several endpoints in some worlds.
    pub(crate) node: Arc<dyn ChainNode>,
    pub(crate) endpoints: Option<Arc<Endpoints>>,
    pub(crate) clock: Arc<ReplicaClock>,
    /// How often it was started.
    pub(crate) starts: u32,
}

impl Replica {
    /// A replica, with one endpoint, or with several of which one lies.
    fn new(
        number: usize,
        liar: Option<usize>,
        shared: &Arc<Shared>,
        world: &Arc<MockClock>,
        metrics: &Metrics,
    ) -> Self {
        let off = MockClock::at(DateTime::UNIX_EPOCH);
        let clock = Arc::new(ReplicaClock { world: world.clone(), off });
        let endpoints = liar.map(|liar| several_endpoints(number, liar, shared, &clock, metrics));
        let node: Arc<dyn ChainNode> = match &endpoints {
            Some(endpoints) => endpoints.clone(),
            None => Arc::new(SimNode::new(format!("node {number}"), shared.clone())),
        };
        Self { node, endpoints, clock, starts: 0 }
    }
}

/// How often something was met.
pub(crate) type Counts<K> = BTreeMap<K, u64>;

/// Metrics can be registered once for each process.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    bus: BusMetrics,
    saga: SagaMetrics,
    watcher: WatcherMetrics,
    endpoints: EndpointMetrics,
}

impl Metrics {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let registry = Registry::new();
        Ok(Self {
            bus: BusMetrics::register(&registry)?,
            saga: SagaMetrics::register(&registry)?,
            watcher: WatcherMetrics::register(&registry)?,
            endpoints: EndpointMetrics::register(&registry)?,
        })
    }
}

/// In how many worlds each replica has several endpoints, one of which lies.
const SEVERAL_ENDPOINTS: f64 = 0.25;

/// How many they are then, and how many of them have to agree on what is final.
const ENDPOINTS: usize = 3;
const FINAL_QUORUM: usize = 2;

/// The endpoints of a replica, of which the one of number `liar` lies.
fn several_endpoints(
    replica: usize,
    liar: usize,
    shared: &Arc<Shared>,
    clock: &Arc<ReplicaClock>,
    metrics: &Metrics,
) -> Arc<Endpoints> {
    let endpoint = |number: usize| {
        let host = format!("node {replica}/{number}");
        let node = SimNode::new(host.clone(), shared.clone());
        let node: Arc<dyn ChainNode> =
            if number == liar { Arc::new(Liar::new(node, shared.clone())) } else { Arc::new(node) };
        Endpoint { host, node }
    };
    Arc::new(Endpoints::new(EndpointsParts {
        chain_id: CHAIN_ID,
        endpoints: (0..ENDPOINTS).map(endpoint).collect(),
        final_quorum: FINAL_QUORUM,
        clock: clock.clone(),
        seed: replica as u64,
        metrics: metrics.endpoints.clone(),
    }))
}

/// A world.
pub(crate) struct World<'a> {
    pub(crate) database: &'a mut Database,
    pub(crate) genesis: &'a Genesis,
    pub(crate) metrics: &'a Metrics,
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Arc<MockClock>,
    pub(crate) plan: Plan,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) actors: Vec<Actor>,
    pub(crate) auditor: Auditor,
    /// Fault points that were reached, and those at which a replica died.
    pub(crate) reached: Counts<Point>,
    pub(crate) crashed: Counts<Point>,
    pub(crate) steps: u64,
    /// Whether balances changed since they were looked at.
    pub(crate) money_moved: bool,
    /// When the database is set back, if it is.
    pub(crate) restore: Option<Restore>,
    /// In which step the owner closes a campaign, if it does.
    pub(crate) closes_at: Option<u64>,
    /// The campaigns that were to be released.
    pub(crate) closed: Vec<CampaignId>,
    /// In which step the chain takes back what was final, if it does.
    pub(crate) takes_back_at: Option<u64>,
    /// What a zombie has signed and will send, and when.
    pub(crate) unsent: Vec<(u64, Bytes)>,
    /// What stages cannot handle at the moment.
    pub(crate) mistake: Mistake,
    /// One in how many events that is, while it lasts.
    rarity: u64,
    /// How long a step takes, at the most.
    pub(crate) step_ms: i64,
    /// To what campaigns' caps were raised.
    pub(crate) raised: BTreeMap<CampaignId, u64>,
    /// What is to be undone, and at which step.
    pub(crate) troubles: Vec<(u64, crate::trouble::Trouble)>,
}

impl<'a> World<'a> {
    /// A world of that seed, with everything made and nothing begun.
    pub(crate) async fn new(
        seed: u64,
        wanted: Wanted,
        database: &'a mut Database,
        genesis: &'a Genesis,
        metrics: &'a Metrics,
    ) -> anyhow::Result<Self> {
        let mut dice = Dice::new(seed);
        let few = !dice.rng.random_bool(ALL_PARTITIONS);
        database.reset(if few { dice.rng.random_range(1..=FEW_PARTITIONS) } else { PARTITIONS }).await?;
        let mut chain = genesis.chain.clone();
        chain.pool.rules.refuses_gaps = dice.rng.random_bool(0.3);
        chain.pool.rules.refuses_below_base_fee = dice.rng.random_bool(0.3);
        let clock = Arc::<MockClock>::default();
        let now = Context::at(clock.now());
        let mut plan = Plan::make(&database.outside, genesis, &now, &mut dice.rng).await?;
        wanted.story.plan(&mut plan);
        let Turns { restore, closes_at, takes_back_at } =
            Turns::of_chance(wanted.story, plan.size.steps, &mut dice.rng);
        if dice.rng.random_bool(if takes_back_at.is_some() { 0.5 } else { SHORT_WORLDS }) {
            plan.run_short();
        }
        let step_ms = STEPS_MS[dice.rng.random_range(0..STEPS_MS.len())];
        let rarity = RARITIES[dice.rng.random_range(0..RARITIES.len())];
        let liar = dice.rng.random_bool(SEVERAL_ENDPOINTS).then(|| dice.rng.random_range(0..ENDPOINTS));
        let shared = Shared::new(chain, dice, Trace::new(wanted.keep_trace));
        for campaign in &plan.campaigns {
            owner_sends(&shared, Some(genesis.deployed.vault), open_call(genesis, campaign).into())?;
        }
        let replica = |number| Replica::new(number, liar, &shared, &clock, metrics);
        let replicas = (0..REPLICAS).map(replica).collect();
        let auditor = Auditor::new(genesis.deployed.vault);
        let mut world = Self {
            database,
            genesis,
            metrics,
            shared,
            clock,
            plan,
            replicas,
            actors: Vec::new(),
            auditor,
            reached: Counts::new(),
            crashed: Counts::new(),
            steps: 0,
            money_moved: false,
            restore,
            closes_at,
            closed: Vec::new(),
            takes_back_at,
            unsent: Vec::new(),
            mistake: Mistake::default(),
            rarity,
            step_ms,
            raised: BTreeMap::new(),
            troubles: Vec::new(),
        };
        for replica in 0..REPLICAS {
            for (name, kind, work) in world.start(replica).await? {
                let seat = world.database.seat(world.actors.len()).await?;
                let state = State::Idle(work);
                world.actors.push(Actor {
                    name,
                    replica,
                    seat,
                    state,
                    asked: None,
                    stirred: true,
                    more: false,
                    kind,
                });
            }
        }
        if wanted.story == Story::Refused {
            world.refuse_for_good()?;
        }
        Ok(world)
    }

    /// The tasks of a replica that starts, in the order of their seats.
    pub(crate) async fn start(&mut self, number: usize) -> anyhow::Result<Vec<(String, Kind, Work)>> {
        let (seed, starts) = (self.shared.dice().rng.next_u64(), self.replicas[number].starts);
        self.replicas[number].starts += 1;
        let holder = format!("replica-{number}-{starts}");
        let mut makes = Makes { world: self, number, seed, holder, first: 0, tasks: Vec::new() };
        makes.first = number * TASKS;
        makes.stage(DecisionStage::default()).await?;
        makes.stage(GrantStage).await?;
        makes.lanes().await?;
        makes.watcher().await?;
        makes.stage(SettlementStage).await?;
        makes.stage(BooksStage).await?;
        makes.checker().await?;
        makes.timers().await?;
        makes.stage(CampaignStatsStage).await?;
        makes.stage(HistoryStage).await?;
        makes.door().await?;
        let tasks = makes.tasks;
        anyhow::ensure!(tasks.len() == TASKS, "a replica has {} tasks", tasks.len());
        Ok(tasks)
    }
}

/// Tasks of a replica.
pub(crate) const TASKS: usize = 12;

/// Makes the tasks of a replica.
struct Makes<'w, 'a> {
    world: &'w mut World<'a>,
    number: usize,
    seed: u64,
    holder: String,
    first: usize,
    tasks: Vec<(String, Kind, Work)>,
}

impl Makes<'_, '_> {
    async fn pool(&mut self) -> anyhow::Result<sqlx::PgPool> {
        Ok(self.world.database.seat(self.first + self.tasks.len()).await?.pool)
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.world.replicas[self.number].clock.clone()
    }

    fn node(&self) -> Arc<dyn ChainNode> {
        self.world.replicas[self.number].node.clone()
    }

    fn push(&mut self, name: &str, kind: Kind, work: Work) {
        self.tasks.push((format!("{name}.{}", self.number), kind, work));
    }

    async fn stage(&mut self, stage: impl Stage) -> anyhow::Result<()> {
        let pool = self.pool().await?;
        let name = stage.name();
        let world = &self.world;
        let stage = Mistaken::new(stage, world.mistake.clone(), world.rarity, world.shared.clone());
        let settings = RunnerSettings::default();
        let metrics = self.world.metrics.bus.clone();
        let seed = self.seed.wrapping_add(self.tasks.len() as u64);
        let runner =
            Runner::new(Arc::new(stage), pool, self.clock(), Wakes::new().0, metrics, settings, seed);
        self.push(name, Kind::Stage(name), Work::Stage(Box::new(runner)));
        Ok(())
    }

    async fn lanes(&mut self) -> anyhow::Result<()> {
        let settings = LaneSettings {
            grants_max: GRANTS_MAX,
            age_max: Duration::from_millis(500),
            unmined_max: 4,
            settlement_lifetime: Duration::from_secs(60),
            max_fee_per_gas: 200_000_000_000,
            monitor_timeout: Duration::from_secs(10),
            monitor_interval: Duration::from_secs(1),
            give_up_refused: self.world.plan.give_up_refused,
        };
        for (number, lane) in self.world.plan.lanes.clone().into_iter().enumerate() {
            let parts = LaneParts {
                signer: Arc::new(lane_key(number)),
                node: self.node(),
                pool: self.pool().await?,
                clock: self.clock(),
                wakes: Wakes::new().0,
                metrics: self.world.metrics.saga.clone(),
            };
            let seed = self.seed.wrapping_add(self.tasks.len() as u64);
            let vault = self.world.plan.vault;
            let driver = LaneDriver::new(lane, vault, parts, settings, self.holder.clone(), seed);
            self.push(&format!("lane-{number}"), Kind::Lane, Work::Lane(Box::new(driver)));
        }
        Ok(())
    }

    async fn watcher(&mut self) -> anyhow::Result<()> {
        let parts = WatcherParts {
            node: self.node(),
            pool: self.pool().await?,
            clock: self.clock(),
            wakes: Wakes::new().0,
            metrics: self.world.metrics.watcher.clone(),
        };
        let poll = Duration::from_secs(1);
        let watcher = Watcher::new(CHAIN_ID, Finality::Finalized, parts, self.holder.clone(), poll);
        let endpoints = self.world.replicas[self.number].endpoints.clone();
        self.push("watcher", Kind::Watcher, Work::Watcher { watcher: Box::new(watcher), endpoints });
        Ok(())
    }

    async fn checker(&mut self) -> anyhow::Result<()> {
        let pool = self.pool().await?;
        let (node, clock, wakes) = (self.node(), self.clock(), Wakes::new().0);
        let checker = WalletChecker::new(CHAIN_ID, node, pool, clock, wakes, self.holder.clone());
        self.push("checker", Kind::Checker, Work::Checker(Box::new(checker)));
        Ok(())
    }

    async fn timers(&mut self) -> anyhow::Result<()> {
        let work = Work::Timers { pool: self.pool().await?, wakes: Wakes::new().0, clock: self.clock() };
        self.push("timers", Kind::Timers, work);
        Ok(())
    }

    async fn door(&mut self) -> anyhow::Result<()> {
        let rng = ChaCha8Rng::seed_from_u64(self.seed);
        let (vault, node, clock) = (self.world.plan.vault, self.node(), self.clock());
        let door = Door { pool: self.pool().await?, node, vault, clock, rng };
        self.push("door", Kind::Door, Work::Door { door, request: None });
        Ok(())
    }
}

impl World<'_> {
    /// The world's time.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Time passes.
    pub(crate) fn pass(&self, milliseconds: i64) {
        self.clock.advance(TimeDelta::milliseconds(milliseconds));
    }

    /// The time that a block gets.
    pub(crate) fn block_time(&self) -> u64 {
        self.now().timestamp().unsigned_abs()
    }

    /// Tells the trace something.
    pub(crate) fn tell(&self, what: &str) {
        let elapsed = self.now() - MockClock::default().now();
        self.shared.tell(format!("{} {} {what}", self.steps, elapsed.num_milliseconds()));
    }
}
