//! Payouts are stopped, by an operator or because somebody else signs with an operator's key, and go on again.

use alloy::primitives::{Address, U256};
use chrono::TimeDelta;
use laurel_chain::{GrantWord, RewardVault, Settlement, SettlementSegment};
use laurel_devnet::{
    dev_keys::DEV_KEYS,
    testing::{Line, LineState},
};
use laurel_events::{Amount, CampaignId, Clock, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    process::{Running, output},
    rest::Rest,
    world::{REWARD, World, free_port},
};

/// The development account whose key is stolen.
const THIEF: usize = 5;

/// A running Laurel that has every key, with a funded campaign and a player who has a wallet.
struct Story {
    world: World,
    port: u16,
    serving: Running,
    rest: Rest,
    campaign: String,
    wallet: Address,
}

impl Story {
    async fn begin() -> Self {
        let world = World::start().await;
        let port = free_port();
        let config = world.config(port);
        let toml = std::fs::read_to_string(&config).unwrap();
        let keys = "guardian_key = \"env:LAUREL_TREASURY\"\ntreasury_key";
        std::fs::write(&config, toml.replace("treasury_key", keys)).unwrap();
        let serving = world.start_all(port);
        let rest = Rest::new(&format!("http://127.0.0.1:{port}"));
        let campaign = world.campaign(&rest, "100000").await;
        let wallet = rest.player("player", world.chain_id).await;
        Self { world, port, serving, rest, campaign, wallet }
    }

    async fn command(&self, arguments: &[&str]) -> (Option<i32>, Value, String) {
        let mut command = self.world.laurel(self.port, arguments);
        command.arg("--json");
        let answer = output(command).await;
        let printed = serde_json::from_slice(&answer.stdout).unwrap_or(Value::Null);
        (answer.status.code(), printed, String::from_utf8(answer.stderr).unwrap())
    }

    async fn must(&self, arguments: &[&str]) -> Value {
        let (code, printed, said) = self.command(arguments).await;
        assert_eq!(code, Some(0), "{said}");
        printed
    }

    async fn win(&self, outcome: &str) {
        let at = SystemClock.now();
        let outcome = json!({
            "outcome_id": outcome, "game": "quiz", "player_id": "player", "score": 90, "occurred_at": at,
        });
        self.rest.must(Method::POST, "/outcomes", Some(json!({ "outcomes": [outcome] }))).await;
    }

    async fn until_paid(&self, times: u64) {
        let paid = U256::from(times * REWARD).to_string();
        let statistics = format!("/campaigns/{}/statistics", self.campaign);
        self.rest.until(&statistics, |statistics| statistics["paid"] == *paid).await;
    }

    async fn until_grants(&self, state: &str, count: usize) {
        let path = format!("/grants?state={state}");
        self.rest
            .until(&path, |grants| grants["items"].as_array().is_some_and(|all| all.len() == count))
            .await;
    }

    async fn alerts(&self) -> Vec<(String, String)> {
        let listed = self.must(&["alerts", "list"]).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let alerts = listed["items"].as_array().unwrap().iter();
        alerts.map(|alert| (text(&alert["code"]), text(&alert["about"]))).collect()
    }
}

#[tokio::test]
async fn an_operator_stops_everything_and_has_it_go_on() {
    let story = Story::begin().await;
    story.win("first").await;
    story.until_paid(1).await;
    let stopped = story.must(&["pause", "--all", "--reason", "an audit"]).await;
    assert_eq!((&stopped["about"], &stopped["payouts"]), (&json!("all"), &json!("is stopped")));
    assert!(story.world.vault_is_paused().await, "{stopped}");
    assert_eq!(story.alerts().await, [("payouts_stopped".to_owned(), "all".to_owned())]);
    story.win("second").await;
    story.until_grants("queued", 1).await;
    let again = story.must(&["pause", "--all"]).await;
    assert_eq!(again["payouts"], "was stopped before");
    assert_eq!(story.world.balance(story.wallet).await, U256::from(REWARD));

    let went_on = story.must(&["unpause", "--all"]).await;
    assert_eq!(went_on["vaults"][0]["state"], "pays again", "{went_on}");
    story.until_paid(2).await;
    assert_eq!(story.alerts().await, []);

    // A campaign alone is stopped here, the vault is not.
    story.must(&["pause", "--campaign", &story.campaign]).await;
    story.win("third").await;
    story.until_grants("queued", 1).await;
    assert!(!story.world.vault_is_paused().await);
    story.must(&["unpause", "--campaign", &story.campaign]).await;
    story.until_paid(3).await;
    let (code, _, said) = story.command(&["pause"]).await;
    assert_eq!(code, Some(2), "{said}");
    for nothing in [["--chain", "99999"], ["--campaign", "1"]] {
        let (code, _, said) = story.command(&["pause", nothing[0], nothing[1]]).await;
        assert!(code == Some(1) && said.contains("there is no"), "{said}");
    }

    // What was stopped for another reason stays so, and so does its vault.
    let chain = story.world.chain_id.to_string();
    story.must(&["pause", "--chain", &chain]).await;
    story.must(&["pause", "--all"]).await;
    let left = story.must(&["unpause", "--all"]).await;
    let state = left["vaults"][0]["state"].as_str().unwrap();
    assert!(state.starts_with("left as it is"), "{left}");
    assert!(story.world.vault_is_paused().await);
    story.must(&["unpause", "--chain", &chain]).await;
    assert!(!story.world.vault_is_paused().await);
    assert_eq!(story.serving.terminate().await, Some(0));
    story.world.assert_books_balance(story.port).await;
}

