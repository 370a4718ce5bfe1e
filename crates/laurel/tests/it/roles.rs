//! Roles as processes of their own, what they say of their health, and who may call them.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{
    process::{Running, output},
    rest::Rest,
    world::{REWARD, World, free_port},
};

/// How long a process may take to notice what has changed around it.
const NOTICED_WITHIN: Duration = Duration::from_secs(60);

/// How often it is asked.
const AGAIN: Duration = Duration::from_millis(50);

/// Any key of 32 bytes.
const JWT_KEY: &str = "1f1e1d1c1b1a19181716151413121110f1e1d1c1b1a191817161514131211101";

async fn readiness(ops: u16, wanted: StatusCode, says: &str) -> Value {
    let mut last = String::new();
    let asking = async {
        loop {
            if let Ok(answer) = reqwest::get(format!("http://127.0.0.1:{ops}/readyz")).await {
                let status = answer.status();
                last = format!("{status}: {}", answer.text().await.unwrap_or_default());
                if status == wanted && last.contains(says) {
                    return serde_json::from_str(last.split_once(": ").unwrap().1).unwrap();
                }
            }
            sleep(AGAIN).await;
        }
    };
    let answer = timeout(NOTICED_WITHIN, asking).await;
    answer.unwrap_or_else(|_| panic!("not {wanted} with {says:?} but {last}"))
}

