//! A stage that echoes events, and fails when told to.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use laurel_bus::{Backoff, BusMetrics, OnPoison, Runner, RunnerSettings, Stage, StageError, Wakes};
use laurel_devnet::testing::TestDatabase;
use laurel_events::{
    Amount, BudgetReleased, CampaignId, Clock, Envelope, Event, EventKind, GrantId, MockClock, NewEvent,
    OperatorAlertCleared, TokenGrantHeld,
};
use laurel_ledger::{Context, MIGRATOR, append};
use prometheus::Registry;
use sqlx::{PgConnection, PgPool};

/// Every held grant becomes a cleared alert about it: what was handled how often shows in the journal.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    /// Grants held for the reason `poison` fail until this is set.
    pub(crate) cured: AtomicBool,
    /// So many calls fail for the infrastructure's sake.
    pub(crate) outages: AtomicU32,
    /// Whether held grants halt, too. Releases always do.
    pub(crate) halts: AtomicBool,
    /// The grants in the order in which they were handed over.
    pub(crate) seen: Mutex<Vec<GrantId>>,
}

#[async_trait]
impl Stage for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn kinds(&self) -> &'static [EventKind] {
        &[EventKind::TokenGrantHeld, EventKind::BudgetReleased]
    }

    fn events_max(&self) -> i64 {
        50
    }

    fn on_poison(&self, kind: EventKind) -> OnPoison {
        let halts = kind == EventKind::BudgetReleased || self.halts.load(Ordering::SeqCst);
        if halts { OnPoison::Halt } else { OnPoison::Park }
    }

    async fn handle(
        &self,
        _: &mut PgConnection,
        _: DateTime<Utc>,
        events: &[Envelope],
    ) -> Result<Vec<NewEvent>, StageError> {
        let outage =
            self.outages.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if outage.is_ok() {
            return Err(StageError::Infrastructure("the network is down".into()));
        }
        let mut effects = Vec::new();
        for envelope in events {
            let (grant, poison) = match &envelope.event {
                Event::TokenGrantHeld(held) => (held.grant, held.reason == "poison"),
                Event::BudgetReleased(released) => (released.grant, false),
                _ => panic!("not asked for"),
            };
            if matches!(&envelope.event, Event::TokenGrantHeld(held) if held.reason == "down") {
                return Err(StageError::Infrastructure("what it needs is down".into()));
            }
            if poison && !self.cured.load(Ordering::SeqCst) {
                return Err(StageError::poison("bad grant"));
            }
            self.seen.lock().unwrap().push(grant);
            let about = grant.to_string();
            effects
                .push(NewEvent::caused_by(envelope.id, OperatorAlertCleared { code: "echo".into(), about }));
        }
        Ok(effects)
    }
}

pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) clock: Arc<MockClock>,
    pub(crate) echo: Arc<Echo>,
}

impl World {
    pub(crate) async fn new(echo: Echo) -> Self {
        let database = TestDatabase::create(&MIGRATOR).await;
        Self { database, clock: Arc::default(), echo: Arc::new(echo) }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        self.database.pool()
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// A replica of the stage. Waits are exact: a second, doubled up to ten, three attempts.
    pub(crate) fn replica(&self) -> Runner {
        let (wakes, _) = Wakes::new();
        let settings = RunnerSettings {
            poll_interval: Duration::from_millis(10),
            attempts_max: 3,
            retry: Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(10) },
            infrastructure: Backoff { base: Duration::from_millis(1), cap: Duration::from_millis(1) },
            ..RunnerSettings::default()
        };
        let metrics = BusMetrics::register(&Registry::new()).unwrap();
        let clock: Arc<dyn Clock> = self.clock.clone();
        Runner::new(self.echo.clone(), self.pool().clone(), clock, wakes, metrics, settings, 1)
    }

    /// Holds grants: (campaign, number, reason).
    pub(crate) async fn hold(&self, grants: &[(u64, u64, &str)]) {
        let events: Vec<NewEvent> = grants.iter().map(|(c, n, reason)| held(*c, *n, reason)).collect();
        self.append(&events).await;
    }

    pub(crate) async fn append(&self, events: &[NewEvent]) {
        let mut tx = self.pool().begin().await.unwrap();
        append(&mut tx, &Context::at(self.now()), events).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// How often each grant was handled.
    pub(crate) async fn handled(&self) -> BTreeMap<String, usize> {
        let payloads: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT payload FROM journal WHERE kind = 'OperatorAlertCleared' ORDER BY part, position",
        )
        .fetch_all(self.pool())
        .await
        .unwrap();
        let mut handled = BTreeMap::new();
        for line in payloads.iter().flat_map(|payload| payload.split(|byte| *byte == b'\n')) {
            let text = std::str::from_utf8(line).unwrap();
            if !text.contains(r#""code":"echo""#) {
                continue;
            }
            let about = text.split("\"about\":\"").nth(1).unwrap().split('"').next().unwrap();
            *handled.entry(about.to_owned()).or_default() += 1;
        }
        handled
    }

    /// What the alerts are about, and what they say.
    pub(crate) async fn alerts(&self) -> Vec<(String, String)> {
        sqlx::query_as("SELECT about, detail FROM alerts WHERE code = 'stage_halted' ORDER BY about")
            .fetch_all(self.pool())
            .await
            .unwrap()
    }

    /// How many alerts were raised and cleared.
    pub(crate) async fn told(&self) -> (i64, i64) {
        sqlx::query_as(
            "SELECT count(*) FILTER (WHERE kind = 'OperatorAlertRaised'),
                    count(*) FILTER (WHERE kind = 'OperatorAlertCleared' AND convert_from(payload, 'UTF8') ~ 'stage_halted')
             FROM journal",
        )
        .fetch_one(self.pool())
        .await
        .unwrap()
    }

    /// The letters: grant's number by its subject, and the state.
    pub(crate) async fn letters(&self) -> Vec<(String, String, i32)> {
        sqlx::query_as("SELECT subject, state, attempts FROM dead_letters ORDER BY part, position, idx")
            .fetch_all(self.pool())
            .await
            .unwrap()
    }
}

fn grant(campaign: u64, number: u64) -> GrantId {
    GrantId { campaign: CampaignId::from(campaign), number }
}

pub(crate) fn held(campaign: u64, number: u64, reason: &str) -> NewEvent {
    TokenGrantHeld { grant: grant(campaign, number), reason: reason.to_owned() }.into()
}

/// What must not be passed over.
pub(crate) fn released(campaign: u64, number: u64) -> NewEvent {
    BudgetReleased { grant: grant(campaign, number), amount: Amount::from(1_u64) }.into()
}

/// Runs a replica until there is nothing to do.
pub(crate) async fn drain(replica: &mut Runner) {
    while replica.round().await.unwrap() {}
}

pub(crate) fn once(grants: &[(u64, u64)]) -> BTreeMap<String, usize> {
    grants.iter().map(|(campaign, number)| (format!("{campaign}-{number}"), 1)).collect()
}