#[tokio::test]
async fn without_the_database_the_vault_is_paused_all_the_same() {
    let story = Story::begin().await;
    let mut command = story.world.laurel(story.port, &["pause", "--all", "--json"]);
    command.env("LAUREL_DATABASE__URL", "postgres://127.0.0.1:9/nobody");
    let answer = output(command).await;
    let printed: Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!(
        (answer.status.code(), &printed["vaults"][0]["state"]),
        (Some(1), &json!("paused")),
        "{printed}"
    );
    assert!(
        printed["payouts"].as_str().unwrap().starts_with("is not stopped: the database cannot be reached")
    );
    assert!(story.world.vault_is_paused().await);
    assert_eq!(story.serving.terminate().await, Some(0));
}

/// As one whose disk is full, or that was not promoted.
#[tokio::test]
async fn with_a_database_that_takes_nothing_the_vault_is_paused_all_the_same() {
    let story = Story::begin().await;
    let read_only = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$";
    sqlx::query(read_only).execute(story.world.database.pool()).await.unwrap();
    let (code, printed, said) = story.command(&["pause", "--all"]).await;
    assert_eq!((code, &printed["vaults"][0]["state"]), (Some(1), &json!("paused")), "{printed} {said}");
    let payouts = printed["payouts"].as_str().unwrap();
    assert!(payouts.starts_with("is not stopped") && payouts.contains("read-only"), "{payouts}");
    assert!(story.world.vault_is_paused().await);
    assert_eq!(story.serving.terminate().await, Some(0));
}

/// As one that says nothing any more after it has noted the stop.
#[tokio::test]
async fn with_a_database_that_only_notes_the_stop_the_vault_is_paused_all_the_same() {
    let story = Story::begin().await;
    let Story { world, serving, port, .. } = story;
    assert_eq!(serving.terminate().await, Some(0));
    let mut tx = world.database.pool().begin().await.unwrap();
    sqlx::query("LOCK TABLE vaults IN ACCESS EXCLUSIVE MODE").execute(&mut *tx).await.unwrap();
    let answer = output(world.laurel(port, &["pause", "--all", "--json"])).await;
    let printed: Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!(
        (answer.status.code(), &printed["payouts"], &printed["vaults"][0]["state"]),
        (Some(0), &json!("is stopped"), &json!("paused")),
        "{printed}"
    );
    tx.rollback().await.unwrap();
    assert!(world.vault_is_paused().await);
}

/// Two endpoints are a quorum by default, so that one of them is none. Also without the database.
#[tokio::test]
async fn without_a_quorum_the_vault_is_paused_all_the_same() {
    let story = Story::begin().await;
    let port = free_port();
    let config = story.world.config(port);
    let toml = std::fs::read_to_string(&config).unwrap();
    let alone = format!("rpc_urls = [\"{}\"]", story.world.rpc_url);
    assert!(toml.contains(&alone), "{toml}");
    let two = format!("rpc_urls = [\"http://127.0.0.1:9\", \"{}\"]", story.world.rpc_url);
    let toml = toml.replace(&alone, &format!("guardian_key = \"env:LAUREL_TREASURY\"\n{two}"));
    std::fs::write(&config, toml).unwrap();
    for database in [None, Some("postgres://127.0.0.1:9/nobody")] {
        let mut command = story.world.laurel(port, &["pause", "--all", "--json"]);
        command.envs(database.map(|url| ("LAUREL_DATABASE__URL", url)));
        let answer = output(command).await;
        let printed: Value = serde_json::from_slice(&answer.stdout).unwrap();
        let state = printed["vaults"][0]["state"].as_str().unwrap();
        let said = String::from_utf8_lossy(&answer.stderr);
        assert!(["paused", "is paused already"].contains(&state), "{printed} {said}");
        assert!(story.world.vault_is_paused().await);
    }
    assert_eq!(story.serving.terminate().await, Some(0));
}