#[tokio::test]
async fn five_processes_do_what_one_does() {
    let world = World::start().await;
    let (port, ops) = (free_port(), free_port());
    let running: Vec<Running> = ["api", "campaign", "grant-saga", "chain-watcher", "views"]
        .iter()
        .map(|role| {
            let mut command = world.laurel(port, &[role]);
            if *role == "views" {
                command.env("LAUREL_OPS__BIND", format!("127.0.0.1:{ops}"));
            }
            Running::start(command, &world.folder.path().join(format!("{role}.log")))
        })
        .collect();
    let rest = Rest::new(&format!("http://127.0.0.1:{port}"));
    let campaign = world.campaign(&rest, "1000000").await;
    let wallet = rest.player("alice", world.chain_id).await;
    let now = laurel_events::Clock::now(&laurel_events::SystemClock);
    let outcomes: Vec<Value> = (0..20)
        .map(|number| {
            json!({ "outcome_id": format!("m{number}"), "game": "quiz", "player_id": "alice", "score": 50 + number,
                    "occurred_at": now })
        })
        .collect();
    rest.must(Method::POST, "/outcomes", Some(json!({ "outcomes": outcomes }))).await;
    let paid = (20 * REWARD).to_string();
    rest.until(&format!("/campaigns/{campaign}/statistics"), |statistics| statistics["paid"] == *paid).await;
    let grants =
        rest.until("/players/alice/grants", |grants| grants["items"][0]["state"] == "completed").await;
    assert_eq!(grants["items"].as_array().unwrap().len(), 20);
    assert_eq!(world.balance(wallet).await, alloy::primitives::U256::from(20 * REWARD));
    let transactions = rest.must(Method::GET, "/transactions", None).await;
    for transaction in transactions["items"].as_array().unwrap() {
        let number = |name: &str| transaction[name].to_string().trim_matches('"').parse::<u128>().unwrap();
        assert_eq!(number("fee"), number("gas_used") * number("effective_gas_price"), "{transaction}");
        assert!(number("fee") > 0, "{transaction}");
    }
    let metrics =
        async || reqwest::get(format!("http://127.0.0.1:{ops}/metrics")).await.unwrap().text().await.unwrap();
    let shown = async {
        loop {
            let shown = metrics().await;
            if shown.contains(r#"laurel_grants{state="completed"} 20"#) {
                return shown;
            }
            sleep(AGAIN).await;
        }
    };
    let shown = timeout(NOTICED_WITHIN, shown).await.expect("the gauges show what is complete");
    assert!(shown.contains(r#"laurel_grants{state="submitted"} 0"#), "{shown}");
    assert!(shown.contains("laurel_outcome_to_completed_seconds_count 20"), "{shown}");
    assert!(
        shown.contains(r#"laurel_outcome_to_completed_seconds_bucket{le="0.125"} 0"#),
        "no chain is that fast"
    );
    for process in running {
        assert_eq!(process.terminate().await, Some(0));
    }
    world.assert_books_balance(port).await;
}

#[tokio::test]
async fn readiness_tells_the_truth() {
    let mut world = World::start().await;
    let (port, ops) = (free_port(), free_port());
    let mut command = world.laurel(port, &["chain-watcher"]);
    command.env("LAUREL_OPS__BIND", format!("127.0.0.1:{ops}"));
    let running = Running::start(command, &world.folder.path().join("watcher.log"));
    let ready = readiness(ops, StatusCode::OK, "").await;
    assert_eq!(ready["status"], "ok");
    assert_eq!((&ready["database"], &ready["chains"][0]["state"]), (&json!("ok"), &json!("ok")));
    let down = output(world.laurel(port, &["migrate", "--down", "1"])).await;
    assert!(down.status.success());
    readiness(ops, StatusCode::SERVICE_UNAVAILABLE, "migrations are missing").await;
    assert!(output(world.laurel(port, &["migrate"])).await.status.success());
    readiness(ops, StatusCode::OK, "").await;
    // A chain in trouble is told, but no reason to send callers elsewhere: everywhere else it is the same.
    sqlx::query("UPDATE chains SET halted = 'two truths'").execute(world.database.pool()).await.unwrap();
    let halted = readiness(ops, StatusCode::OK, "halted: two truths").await;
    assert_eq!(halted["status"], "degraded");
    sqlx::query("UPDATE chains SET halted = NULL").execute(world.database.pool()).await.unwrap();
    world.anvil.take().unwrap().stop().await.unwrap();
    let degraded = readiness(ops, StatusCode::OK, "no endpoint answers").await;
    assert_eq!((&degraded["database"], &degraded["status"]), (&json!("ok"), &json!("degraded")));
    let endpoint = degraded["chains"][0]["endpoints"][0].as_str().unwrap();
    assert!(
        endpoint.starts_with("127.0.0.1 is ") && endpoint.ends_with("it cannot be reached"),
        "{endpoint}"
    );
    let health = reqwest::get(format!("http://127.0.0.1:{ops}/healthz")).await.unwrap();
    assert_eq!(health.status(), StatusCode::OK, "it lives, and waits for the chain");
    let metrics =
        reqwest::get(format!("http://127.0.0.1:{ops}/metrics")).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("# HELP laurel_"), "{metrics}");
    let breaker = "laurel_endpoint_breaker_state{chain_id=\"31337\",endpoint=\"0\",host=\"127.0.0.1\"} ";
    assert!(metrics.contains(breaker) && !metrics.contains(&format!("{breaker}0")), "{metrics}");
    assert_eq!(running.terminate().await, Some(0), "it ends all the same");
}

#[tokio::test]
async fn tokens_open_what_their_role_may_do() {
    let world = World::start().await;
    let port = free_port();
    let jwt = |mut command: tokio::process::Command| {
        command.env("LAUREL_AUTH__MODE", "jwt").env("LAUREL_AUTH__SIGNING_KEYS", "[\"env:LAUREL_JWT_KEY\"]");
        command.env("LAUREL_JWT_KEY", JWT_KEY);
        command
    };
    let running = Running::start(jwt(world.laurel(port, &["api"])), &world.folder.path().join("api.log"));
    let token = async |role: &str| {
        let minted =
            output(jwt(world.laurel(port, &["token", "--role", role, "--subject", "somebody"]))).await;
        assert!(minted.status.success(), "{}", String::from_utf8_lossy(&minted.stderr));
        String::from_utf8(minted.stdout).unwrap().trim().to_owned()
    };
    let url = format!("http://127.0.0.1:{port}/v1/campaigns");
    let status = async |token: Option<String>| {
        let client = reqwest::Client::new();
        let asking = async {
            loop {
                let mut request = client.get(&url);
                if let Some(token) = &token {
                    request = request.bearer_auth(token);
                }
                match request.send().await {
                    Ok(answer) => return answer.status(),
                    Err(_) => sleep(AGAIN).await,
                }
            }
        };
        timeout(NOTICED_WITHIN, asking).await.unwrap()
    };
    assert_eq!(status(None).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(Some("nonsense".to_owned())).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(Some(token("manager").await)).await, StatusCode::OK);
    assert_eq!(status(Some(token("player").await)).await, StatusCode::FORBIDDEN);
    let log = std::fs::read_to_string(world.folder.path().join("api.log")).unwrap();
    assert!(!log.contains(JWT_KEY), "the key is in the log");
    assert_eq!(running.terminate().await, Some(0));
}
