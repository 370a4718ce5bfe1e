//! What comes out of a command: for people, for machines, and for a reader that has had enough.

use std::{
    io::Read,
    process::{Command, Stdio},
};

use laurel_devnet::testing::TestDatabase;
use laurel_ledger::MIGRATOR;
use rstest::rstest;
use serde_json::Value;

use crate::process::{laurel, output};

#[rstest]
#[case(&["openapi"])]
#[case(&["completions", "bash"])]
fn a_reader_that_has_had_enough_is_no_failure(#[case] arguments: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_laurel"));
    let mut running = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A pipe without a reader from the first byte on.
    drop(running.stdout.take());
    let mut said = String::new();
    running.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(0), "{said}");
    assert_eq!(said, "");
}

/// A command on a database of its own.
async fn said(database: &TestDatabase, arguments: &[&str], code: i32) -> String {
    let mut command = laurel(arguments);
    command.env("DATABASE_URL", database.url());
    command
        .env("LAUREL_AUTH__SIGNING_KEYS", "[\"env:LAUREL_JWT_KEY\"]")
        .env("LAUREL_JWT_KEY", "1f".repeat(32));
    let ended = output(command).await;
    let (out, err) = (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
    assert_eq!(ended.status.code(), Some(code), "{arguments:?}: {out}{err}");
    if code == 0 { out } else { err }
}

#[tokio::test]
async fn every_command_with_a_result_gives_it_as_json() {
    let database = TestDatabase::create(&MIGRATOR).await;
    let json = async |arguments: &[&str]| -> Value {
        serde_json::from_str(&said(&database, arguments, 0).await).unwrap()
    };
    let org = json(&["org", "add", "--json", "studio"]).await;
    assert_eq!((&org["name"], org["id"].as_i64()), (&"studio".into(), Some(2)));
    let token = json(&["--json", "token", "--role", "manager", "--subject", "me", "--org", "studio"]).await;
    assert!(token["token"].as_str().is_some_and(|token| token.starts_with("ey")), "{token}");
    assert_eq!((&token["role"], &token["org"]), (&"manager".into(), &"studio".into()));
    assert!(token["expires_at"].is_string(), "{token}");
    assert_eq!(json(&["dlq", "list", "--json"]).await["items"], Value::Array(Vec::new()));
    assert_eq!(json(&["replay", "--json", "campaign-stats"]).await["view"], "campaign-stats");
    assert!(json(&["migrate", "--json"]).await["applied"].as_u64().is_some_and(|applied| applied > 0));
    assert_eq!(json(&["audit", "books", "--json"]).await["findings"], Value::Array(Vec::new()));
    assert!(json(&["openapi", "--json"]).await["paths"].is_object());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("org.json");
    let people = said(&database, &["org", "add", "studio", &format!("--json={}", file.display())], 0).await;
    assert_eq!(people, "2\n", "people are told beside the file");
    assert_eq!(serde_json::from_slice::<Value>(&std::fs::read(file).unwrap()).unwrap()["id"], 2);
}

#[rstest]
#[case::organisation(&["org", "add", "Bad Name"], "lower-case letters, digits and hyphens")]
#[case::organisation_of_a_token(&["token", "--role", "manager", "--subject", "me", "--org", "No Pe"], "lower-case letters")]
#[case::no_subject(&["token", "--role", "manager", "--subject", ""], "use 1 to 128 bytes")]
#[case::control_characters(&["token", "--role", "manager", "--subject", "a\nb"], "without control characters")]
#[tokio::test]
async fn names_that_nobody_can_have_are_refused_before_anything_else(
    #[case] arguments: &[&str],
    #[case] says: &str,
) {
    let database = TestDatabase::create(&MIGRATOR).await;
    let said = said(&database, arguments, 2).await;
    assert!(said.contains(says), "{said}");
}

#[tokio::test]
async fn a_chain_is_configured_by_variables_alone() {
    let database = TestDatabase::create(&MIGRATOR).await;
    let mut command = laurel(&["audit", "books"]);
    command.env("DATABASE_URL", database.url());
    command.env("LAUREL_CHAINS__0__ID", "5").env("LAUREL_CHAINS__0__RPC_URLS", "[\"http://127.0.0.1:1\"]");
    command.env("LAUREL_CHAINS__0__VAULT", "0x5FbDB2315678afecb367f032d93F642f64180aa3");
    command.env("LAUREL_CHAINS__0__FINALITY", "{depth=3}").env("LAUREL_CHAINS__0__POLL_INTERVAL_MS", "0");
    let ended = output(command).await;
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("chain 5: poll_interval_ms is at least 1"), "{said}");
}
