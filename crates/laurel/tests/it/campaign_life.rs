//! The campaign's life in docs/CAMPAIGN.md, and what an auditor asks about it in docs/AUDIT.md, block by block, on a real server.

use std::{fs, path::Path, time::Duration};

use reqwest::Method;
use tokio::{process::Command, time::timeout};

use crate::{
    process::{Running, laurel},
    rest::Rest,
    world::{World, free_port},
};

/// How long the whole of it may take: blocks are made every few hundred milliseconds, and a grant takes some of them.
const LIFE_WITHIN: Duration = Duration::from_secs(180);

const JWT_KEY: &str = "1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f";

/// What stands in a document between ```sh and ```.
fn blocks(document: &str) -> String {
    let mut script = String::from("set -euo pipefail; PATH=\"$programs:$PATH\"\n");
    let mut inside = false;
    for line in document.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside => {
                script.push_str(line);
                script.push('\n');
            }
            _ => {}
        }
    }
    script + "echo 'to the end' >&2\n"
}

#[tokio::test]
async fn a_campaigns_life_is_lived_as_it_is_written() {
    let world = World::start().await;
    // Without sign-in, only for a player with a wallet: whoever has one needs no other.
    let open = free_port();
    let seeding = world.start_all(open);
    let rest = Rest::new(&format!("http://127.0.0.1:{open}"));
    rest.player("player-00000", world.chain_id).await;
    assert_eq!(seeding.terminate().await, Some(0));

    let port = free_port();
    let mut command = world.laurel(port, &["all"]);
    command
        .env("LAUREL_AUTH__MODE", "jwt")
        .env("LAUREL_AUTH__SIGNING_KEYS", "[\"env:LAUREL_JWT_KEY\"]")
        .env("LAUREL_JWT_KEY", JWT_KEY);
    let running = Running::start(command, &world.folder.path().join("life.log"));
    Rest::new(&format!("http://127.0.0.1:{port}")).call(Method::GET, "/openapi.json", None).await;

    let documents = ["CAMPAIGN.md", "AUDIT.md"].map(|name| {
        let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
        fs::read_to_string(document).unwrap()
    });
    let script = blocks(&documents.concat());
    assert!(script.matches("jq -").count() > 60, "the documents have lost their checks");
    let questions =
        documents[1].lines().filter(|line| line.starts_with("## ") && line.ends_with('?')).count();
    assert_eq!(questions, 10);
    let program = laurel(&[]);
    let programs = Path::new(program.as_std().get_program()).parent().unwrap();
    let mut bash = Command::new("bash");
    bash.arg("-xc")
        .arg(script)
        .current_dir(world.folder.path())
        .env("programs", programs)
        .env("api", format!("http://127.0.0.1:{port}/v1"))
        .env("config", world.config(port))
        .env("chain", world.chain_id.to_string())
        .env("rpc", world.rpc_url.as_str())
        .env("token", world.token.to_checksum(None))
        .env_remove("DATABASE_URL")
        .kill_on_drop(true);
    let lived = timeout(LIFE_WITHIN, bash.output()).await.expect("it ends in time").unwrap();
    let told = String::from_utf8_lossy(&lived.stderr);
    let last: Vec<&str> = told.lines().rev().take(12).collect();
    assert!(lived.status.success(), "{}: {last:#?}", lived.status);
    assert!(told.ends_with("\nto the end\n"), "{last:#?}");
    assert_eq!(running.terminate().await, Some(0));
}