/// The guardian of a running Laurel, of whose two endpoints one is cut off.
#[tokio::test]
async fn without_a_quorum_the_guardian_pauses_the_vault_all_the_same() {
    let world = World::start().await;
    let line = Line::to(&world.rpc_url).await.unwrap();
    let port = free_port();
    let config = world.config(port);
    let toml = std::fs::read_to_string(&config).unwrap();
    let two = format!("guardian_key = \"env:LAUREL_TREASURY\"\nrpc_urls = [\"{}\", ", line.url());
    std::fs::write(&config, toml.replace("rpc_urls = [", &two)).unwrap();
    let serving = world.start_all(port);
    let rest = Rest::new(&format!("http://127.0.0.1:{port}"));
    world.campaign(&rest, "100000").await;
    line.set(LineState::Cut);
    // Whoever stops payouts has no guardian's key.
    let stopped = output(world.laurel(free_port(), &["pause", "--all"])).await;
    assert_eq!(stopped.status.code(), Some(0), "{}", String::from_utf8_lossy(&stopped.stderr));
    world.until_paused().await;
    assert_eq!(serving.terminate().await, Some(0));
}

/// A key is stolen and pays a stranger from the vault: the vault is paused before the block is final, the money is in
/// suspense, and everything says so until operators have dealt with it.
#[tokio::test]
async fn a_settlement_that_nobody_here_signed_pauses_the_vault() {
    let story = Story::begin().await;
    let thief = DEV_KEYS[THIEF].address.parse().unwrap();
    story.world.owner_calls(RewardVault::setOperatorCall { operator: thief, allowed: true }).await;
    let campaign: CampaignId = story.campaign.parse().unwrap();
    let word = GrantWord::new(Address::repeat_byte(9), Amount::from(500_u64)).unwrap().encode();
    let segment = SettlementSegment { campaign, first_seq: 700, words: vec![word] };
    let deadline = SystemClock.now() + TimeDelta::minutes(10);
    let deadline = u64::try_from(deadline.timestamp()).unwrap();
    let stolen = Settlement { deadline, segments: vec![segment] }.calldata();
    story.world.sends(THIEF, story.world.vault, stolen.to_vec()).await;
    story.world.until_paused().await;
    // A reconciliation may tell of it as well, at any time until operators have dealt with it.
    let codes = |alerts: &Value| -> Vec<String> {
        let codes = alerts["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|alert| alert["code"].as_str().unwrap().to_owned());
        codes.filter(|code| code != "settlement_from_outside").collect()
    };
    let alerts = story.rest.until("/alerts", |alerts| codes(alerts).len() == 3).await;
    assert_eq!(codes(&alerts), ["payment_without_hold", "payouts_stopped", "unknown_settlement"]);
    let (code, report, _) = story.command(&["audit", "books"]).await;
    assert_eq!((code, &report["suspense"]), (Some(1), &json!("500")), "{report}");

    // The key is taken away, the operators say that they know, and payouts go on.
    story.world.owner_calls(RewardVault::setOperatorCall { operator: thief, allowed: false }).await;
    for (code, about) in story.alerts().await {
        if code != "payouts_stopped" {
            story.must(&["alerts", "acknowledge", &code, &about]).await;
        }
    }
    story.must(&["unpause", "--chain", &story.world.chain_id.to_string()]).await;
    assert!(!story.world.vault_is_paused().await);
    assert_eq!(story.alerts().await, []);
    let resume = format!("/campaigns/{}/resume", story.campaign);
    story.rest.must(Method::POST, &resume, None).await;
    story.win("again").await;
    story.until_paid(1).await;
    assert_eq!(story.world.balance(story.wallet).await, U256::from(REWARD));
    assert_eq!(story.serving.terminate().await, Some(0));
}
