//! A world in which everything is settled, made once; every story gets a copy of its database.

use std::{
    collections::BTreeSet,
    process::Output,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use chrono::SubsecRound;
use laurel_events::{Clock, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::{process::Command, sync::Mutex};

use crate::{
    process::{laurel, output},
    rest::Rest,
    world::{REWARD, World, free_port},
};

const PLAYERS: usize = 6;
/// One player has no wallet in time.
const OUTCOMES: usize = 140;

/// What the stories share, as long as one of them runs: the last one takes it down.
static SETTLED: Mutex<Weak<Settled>> = Mutex::const_new(Weak::new());

/// Numbers the copies.
static COPIES: AtomicU32 = AtomicU32::new(0);

pub(super) struct Settled {
    pub(super) world: World,
    pub(super) campaign: String,
}

/// A story's own ledger, of the chain that all share.
pub(super) struct Ledger {
    pub(super) url: String,
    /// The node that its commands ask.
    pub(super) rpc_url: String,
    /// Triggers are off in it.
    pub(super) conn: PgConnection,
    /// Dropped before what it was copied from.
    _copy: Copy,
    pub(super) settled: Arc<Settled>,
}

/// A database that goes with its story.
struct Copy {
    admin: PgConnectOptions,
    name: String,
}

impl Drop for Copy {
    /// On a thread and a runtime of its own: the story's may be ending.
    fn drop(&mut self) {
        let (admin, drop) = (self.admin.clone(), format!("DROP DATABASE {} WITH (FORCE)", self.name));
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut admin = PgConnection::connect_with(&admin).await.unwrap();
                sqlx::query(sqlx::AssertSqlSafe(drop)).execute(&mut admin).await.unwrap();
            });
        });
        assert!(dropping.join().is_ok(), "a copy is left");
    }
}

async fn shared() -> Arc<Settled> {
    let mut shared = SETTLED.lock().await;
    if let Some(settled) = shared.upgrade() {
        return settled;
    }
    let settled = Arc::new(settle().await);
    *shared = Arc::downgrade(&settled);
    settled
}

async fn settle() -> Settled {
    let world = World::start().await;
    let port = free_port();
    let serving = world.start_all(port);
    let rest = Rest::new(&format!("http://127.0.0.1:{port}"));
    let caps = json!({ "grants_per_player": 1_000, "grants_per_player_per_day": 1_000 });
    let campaign = world.campaign_with(&rest, "1000000", caps).await;
    for number in 1..PLAYERS {
        rest.player(&format!("player-{number}"), world.chain_id).await;
    }
    rest.register("player-0").await;
    let at = SystemClock.now().trunc_subsecs(3);
    for part in (0..OUTCOMES).collect::<Vec<_>>().chunks(20) {
        let outcomes: Vec<Value> = part
            .iter()
            .map(|number| {
                json!({ "outcome_id": format!("match-{number}"), "game": "quiz", "score": 60, "occurred_at": at,
                        "player_id": format!("player-{}", if *number == 70 { 0 } else { 1 + number % (PLAYERS - 1) }) })
            })
            .collect();
        rest.must(Method::POST, "/outcomes", Some(json!({ "outcomes": outcomes }))).await;
    }
    let lost = json!({ "outcome_id": "match-lost", "game": "quiz", "score": 40, "occurred_at": at, "player_id": "player-1" });
    rest.must(Method::POST, "/outcomes", Some(json!({ "outcomes": [lost] }))).await;
    let statistics = format!("/campaigns/{campaign}/statistics");
    rest.until(&statistics, |statistics| statistics["declined"]["rule_not_met"] == 1).await;
    let paid = ((OUTCOMES - 1) as u64 * REWARD).to_string();
    rest.until(&statistics, |statistics| statistics["paid"] == *paid).await;
    // The deadline of the player without a wallet passes: a hold is voided.
    for late in [
        "UPDATE exceptions SET wallet_until = wallet_until - interval '2 hours' WHERE state = 'awaiting_wallet'",
        "UPDATE timers SET due_at = due_at - interval '2 hours'",
    ] {
        sqlx::query(late).execute(world.database.pool()).await.unwrap();
    }
    rest.until(&statistics, |statistics| statistics["reserved"] == "0").await;
    rest.until(&format!("/campaigns/{campaign}/grants?state=compensated"), |grants| {
        grants["items"].as_array().is_some_and(|items| items.len() == 1)
    })
    .await;
    assert_eq!(serving.terminate().await, Some(0));
    // A database is copied only while nobody is in it.
    world.database.pool().close().await;
    Settled { world, campaign }
}

