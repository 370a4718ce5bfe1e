//! `laurel dlq` from the outside: what a stage cannot handle is set aside, shown, tried again and given up; everybody else goes on.

use std::{collections::BTreeMap, process::Output};

use alloy::primitives::U256;
use laurel_events::{Clock, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    process::{Running, output},
    rest::Rest,
    world::{REWARD, World, free_port},
};

/// The decision stage cannot write what these earn.
const BROKEN: [&str; 3] = ["alice", "carol", "dave"];

struct Story {
    world: World,
    running: Running,
    rest: Rest,
    campaign: String,
}

impl Story {
    async fn begin() -> Self {
        let world = World::start().await;
        let port = free_port();
        let running = world.start_all(port);
        let rest = Rest::new(&format!("http://127.0.0.1:{port}"));
        let campaign = world.campaign(&rest, "1000000").await;
        for name in BROKEN.into_iter().chain(["bob"]) {
            rest.player(name, world.chain_id).await;
        }
        Self { world, running, rest, campaign }
    }

    async fn dlq(&self, arguments: &[&str]) -> Output {
        let arguments: Vec<&str> = ["dlq"].iter().chain(arguments).copied().collect();
        output(self.world.laurel(self.rest.port(), &arguments)).await
    }

    async fn must(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = arguments.iter().chain(&["--json"]).copied().collect();
        let answer = self.dlq(&arguments).await;
        assert_eq!(answer.status.code(), Some(0), "{}", String::from_utf8_lossy(&answer.stderr));
        serde_json::from_slice(&answer.stdout).unwrap()
    }

    async fn win(&self, player: &str, outcome: &str) {
        let outcome = json!({
            "outcome_id": outcome, "game": "quiz", "player_id": player, "score": 90,
            "occurred_at": SystemClock.now(),
        });
        self.rest.must(Method::POST, "/outcomes", Some(json!({ "outcomes": [outcome] }))).await;
    }

    async fn until_paid(&self, grants: u64) {
        let paid = (grants * REWARD).to_string();
        let statistics = format!("/campaigns/{}/statistics", self.campaign);
        self.rest.until(&statistics, |statistics| statistics["paid"] == *paid).await;
    }

    /// The ids of the letters in a state, once there are so many.
    async fn letters(&self, state: &str, count: usize) -> Vec<String> {
        let of_state = |letters: &Value| -> Vec<String> {
            let all = letters["items"].as_array().unwrap().iter();
            all.filter(|letter| letter["state"] == *state).map(|letter| letter["id"].to_string()).collect()
        };
        let path = format!("/dead-letters?state={state}");
        let letters = self.rest.until(&path, |letters| of_state(letters).len() == count).await;
        of_state(&letters)
    }
}

#[tokio::test]
async fn what_cannot_be_handled_is_set_aside_and_handled_once_or_given_up() {
    let story = Story::begin().await;
    // As a program with a mistake would: an error of the data, for some players only.
    let broken = format!(
        "CREATE FUNCTION is_broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             RAISE EXCEPTION 'this reward is too good' USING ERRCODE = 'data_exception';
         END $$;
         CREATE TRIGGER is_broken BEFORE INSERT ON grants FOR EACH ROW
             WHEN (NEW.player IN ({})) EXECUTE FUNCTION is_broken()",
        story.players(&BROKEN).await
    );
    let pool = story.world.database.pool();
    sqlx::raw_sql(sqlx::AssertSqlSafe(broken)).execute(pool).await.unwrap();
    for player in BROKEN {
        story.win(player, &format!("of-{player}")).await;
    }
    story.win("bob", "of-bob").await;
    story.until_paid(1).await;
    let dead = story.letters("dead", BROKEN.len()).await;
    // What comes later about the same waits behind it.
    story.win("alice", "later").await;
    story.letters("blocked", 1).await;

    let listed = story.must(&["list"]).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 4, "{listed}");
    let shown = story.must(&["show", &dead[0]]).await;
    assert!(shown["error"].as_str().unwrap().contains("this reward is too good"), "{shown}");
    assert_eq!(
        (&shown["stage"], &shown["kind"]),
        (&json!("campaign"), &json!("GameOutcomeRecorded")),
        "{shown}"
    );
    assert!(shown["event"].is_object(), "{shown}");
    let unknown = story.dlq(&["show", "999999"]).await;
    assert_eq!(unknown.status.code(), Some(1));

    let mut of = BTreeMap::new();
    for player in BROKEN {
        let id = story.players(&[player]).await;
        for letter in &dead {
            if story.must(&["show", letter]).await.to_string().contains(id.trim_matches('\'')) {
                of.insert(player, letter.as_str());
            }
        }
    }
    assert_eq!(story.must(&["drop", of["dave"]]).await["dropped"][0].to_string(), of["dave"]);
    sqlx::raw_sql("DROP TRIGGER is_broken ON grants").execute(pool).await.unwrap();
    story.must(&["redrive", of["carol"]]).await;
    story.until_paid(2).await;
    story.must(&["redrive", "--all"]).await;
    story.until_paid(4).await;
    for again in [of["alice"], of["dave"]] {
        let refused = story.dlq(&["redrive", again]).await;
        assert_eq!(refused.status.code(), Some(1), "{}", String::from_utf8_lossy(&refused.stdout));
    }
    assert_eq!(story.must(&["list"]).await["items"], json!([]));
    for (player, grants) in [("alice", 2), ("carol", 1), ("dave", 0), ("bob", 1)] {
        assert_eq!(story.world.balance(Rest::wallet(player)).await, U256::from(grants * REWARD), "{player}");
    }
    assert_eq!(story.running.terminate().await, Some(0));
    story.world.assert_books_balance(story.rest.port()).await;
}

impl Story {
    /// The ids of players, as a list in SQL.
    async fn players(&self, names: &[&str]) -> String {
        let ids: Vec<String> =
            sqlx::query_scalar("SELECT quote_literal(id) FROM players WHERE external_id = ANY ($1)")
                .bind(names)
                .fetch_all(self.world.database.pool())
                .await
                .unwrap();
        assert_eq!(ids.len(), names.len());
        ids.join(", ")
    }
}
