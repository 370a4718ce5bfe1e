//! A database that was restored to an older moment: nothing is paid twice, nothing is lost.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use alloy::primitives::{Address, U256};
use chrono::{DateTime, Utc};
use laurel_audit::TOLD_MAX;
use laurel_devnet::{Postgres, PostgresOptions, Surroundings, postgres::Restored};
use laurel_events::{Clock, SystemClock};
use laurel_ledger::MIGRATOR;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool, postgres::PgPoolOptions};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    histories::assert_histories,
    process::{Running, output},
    rest::Rest,
    world::{REWARD, World, free_port},
};

const PLAYERS: usize = 20;
/// So many of them link their wallets only after the moment to which the database is restored.
const NEW_PLAYERS: usize = 5;
const OUTCOMES: usize = 600;
/// How many outcomes there are before that moment.
const BEFORE: usize = 250;
const PATIENCE: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_restored_to_an_older_moment_pays_nothing_twice_and_loses_nothing() {
    let mut world = World::start().await;
    let story = Story::begin();
    let (replica, rest, campaign) = story.first_part(&world).await;
    replica.kill_9().await;
    let backup = world.database.copy().await;
    story.second_part(&world, &campaign).await;
    world.database_url = backup.url().to_owned();
    let lost = std::mem::replace(&mut world.database, backup);
    drop(rest);
    story.recover(&world, &campaign, world.database.pool()).await;
    drop(lost);
}

/// A cluster of ours whose files can be copied, with an empty database of Laurel's in it.
struct Primary {
    folder: TempDir,
    /// How it was started, but for its archive.
    options: PostgresOptions,
    archive: PathBuf,
    base: PathBuf,
    cluster: Postgres,
    pool: PgPool,
}

impl Primary {
    /// Starts it, makes the database, and a base backup. `world` works with it then.
    async fn start(world: &mut World) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("archive");
        std::fs::create_dir(&archive).unwrap();
        for open in [folder.path(), &archive] {
            std::fs::set_permissions(open, std::fs::Permissions::from_mode(0o777)).unwrap();
        }
        let surroundings = Surroundings { database_url: None, ..Surroundings::from_env() };
        let options = PostgresOptions { surroundings, ..PostgresOptions::durable() };
        let archiving = PostgresOptions { archive: Some(archive.clone()), ..options.clone() };
        let cluster = Postgres::start(archiving).await.unwrap();
        cluster.create_database("laurel", None).await.unwrap();
        world.database_url = cluster.url("laurel");
        world.durable = true;
        let pool = PgPoolOptions::new().connect_lazy(&world.database_url).unwrap();
        MIGRATOR.run(&pool).await.unwrap();
        let base = folder.path().join("base");
        cluster.base_backup(&base).await.unwrap();
        Self { folder, options, archive, base, cluster, pool }
    }

    /// Kills it. Returns what was copied of it, which lasts as long as the folder.
    async fn kill_9(self) -> (PostgresOptions, Restored, TempDir) {
        self.pool.close().await;
        let pid = i32::try_from(self.cluster.process_id().unwrap()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        let restored = Restored { base: self.base, archive: self.archive, to: "before".to_owned() };
        (self.options, restored, self.folder)
    }
}

/// How long the books may stand after their database is lost.
const DRILL_MAX: Duration = Duration::from_secs(300);

/// The drill of docs/RUNBOOK.md: a base backup, the archive of the write-ahead log, everything killed, and the cluster restored
/// to a moment before the last settlements.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drill_a_cluster_is_restored_to_a_moment_before_the_last_settlements() {
    let mut world = World::start().await;
    let primary = Primary::start(&mut world).await;
    let story = Story::begin();
    let (replica, _, campaign) = story.first_part(&world).await;
    sqlx::query("SELECT pg_create_restore_point('before')").execute(&primary.pool).await.unwrap();
    replica.kill_9().await;
    story.second_part(&world, &campaign).await;
    archive_all(&primary.pool).await;
    let began = Instant::now();
    let (options, restored, folder) = primary.kill_9().await;
    let cluster = Postgres::restore(&options, &restored).await.unwrap();
    story.goes_on_with(&mut world, &campaign, &cluster, began).await;
    cluster.stop().await.unwrap();
    drop(folder);
}

