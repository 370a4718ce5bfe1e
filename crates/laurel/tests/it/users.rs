//! `laurel user`: people who sign in with a password, on the running interface.

use std::{process::Stdio, time::Duration};

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    process::Command,
    time::{sleep, timeout},
};

use crate::{
    process::{Running, output},
    world::{World, free_port},
};

const JWT_KEY: &str = "1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f";
const SECRETS_KEY: &str = "2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e";

/// How long a process may take to start, or to read what it is given.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// How often one looks whether it is there.
const AGAIN: Duration = Duration::from_millis(50);

fn with_keys(mut command: Command) -> Command {
    command
        .env("LAUREL_AUTH__MODE", "jwt")
        .env("LAUREL_AUTH__SIGNING_KEYS", "[\"env:LAUREL_JWT_KEY\"]")
        .env("LAUREL_AUTH__SECRETS_KEY", "env:LAUREL_SECRETS_KEY")
        .env("LAUREL_JWT_KEY", JWT_KEY)
        .env("LAUREL_SECRETS_KEY", SECRETS_KEY);
    command
}

/// What a command says on standard output, having ended well.
async fn said(world: &World, arguments: &[&str]) -> String {
    let ended = output(world.laurel(free_port(), arguments)).await;
    assert!(ended.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).unwrap().trim().to_owned()
}

/// Signs in, and tells how that ended.
async fn sign_in(port: u16, name: &str, password: &str) -> (StatusCode, Value) {
    let body = json!({ "name": name, "password": password });
    let client = reqwest::Client::new();
    let asking = async {
        loop {
            let request = client.post(format!("http://127.0.0.1:{port}/v1/auth/token")).json(&body);
            match request.send().await {
                Ok(answer) => return answer,
                // It is not there yet.
                Err(_) => sleep(AGAIN).await,
            }
        }
    };
    let answer = timeout(READ_WITHIN, asking).await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

#[tokio::test]
async fn people_are_added_let_in_and_kept_out() {
    let world = World::start().await;
    let port = free_port();
    let log = world.folder.path().join("api.log");
    let running = Running::start(with_keys(world.laurel(port, &["api"])), &log);

    let password = said(&world, &["user", "add", "ada", "--role", "manager"]).await;
    assert_eq!(password.len(), 32, "one is made up and shown");
    let (status, tokens) = sign_in(port, "ada", &password).await;
    assert_eq!(status, StatusCode::OK, "{tokens}");
    let me = async || {
        let client = reqwest::Client::new();
        let request = client.get(format!("http://127.0.0.1:{port}/v1/auth/me"));
        request.bearer_auth(tokens["access_token"].as_str().unwrap()).send().await.unwrap().status()
    };
    assert_eq!(me().await, StatusCode::OK);

    let listed: Value = serde_json::from_str(&said(&world, &["user", "list", "--json"]).await).unwrap();
    assert_eq!((&listed[0]["name"], &listed[0]["role"]), (&json!("ada"), &json!("manager")));
    assert!(said(&world, &["user", "list"]).await.starts_with("ada\tdefault\tmanager\tpassword\tactive"));

    said(&world, &["user", "disable", "ada"]).await;
    assert_eq!(me().await, StatusCode::UNAUTHORIZED, "at once");
    assert_eq!(sign_in(port, "ada", &password).await.0, StatusCode::UNAUTHORIZED);
    said(&world, &["user", "enable", "ada"]).await;
    assert_eq!(sign_in(port, "ada", &password).await.0, StatusCode::OK);

    let next = said(&world, &["user", "password", "ada"]).await;
    assert_eq!(sign_in(port, "ada", &password).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(sign_in(port, "ada", &next).await.0, StatusCode::OK);
    said(&world, &["user", "forget-totp", "ada"]).await;

    // Whoever audits sees who did what, and no secret.
    let auditor = said(&world, &["user", "add", "tom", "--role", "auditor"]).await;
    let tokens_of_tom = sign_in(port, "tom", &auditor).await.1;
    let request = reqwest::Client::new().get(format!("http://127.0.0.1:{port}/v1/audit/log?is_read=false"));
    let request = request.bearer_auth(tokens_of_tom["access_token"].as_str().unwrap());
    let kept: Value = request.send().await.unwrap().json().await.unwrap();
    let kept = kept["items"].as_array().unwrap();
    let of = |action: &str| kept.iter().filter(|record| record["action"] == action).collect::<Vec<_>>();
    for action in
        ["laurel user disable", "laurel user enable", "laurel user password", "laurel user forget-totp"]
    {
        let [record] = of(action)[..] else { panic!("{action}: {kept:?}") };
        assert_eq!((&record["role"], &record["proven"]), (&json!("command-line"), &json!(true)));
        assert!(record["after"]["arguments"].as_array().unwrap().contains(&json!("ada")));
    }
    assert_eq!((of("laurel user add").len(), of("laurel user list").len()), (2, 0));
    let signed_in = of("sign_in");
    assert!(signed_in.iter().any(|record| record["after"] == "refused" && record["address"] == "127.0.0.1"));
    assert!(signed_in.iter().any(|record| record["after"] == "signed_in"));
    for secret in [&password, &next, &auditor] {
        assert!(
            !kept.iter().any(|record| record.to_string().contains(secret)),
            "a secret is in the audit log"
        );
    }

    let told = std::fs::read_to_string(&log).unwrap();
    for secret in [JWT_KEY, SECRETS_KEY, &password, &next, tokens["refresh_token"].as_str().unwrap()] {
        assert!(!told.contains(secret), "a secret is in the log");
    }
    assert_eq!(running.terminate().await, Some(0));
}

#[tokio::test]
async fn a_password_comes_from_standard_input() {
    let world = World::start().await;
    let mut command =
        world.laurel(free_port(), &["user", "add", "bob", "--role", "auditor", "--password-stdin"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut adding = command.spawn().unwrap();
    adding.stdin.take().unwrap().write_all(b"correct horse battery\n").await.unwrap();
    let ended = timeout(READ_WITHIN, adding.wait_with_output()).await.unwrap().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(String::from_utf8(ended.stdout).unwrap(), "bob can sign in\n");
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let world = World::start().await;
    said(&world, &["user", "add", "ada", "--role", "manager"]).await;
    for (arguments, code, says) in [
        (&["user", "add", "ada", "--role", "auditor"][..], 1, "there is somebody called ada already"),
        (&["user", "add", "bob", "--role", "manager", "--org", "nope"], 1, "there is no organisation nope"),
        (&["user", "add", "bob", "--role", "player"], 2, "a player has no password"),
        (&["user", "add", "bob", "--role", "manager", "--password-stdin"], 1, "12 characters or more"),
        (&["user", "password", "eve"], 1, "there is nobody called eve"),
        (&["user", "disable", "eve"], 1, "there is nobody called eve"),
        (&["user", "enable", "eve"], 1, "there is nobody called eve"),
        (&["user", "forget-totp", "eve"], 1, "there is nobody called eve"),
    ] {
        let ended = output(world.laurel(free_port(), arguments)).await;
        let complaint = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}: {complaint}");
        assert!(complaint.contains(says), "{arguments:?}: {complaint}");
    }
}
