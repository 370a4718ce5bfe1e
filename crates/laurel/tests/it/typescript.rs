//! The TypeScript client, made from the committed document, runs a campaign on a real server.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{process::Command, time::timeout};

use crate::{
    process::{Running, laurel, output},
    rest::Rest,
    world::{World, free_port},
};

/// How long installing what it stands on, making and running it may take.
const STEP_WITHIN: Duration = Duration::from_secs(180);

const JWT_KEY: &str = "2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e";

/// The client's sources and the document, as they lie in the repository, without what was made of them there.
fn copy(to: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let client = to.join("clients/typescript");
    fs::create_dir_all(client.join("src")).unwrap();
    fs::create_dir_all(to.join("docs")).unwrap();
    for file in ["package.json", "package-lock.json", "tsconfig.json", "src/client.ts", "src/campaign.ts"] {
        fs::copy(root.join("clients/typescript").join(file), client.join(file)).unwrap();
    }
    fs::copy(root.join("docs/openapi.json"), to.join("docs/openapi.json")).unwrap();
    client
}

async fn npm(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = Command::new("npm");
    command.args(arguments).current_dir(folder).envs(variables.iter().copied()).kill_on_drop(true);
    let done = timeout(STEP_WITHIN, command.output()).await.expect("it ends in time").unwrap();
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "npm {arguments:?}: {told}{said}");
    said
}

#[tokio::test]
async fn the_client_compiles_and_runs_a_campaign() {
    let world = World::start().await;
    let open = free_port();
    let seeding = world.start_all(open);
    Rest::new(&format!("http://127.0.0.1:{open}")).player("player-00000", world.chain_id).await;
    assert_eq!(seeding.terminate().await, Some(0));
    let client = copy(world.folder.path());
    npm(&client, &["ci", "--ignore-scripts", "--no-audit", "--no-fund"], &[]).await;
    npm(&client, &["run", "--silent", "build"], &[]).await;

    let port = free_port();
    let mut command = world.laurel(port, &["all"]);
    let auth = [
        ("LAUREL_AUTH__MODE", "jwt"),
        ("LAUREL_AUTH__SIGNING_KEYS", "[\"env:LAUREL_JWT_KEY\"]"),
        ("LAUREL_JWT_KEY", JWT_KEY),
    ];
    command.envs(auth);
    let running = Running::start(command, &world.folder.path().join("client.log"));
    let api = format!("http://127.0.0.1:{port}");
    Rest::new(&api).call(reqwest::Method::GET, "/openapi.json", None).await;
    let token = async |role: &str| {
        let mut command = laurel(&["token", "--role", role, "--subject", "client", "--config"]);
        command.arg(world.config(port)).envs(auth).env_remove("DATABASE_URL");
        let minted = output(command).await;
        assert!(minted.status.success(), "{}", String::from_utf8_lossy(&minted.stderr));
        String::from_utf8(minted.stdout).unwrap().trim().to_owned()
    };
    let variables = [
        ("LAUREL_API", api.as_str()),
        ("LAUREL_MANAGER", &token("manager").await),
        ("LAUREL_GAME_SERVER", &token("game-server").await),
        ("LAUREL_TOKEN", &world.token.to_checksum(None)),
        ("LAUREL_CHAIN", &world.chain_id.to_string()),
        ("LAUREL_PLAYER", "player-00000"),
    ];
    let said = npm(&client, &["run", "--silent", "campaign"], &variables).await;
    let lived: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&lived["ended"], &lived["closing"]), (&"ended".into(), &"closing".into()), "{lived}");
    assert_eq!(
        (&lived["books"]["paid"], &lived["books"]["available"]),
        (&"900".into(), &"99100".into()),
        "{lived}"
    );
    assert_eq!(running.terminate().await, Some(0));
    world.assert_books_balance(port).await;
}
