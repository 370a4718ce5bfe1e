//! A database that says nothing any more, one that is cut off, is full, or has no connection left, stop nothing for good.

use alloy::primitives::{Address, U256};
use laurel_devnet::testing::{Line, LineState};
use laurel_events::{Clock, SystemClock};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    process::{Running, output},
    rest::Rest,
    world::{REWARD, World, free_port},
};

async fn readiness(ops: u16) -> StatusCode {
    reqwest::get(format!("http://127.0.0.1:{ops}/readyz")).await.unwrap().status()
}

async fn until_ready(ops: u16, wanted: StatusCode) {
    let waiting = async {
        while readiness(ops).await != wanted {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), waiting).await.expect("readiness follows");
}

#[tokio::test]
async fn what_was_accepted_is_paid_after_the_database_hung_and_was_cut_off() {
    let world = World::start().await;
    let line = Line::to_database(world.database.url()).await.unwrap();
    let (port, ops) = (free_port(), free_port());
    let mut command = world.laurel(port, &["all"]);
    command.env("LAUREL_OPS__BIND", format!("127.0.0.1:{ops}"));
    command.env("LAUREL_DATABASE__URL", line.url()).env("LAUREL_DATABASE__ANSWER_TIMEOUT_MS", "3000");
    let running = Running::start(command, &world.folder.path().join("hung.log"));
    let rest = Rest::new(&format!("http://127.0.0.1:{port}"));
    let campaign = world.campaign(&rest, "1000000").await;
    let wallet = rest.player("alice", world.chain_id).await;
    for (round, trouble) in (1..).zip([LineState::Hung, LineState::Cut]) {
        let win = json!({
            "outcome_id": format!("match-{round}"), "game": "quiz", "player_id": "alice", "score": 50,
            "occurred_at": SystemClock.now(),
        });
        rest.must(Method::POST, "/outcomes", Some(json!({ "outcomes": [win] }))).await;
        // In the middle of whatever the stages are doing with it.
        line.set(trouble);
        until_ready(ops, StatusCode::SERVICE_UNAVAILABLE).await;
        line.set(LineState::Good);
        until_ready(ops, StatusCode::OK).await;
        let paid = (round * REWARD).to_string();
        let statistics = format!("/campaigns/{campaign}/statistics");
        rest.until(&statistics, |statistics| statistics["paid"] == *paid).await;
    }
    assert_eq!(world.balance(wallet).await, U256::from(2 * REWARD));
    assert_eq!(running.terminate().await, Some(0));
    world.assert_books_balance(port).await;
}

/// A running Laurel with a funded campaign and a player, and what it takes to win.
struct Story {
    world: World,
    running: Running,
    rest: Rest,
    campaign: String,
    wallet: Address,
}

impl Story {
    async fn begin(connections: u32) -> Self {
        let world = World::start().await;
        let port = free_port();
        let mut command = world.laurel(port, &["all"]);
        command.env("LAUREL_DATABASE__CONNECTIONS_MAX", connections.to_string());
        let running = Running::start(command, &world.folder.path().join("full.log"));
        let rest = Rest::new(&format!("http://127.0.0.1:{port}"));
        let campaign = world.campaign(&rest, "1000000").await;
        let wallet = rest.player("alice", world.chain_id).await;
        Self { world, running, rest, campaign, wallet }
    }

    fn win(number: usize) -> Value {
        json!({ "outcomes": [{
            "outcome_id": format!("match-{number}"), "game": "quiz", "player_id": "alice", "score": 50,
            "occurred_at": SystemClock.now(),
        }] })
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.world.folder.path().join("full.log")).unwrap_or_default()
    }

    async fn sql(&self, statement: &'static str) {
        sqlx::raw_sql(statement).execute(self.world.database.pool()).await.unwrap();
    }

    /// That many wins are paid, once each, and nothing was set aside or halted on the way.
    async fn ends_with(self, wins: u64) {
        let paid = (wins * REWARD).to_string();
        let statistics = format!("/campaigns/{}/statistics", self.campaign);
        self.rest.until(&statistics, |statistics| statistics["paid"] == *paid).await;
        assert_eq!(self.world.balance(self.wallet).await, U256::from(wins * REWARD));
        let set_aside: i64 = sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM dead_letters) + (SELECT count(*) FROM alerts WHERE code = 'stage_halted')",
        )
        .fetch_one(self.world.database.pool())
        .await
        .unwrap();
        assert_eq!(set_aside, 0);
        let port = self.rest.port();
        assert_eq!(self.running.terminate().await, Some(0));
        self.world.assert_books_balance(port).await;
    }
}