/// The same with a standby that followed as a stream, and not to the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drill_a_standby_that_lacks_the_last_settlements_is_promoted() {
    let mut world = World::start().await;
    let primary = Primary::start(&mut world).await;
    let standby = primary.cluster.standby(&primary.options, &primary.base).await.unwrap();
    let story = Story::begin();
    let (replica, _, campaign) = story.first_part(&world).await;
    standby.cut_off().await.unwrap();
    replica.kill_9().await;
    story.second_part(&world, &campaign).await;
    let began = Instant::now();
    let (.., folder) = primary.kill_9().await;
    // Somebody points Laurel at it too early.
    world.database_url = standby.url("laurel");
    let refused = output(world.laurel(free_port(), &["all"])).await;
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && said.contains("the database is a standby"), "{said}");
    standby.promote().await.unwrap();
    story.goes_on_with(&mut world, &campaign, &standby, began).await;
    standby.stop().await.unwrap();
    drop(folder);
}

/// Finishes the piece of the log that is being written and waits until the archive has it.
async fn archive_all(pool: &PgPool) {
    let last: String =
        sqlx::query_scalar("SELECT pg_walfile_name(pg_switch_wal())").fetch_one(pool).await.unwrap();
    let archived = async {
        loop {
            let now: Option<String> = sqlx::query_scalar("SELECT last_archived_wal FROM pg_stat_archiver")
                .fetch_one(pool)
                .await
                .unwrap();
            if now.is_some_and(|now| now >= last) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, archived).await.expect("the log is archived");
}

/// `laurel recover`, with the configuration of `port`.
pub(crate) fn start_recovery(world: &World, port: u16) -> Running {
    Running::start(world.laurel(port, &["recover"]), &world.folder.path().join("recover.log"))
}

/// Waits until it is noted how long what was signed before may settle: from the chain's time then on.
pub(crate) async fn until_noted(pool: &PgPool) {
    let noted = async {
        while count(pool, "SELECT count(*) FROM quarantine_chains").await == 0 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, noted).await.expect("the recovery begins");
}

/// What has lanes or payouts go on otherwise is refused.
async fn assert_nothing_else_ends_it(world: &World, port: u16) {
    let chain_id = world.chain_id.to_string();
    let commands: [&[&str]; 3] =
        [&["lanes", "resume", "1"], &["unpause", "--all"], &["unpause", "--chain", &chain_id]];
    for command in commands {
        let refused = output(world.laurel(port, command)).await;
        let why = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{command:?}: {why}");
        assert!(why.contains("`laurel recover` ends it"), "{command:?}: {why}");
    }
}

/// The codes of the alerts that are raised.
pub(crate) async fn alerts(rest: &Rest) -> Vec<String> {
    let alerts = rest.must(Method::GET, "/alerts", None).await;
    let items = alerts["items"].as_array().unwrap();
    items.iter().map(|alert| alert["code"].as_str().unwrap().to_owned()).collect()
}

/// `laurel audit reconcile --full`: what it finds, by code.
pub(crate) async fn reconciled(world: &World, port: u16) -> BTreeMap<String, u64> {
    let audit = output(world.laurel(port, &["audit", "reconcile", "--full", "--json"])).await;
    let report: Value = serde_json::from_slice(&audit.stdout)
        .unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&audit.stderr)));
    let mut found = BTreeMap::new();
    for finding in report["findings"].as_array().unwrap() {
        *found.entry(finding["code"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(audit.status.code(), Some(i32::from(!found.is_empty())), "{report:#}");
    found
}

/// A table, what is done to it behind Laurel's back, and what that is called.
const CORRUPTIONS: [(&str, &str, &str); 13] = [
    (
        "postings",
        "DELETE FROM postings WHERE batch = (SELECT min(batch::text)::uuid FROM adoptions)",
        "posting_missing",
    ),
    (
        "postings",
        "UPDATE postings SET amount = amount + 1 WHERE batch = (SELECT min(batch::text)::uuid FROM adoptions)",
        "posting_differs",
    ),
    (
        "grants",
        "UPDATE grants SET amount = amount + 1
         WHERE number = (SELECT r.numbers[1] FROM runs r JOIN adoptions a ON a.first_seq = r.first_seq LIMIT 1)",
        "grant_amount_differs",
    ),
    (
        "exceptions",
        "INSERT INTO exceptions (campaign, number, state, reason, player, chain_id, amount, updated_at)
         SELECT g.campaign, g.number, 'failed', 'wallet_deadline', g.player, 31337, g.amount, g.recorded_at
         FROM grants g JOIN runs r ON g.number = r.numbers[1] JOIN adoptions a ON a.first_seq = r.first_seq
         ON CONFLICT (campaign, number) DO UPDATE SET state = 'failed'",
        "paid_grant_failed",
    ),
    (
        "batches",
        "DELETE FROM batches WHERE id = (SELECT min(batch::text)::uuid FROM adoptions)",
        "batch_missing",
    ),
    (
        "attempts",
        "DELETE FROM attempts WHERE batch IN (SELECT batch FROM adoptions)",
        "attempt_missing",
    ),
    (
        "runs",
        "UPDATE runs r SET words = set_byte(words, 19, get_byte(words, 19) # 1) FROM adoptions a
         WHERE a.first_seq = r.first_seq AND a.campaign = r.campaign",
        "word_differs",
    ),
    (
        "counters",
        "UPDATE counters SET grants = grants + 1 WHERE period = date '1970-01-01'
         AND player = (SELECT max(player::text) FROM counters WHERE grants > 0)::uuid",
        "counter_differs",
    ),
    (
        "runs",
        "INSERT INTO runs (campaign, first_seq, count, numbers, words, queued_at)
         SELECT r.campaign, r.first_seq + 1, 1, ARRAY[r.numbers[1]], substring(r.words FROM 33 FOR 32), r.queued_at
         FROM runs r WHERE r.count > 1 ORDER BY r.first_seq LIMIT 1",
        "seq_given_twice",
    ),
    (
        "suspense",
        "DELETE FROM suspense WHERE tx = (SELECT tx FROM adoptions ORDER BY tx LIMIT 1)",
        "suspense_differs",
    ),
    (
        "adoptions",
        "DELETE FROM adoptions WHERE batch = (SELECT min(batch::text)::uuid FROM adoptions)",
        "settlement_from_outside",
    ),
    (
        "segments",
        "UPDATE segments SET words_hash = sha256(words_hash) WHERE batch IN (SELECT batch FROM adoptions)",
        "segment_differs",
    ),
    ("recovered_txs", "DELETE FROM recovered_txs", "segment_differs"),
];

/// Every corruption is found and named also where the ledger was recovered.
async fn assert_corruptions_are_found(world: &World, port: u16, pool: &PgPool) {
    let mut conn = pool.acquire().await.unwrap();
    run(&mut conn, "SET session_replication_role = replica").await;
    for (table, corruption, code) in CORRUPTIONS {
        run(&mut conn, &format!("CREATE TABLE kept AS SELECT * FROM {table}")).await;
        assert!(run(&mut conn, corruption).await > 0, "{corruption}");
        let found = reconciled(world, port).await;
        assert!(found.contains_key(code), "{corruption}: {found:?}");
        run(&mut conn, &format!("DELETE FROM {table}")).await;
        run(&mut conn, &format!("INSERT INTO {table} SELECT * FROM kept")).await;
        run(&mut conn, "DROP TABLE kept").await;
    }
    assert_eq!(reconciled(world, port).await, BTreeMap::new(), "everything was put back");
}

async fn run(conn: &mut PgConnection, sql: &str) -> u64 {
    sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(conn).await.unwrap().rows_affected()
}

async fn count(pool: &PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

/// What players earn in these stories.
struct Story {
    began: DateTime<Utc>,
}

impl Story {
    fn begin() -> Self {
        Self { began: SystemClock.now() }
    }

    /// Up to the moment to which the database is restored: some grants are queued, some signed, some in blocks, some paid.
    async fn first_part(&self, world: &World) -> (Running, Rest, String) {
        let port = free_port();
        let replica = world.start_all(port);
        let rest = Rest::new(&format!("http://127.0.0.1:{port}"));
        // With counters, which are compared in the end.
        let caps = json!({ "grants_per_player": 1_000 });
        let campaign = world.campaign_with(&rest, "1000000000", caps).await;
        for player in 0..PLAYERS - NEW_PLAYERS {
            rest.player(&name(player), world.chain_id).await;
        }
        for player in PLAYERS - NEW_PLAYERS..PLAYERS {
            rest.register(&name(player)).await;
        }
        self.report(&rest, 0..BEFORE).await;
        rest.until(&format!("/campaigns/{campaign}/statistics"), |statistics| statistics["paid"] != "0")
            .await;
        (replica, rest, campaign)
    }

    /// What is lost: the others link their wallets, everything is paid, everything is killed.
    async fn second_part(&self, world: &World, campaign: &str) {
        let port = free_port();
        let replica = world.start_all(port);
        let rest = Rest::new(&format!("http://127.0.0.1:{port}"));
        for player in PLAYERS - NEW_PLAYERS..PLAYERS {
            rest.link(&name(player), world.chain_id).await;
        }
        self.report(&rest, 0..OUTCOMES).await;
        self.until_all_paid(&rest, campaign).await;
        replica.kill_9().await;
    }

    /// Everything is started again with another cluster. The first one was killed when this `began`.
    #[allow(clippy::print_stdout, reason = "the drill tells how long it took")]
    async fn goes_on_with(&self, world: &mut World, campaign: &str, cluster: &Postgres, began: Instant) {
        world.database_url = cluster.url("laurel");
        let pool = PgPoolOptions::new().connect_lazy(&world.database_url).unwrap();
        self.recover(world, campaign, &pool).await;
        pool.close().await;
        let took = began.elapsed();
        println!("every token was accounted for {:.1} s after the database was lost", took.as_secs_f64());
        assert!(took < DRILL_MAX, "{took:?}");
    }

    /// Everything is started again with the old database. `pool` leads there, too.
    async fn recover(&self, world: &World, campaign: &str, pool: &PgPool) {
        let port = free_port();
        let replica = world.start_all(port);
        let rest = Rest::new(&format!("http://127.0.0.1:{port}"));
        // Game servers that were told nothing send again at once, before anybody knows what the chain has paid.
        self.report(&rest, 0..OUTCOMES).await;
        let raised = alerts(&rest).await;
        assert!(raised.contains(&"quarantine".to_owned()), "it is recognised by itself: {raised:?}");
        assert_nothing_else_ends_it(world, port).await;
        let killed = start_recovery(world, port);
        until_noted(pool).await;
        killed.kill_9().await;
        let recovery = start_recovery(world, port);
        world.let_deadlines_pass().await;
        let recovered = timeout(PATIENCE, recovery.ended()).await.expect("it recovers in time");
        assert_eq!(recovered, Some(0), "everything is explained");
        let open = count(pool, "SELECT count(*) FROM orphans WHERE number IS NULL").await;
        assert!(open > 0, "some payments wait for players to link their wallets again");
        let found = reconciled(world, port).await;
        let still_open = count(pool, "SELECT count(*) FROM orphans WHERE number IS NULL").await;
        // Meanwhile outcomes that were sent again take some. Of each code the first ones are told, and how many more there are.
        let told = |open: i64| open.cast_unsigned().min(TOLD_MAX as u64 + 1);
        let orphaned = found.get("payment_orphaned").copied().unwrap_or_default();
        assert!((told(still_open)..=told(open)).contains(&orphaned), "{still_open} to {open}: {found:?}");
        assert_eq!(found.len(), 1, "what waits is told, and nothing else: {found:?}");
        for player in PLAYERS - NEW_PLAYERS..PLAYERS {
            rest.link(&name(player), world.chain_id).await;
        }
        self.until_all_paid(&rest, campaign).await;
        self.assert_wallets(world).await;
        world.assert_books_balance(port).await;
        assert_eq!(alerts(&rest).await, Vec::<String>::new());
        assert_eq!(count(pool, "SELECT count(*) FROM orphans WHERE number IS NULL").await, 0);
        let adopted = count(pool, "SELECT coalesce(sum(grants), 0)::bigint FROM batches WHERE adopted").await;
        assert!(adopted > 100, "{adopted} grants were adopted");
        assert_histories(pool).await;
        assert_eq!(replica.terminate().await, Some(0));
        assert_eq!(reconciled(world, port).await, BTreeMap::new());
        assert_corruptions_are_found(world, port, pool).await;
    }

    async fn report(&self, rest: &Rest, which: std::ops::Range<usize>) {
        let all: Vec<Value> = which.map(|number| self.outcome(number)).collect();
        for some in all.chunks(100) {
            let answer = rest.must(Method::POST, "/outcomes", Some(json!({ "outcomes": some }))).await;
            let taken = answer["accepted"].as_u64().unwrap() + answer["duplicates"].as_u64().unwrap();
            assert_eq!(taken, some.len() as u64, "{answer}");
        }
    }

    fn outcome(&self, number: usize) -> Value {
        json!({
            "outcome_id": format!("match-{number}"), "game": "quiz", "player_id": name(number % PLAYERS),
            "score": score(number), "occurred_at": self.began,
        })
    }

    async fn until_all_paid(&self, rest: &Rest, campaign: &str) {
        let granted: u64 = earned().values().sum();
        let all = U256::from(granted * REWARD).to_string();
        let statistics = rest
            .until(&format!("/campaigns/{campaign}/statistics"), |statistics| statistics["paid"] == *all)
            .await;
        assert_eq!(statistics["reserved"], "0");
    }

    /// Every wallet has exactly what its player earned: the chain is asked, not our books.
    async fn assert_wallets(&self, world: &World) {
        for (player, grants) in earned() {
            assert_eq!(world.balance(wallet(player)).await, U256::from(grants * REWARD), "player {player}");
        }
    }
}

fn name(player: usize) -> String {
    format!("player-{player}")
}

fn wallet(player: usize) -> Address {
    Rest::wallet(&name(player))
}

const fn score(number: usize) -> usize {
    number * 7 % 101
}

/// How many grants each player earns.
fn earned() -> BTreeMap<usize, u64> {
    let mut earned = BTreeMap::new();
    for number in (0..OUTCOMES).filter(|number| score(*number) >= 50) {
        *earned.entry(number % PLAYERS).or_default() += 1;
    }
    earned
}
