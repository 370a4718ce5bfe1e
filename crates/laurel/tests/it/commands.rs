//! `laurel demo` and `laurel devnet` from the outside: what they leave behind is what they were asked for.

use std::{path::Path, process::Stdio, time::Duration};

use reqwest::Method;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::{
    process::{Running, laurel, output},
    rest::Rest,
    world::free_port,
};

/// How long a devnet may take to be up and filled.
const UP_WITHIN: Duration = Duration::from_secs(120);

/// How long its parts may take to end after it.
const GONE_WITHIN: Duration = Duration::from_secs(30);

/// How often something is looked at again.
const AGAIN: Duration = Duration::from_millis(20);

async fn eventually(what: &str, within: Duration, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            sleep(AGAIN).await;
        }
    };
    assert!(timeout(within, waiting).await.is_ok(), "{what}: not within {within:?}");
}

async fn settings(file: &Path) -> Value {
    eventually("the settings are written", UP_WITHIN, async || {
        file.metadata().is_ok_and(|file| file.len() > 0)
    })
    .await;
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn devnet(folder: &Path, more: &[&str]) -> (Running, std::path::PathBuf, std::path::PathBuf) {
    let (json, config) = (folder.join("devnet.json"), folder.join("laurel.toml"));
    let mut command = laurel(&["devnet"]);
    command.args(more).arg("--json").arg(&json).arg("--config-out").arg(&config);
    (Running::start(command, &folder.join("devnet.log")), json, config)
}

async fn answers(rpc_url: &str) -> bool {
    reqwest::Client::new().post(rpc_url).body("{}").send().await.is_ok()
}

#[tokio::test]
async fn a_small_demo_balances_and_writes_its_figures() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("figures.json");
    let mut demo = laurel(&["demo", "--players", "24", "--outcomes", "300", "--exit", "--json"]);
    demo.arg(&json);
    let shown = output(demo).await;
    let (table, log) = (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
    assert_eq!(shown.status.code(), Some(0), "{table}\n{log}");
    assert!(table.contains("The books balance."), "{table}");
    let figures: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let count = |name: &str| figures[name].as_u64().unwrap();
    assert_eq!(count("outcomes"), 300);
    assert_eq!(count("grants"), count("completed") + count("awaiting_wallet") + count("compensated"));
    assert!(count("completed") > 0 && count("declined") > 0 && count("transactions") > 0, "{figures}");
    assert_eq!(figures["books"]["paid"], figures["books"]["paid_on_chain"]);
}

#[tokio::test]
async fn a_demo_that_is_ended_in_the_middle_ends_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("demo.log");
    let running = Running::start(laurel(&["demo", "--players", "12", "--outcomes", "100000"]), &log);
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    eventually("outcomes arrive", UP_WITHIN, async || {
        said().lines().filter(|line| line.starts_with("outcomes ")).count() > 1
    })
    .await;
    assert_eq!(running.terminate().await, Some(0));
    let said = said();
    assert!(!said.contains("WARN") && !said.contains("ERROR"), "{said}");
}

#[tokio::test]
async fn a_seeded_devnet_serves_what_it_was_filled_with_and_ends_with_its_parts() {
    let folder = tempfile::tempdir().unwrap();
    let (running, json, config) = devnet(folder.path(), &["--seed"]);
    let settings = settings(&json).await;
    let rpc_url = settings["rpc_url"].as_str().unwrap().to_owned();
    assert!(answers(&rpc_url).await);
    let port = free_port();
    let keys = settings["environment"].as_object().unwrap();
    let mut all = laurel(&["all", "--config"]);
    all.arg(&config)
        .env("LAUREL_API__BIND", format!("127.0.0.1:{port}"))
        .env("LAUREL_OPS__BIND", "127.0.0.1:0");
    all.envs(keys.iter().map(|(name, key)| (name, key.as_str().unwrap())));
    let serving = Running::start(all, &folder.path().join("all.log"));
    let rest = Rest::new(&format!("http://127.0.0.1:{port}"));
    let campaigns = rest.must(Method::GET, "/campaigns", None).await;
    assert_eq!(campaigns["items"].as_array().unwrap().len(), 4, "{campaigns}");
    let grants = rest.must(Method::GET, "/grants", None).await;
    assert!(grants["items"][0]["campaign_id"].is_string(), "{grants}");
    assert_eq!(serving.terminate().await, Some(0));
    assert_eq!(running.terminate().await, Some(0));
    assert!(!answers(&rpc_url).await, "nothing is left running");
}

#[tokio::test]
async fn a_devnet_that_is_killed_takes_its_parts_along() {
    let folder = tempfile::tempdir().unwrap();
    let (running, json, _) = devnet(folder.path(), &[]);
    let settings = settings(&json).await;
    let rpc_url = settings["rpc_url"].as_str().unwrap().to_owned();
    assert!(answers(&rpc_url).await);
    running.kill_9().await;
    eventually("Anvil is gone", GONE_WITHIN, async || !answers(&rpc_url).await).await;
    let url = settings["database_url"].as_str().unwrap().to_owned();
    eventually("PostgreSQL is gone", GONE_WITHIN, async || {
        <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.is_err()
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_a_command_is_said_with_exit_code_2() {
    for arguments in
        [&["demo", "--outcomes", "0"][..], &["demo", "--players", "x"], &["nonsense"], &["chain", "mine"]]
    {
        let mut command = laurel(arguments);
        command.stdout(Stdio::null());
        assert_eq!(output(command).await.status.code(), Some(2), "{arguments:?}");
    }
}