/// The server says so of every row that needs room. What was accepted before waits, and nothing more is accepted.
#[tokio::test]
async fn what_was_accepted_is_paid_after_the_disk_was_full() {
    let story = Story::begin(16).await;
    let full = "CREATE FUNCTION is_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
                END $$;
                CREATE TRIGGER is_full BEFORE INSERT ON journal FOR EACH ROW
                    WHEN (NEW.kind <> 'GameOutcomeRecorded') EXECUTE FUNCTION is_full();
                CREATE TRIGGER is_full_up BEFORE INSERT ON journal EXECUTE FUNCTION is_full();
                ALTER TABLE journal DISABLE TRIGGER is_full_up";
    story.sql(full).await;
    story.rest.must(Method::POST, "/outcomes", Some(Story::win(1))).await;
    let met = async {
        while !story.log().contains("No space left on device") {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), met).await.expect("a stage meets it");
    story.sql("ALTER TABLE journal ENABLE TRIGGER is_full_up").await;
    let (status, problem) = story.rest.ask(Method::POST, "/outcomes", Some(&Story::win(2))).await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable")),
        "{problem}"
    );
    story.sql("DROP TRIGGER is_full_up ON journal").await;
    story.sql("DROP TRIGGER is_full ON journal").await;
    story.rest.must(Method::POST, "/outcomes", Some(Story::win(2))).await;
    story.ends_with(2).await;
}

/// Whoever asks is told to come again, within the time that a connection is waited for.
#[tokio::test]
async fn what_was_accepted_is_paid_after_every_connection_was_taken() {
    const CONNECTIONS: u32 = 6;
    let story = Story::begin(CONNECTIONS).await;
    let mut locked = story.world.database.pool().begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE outcomes IN ACCESS EXCLUSIVE MODE").execute(&mut *locked).await.unwrap();
    let mut asked = JoinSet::new();
    for number in 0..3 * CONNECTIONS as usize {
        let rest = story.rest.clone();
        asked.spawn(async move { rest.ask(Method::POST, "/outcomes", Some(&Story::win(number))).await.0 });
    }
    let answers = asked.join_all().await;
    assert!(answers.iter().all(|status| *status == StatusCode::SERVICE_UNAVAILABLE), "{answers:?}");
    locked.rollback().await.unwrap();
    for number in 0..3 * CONNECTIONS as usize {
        story.rest.must(Method::POST, "/outcomes", Some(Story::win(number))).await;
    }
    story.ends_with(3 * u64::from(CONNECTIONS)).await;
}

/// Its answer is lost on the way: the server has long done what it was asked for.
#[tokio::test]
async fn a_command_to_which_the_database_says_nothing_any_more_is_given_up() {
    let world = World::start().await;
    let line = Line::to_database(world.database.url()).await.unwrap();
    let mut tx = world.database.pool().begin().await.unwrap();
    sqlx::query("LOCK TABLE alerts IN ACCESS EXCLUSIVE MODE").execute(&mut *tx).await.unwrap();
    let mut command = world.laurel(free_port(), &["alerts", "list"]);
    command.env("LAUREL_DATABASE__URL", line.url()).env("LAUREL_DATABASE__ANSWER_TIMEOUT_MS", "5000");
    let listing = tokio::spawn(output(command));
    let asked = async {
        let waits =
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'alerts'::regclass)";
        while !sqlx::query_scalar::<_, bool>(waits).fetch_one(world.database.pool()).await.unwrap() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), asked).await.expect("it asks");
    line.set(LineState::Hung);
    tx.rollback().await.unwrap();
    let listed = tokio::time::timeout(std::time::Duration::from_secs(30), listing).await;
    let listed = listed.expect("it ends in time").unwrap();
    let said = String::from_utf8_lossy(&listed.stderr);
    assert!(listed.status.code() == Some(1) && said.contains("given up after 5s"), "{said}");
}