impl Ledger {
    /// A copy of the settled world's database.
    pub(super) async fn copy() -> Self {
        let settled = shared().await;
        let options: PgConnectOptions = settled.world.database.url().parse().unwrap();
        let template = options.get_database().unwrap().to_owned();
        let name = format!("{template}_copy_{}", COPIES.fetch_add(1, Ordering::Relaxed));
        let admin_options = options.clone().database("postgres");
        let mut admin = PgConnection::connect_with(&admin_options).await.unwrap();
        let copy = format!("CREATE DATABASE {name} TEMPLATE {template}");
        sqlx::query(sqlx::AssertSqlSafe(copy)).execute(&mut admin).await.unwrap();
        let mut conn = PgConnection::connect_with(&options.database(&name)).await.unwrap();
        sqlx::query("SET session_replication_role = replica").execute(&mut conn).await.unwrap();
        let url = settled.world.database.url().replace(&template, &name);
        let rpc_url = settled.world.rpc_url.clone();
        Self { url, rpc_url, conn, _copy: Copy { admin: admin_options, name }, settled }
    }

    /// Changes something behind Laurel's back; `$1` is the campaign. Returns what the statement returns, as text.
    pub(super) async fn corrupt(&mut self, statement: &'static str) -> String {
        let campaign: i64 = self.settled.campaign.parse().unwrap();
        let changed: Option<String> =
            sqlx::query_scalar(statement).bind(campaign).fetch_one(&mut self.conn).await.unwrap();
        changed.expect("something was changed")
    }

    /// A command on this ledger.
    pub(super) fn laurel(&self, arguments: &[&str]) -> Command {
        let world = &self.settled.world;
        let mut command = laurel(arguments);
        command
            .env("LAUREL_DATABASE__URL", &self.url)
            .env("LAUREL_AUTH__MODE", "none")
            .env("LAUREL_OPS__BIND", "127.0.0.1:0")
            .env("LAUREL_CHAINS__0__ID", world.chain_id.to_string())
            .env("LAUREL_CHAINS__0__RPC_URLS", format!("[\"{}\"]", self.rpc_url))
            .env("LAUREL_CHAINS__0__VAULT", world.vault.to_string())
            .env("LAUREL_CHAINS__0__POLL_INTERVAL_MS", "50");
        command
    }

    /// `laurel audit reconcile --json`, with its exit code.
    pub(super) async fn reconcile(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let mut command = self.laurel(&["audit", "reconcile", "--json"]);
        command.args(arguments);
        report_of(command).await
    }

    /// Exactly this is found, by code and what it is about.
    pub(super) async fn assert_found(&self, wanted: &[(&str, &str)]) -> Value {
        self.assert_found_by(&[], wanted).await
    }

    /// The same, with these arguments.
    pub(super) async fn assert_found_by(&self, arguments: &[&str], wanted: &[(&str, &str)]) -> Value {
        let (code, report) = self.reconcile(arguments).await;
        let findings = report["findings"].as_array().unwrap();
        let text = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
        let found: BTreeSet<(String, String)> =
            findings.iter().map(|finding| (text(finding, "code"), text(finding, "about"))).collect();
        let wanted: BTreeSet<(String, String)> =
            wanted.iter().map(|(code, about)| ((*code).to_owned(), (*about).to_owned())).collect();
        assert_eq!(found, wanted, "{report:#}");
        assert_eq!(code, Some(i32::from(!wanted.is_empty())));
        report
    }
}

/// A command's report, with its exit code.
pub(super) async fn report_of(command: Command) -> (Option<i32>, Value) {
    let Output { status, stdout, stderr } = output(command).await;
    let report = serde_json::from_slice(&stdout)
        .unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&stderr)));
    (status.code(), report)
}
