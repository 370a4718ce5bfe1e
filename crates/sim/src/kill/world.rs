//! PostgreSQL with fsync, Anvil with the contracts, and the crew on both.

use std::{
    fmt::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use alloy::{
    primitives::{Address, U256},
    sol_types::SolCall,
};
use anyhow::{Context, ensure};
use laurel_chain::{Call, ChainNode, Erc20, HttpNode};
use laurel_devnet::{Anvil, AnvilOptions, Mining, Postgres, PostgresOptions, dev_keys::DEV_KEYS};
use laurel_events::{Clock, SystemClock};
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tokio::{process::Command, time::timeout};

use super::{
    crew::{Crew, Post, REPLICAS, ROLES},
    door::Door,
};

/// The environment variables of the keys, by the development account that they hold.
const KEYS: [&str; 3] = ["LAUREL_TREASURY", "LAUREL_LANE_0", "LAUREL_LANE_1"];

/// Room for a dozen full batches in a block: what is tested is no fee market.
const BLOCK_GAS: u64 = 200_000_000;

/// Ten processes with these, with as many again for reads, fit the server.
const CONNECTIONS_MAX: u32 = 12;

/// How long a command may take that does one thing and ends.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(120);

/// The database.
const DATABASE: &str = "laurel";

/// Everything that the test stands on.
#[derive(Debug)]
pub(super) struct World {
    pub(super) postgres: Postgres,
    pub(super) anvil: Anvil,
    pub(super) crew: Crew,
    pub(super) door: Door,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) chain_id: u64,
    pub(super) token: Address,
    pub(super) block_time: Duration,
    laurel: PathBuf,
    folder: Option<TempDir>,
}

impl World {
    /// Starts the parts, deploys the contracts and starts the crew.
    pub(super) async fn start(laurel: &Path, block_time: Duration) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("laurel-kill-").tempdir()?;
        let mut options = PostgresOptions::durable();
        // It is going to be killed, so it has to be ours.
        options.surroundings.database_url = None;
        let postgres = Postgres::start(options).await?;
        postgres.create_database(DATABASE, None).await?;
        sync_quickly(&postgres).await?;
        let options =
            AnvilOptions { gas_limit: Some(BLOCK_GAS), ..AnvilOptions::new(Mining::Every(block_time)) };
        let anvil = Anvil::start(options).await?;
        let deployed = deploy(laurel, anvil.rpc_url(), folder.path()).await?;
        let address = |name: &str| -> anyhow::Result<Address> {
            Ok(deployed[name].as_str().with_context(|| format!("{name}: {deployed}"))?.parse()?)
        };
        let chain_id = deployed["chain_id"].as_u64().context("no chain id")?;
        let ports = (0..REPLICAS).map(|_| free_port()).collect::<anyhow::Result<Vec<u16>>>()?;
        let (url, rpc) = (postgres.url(DATABASE), anvil.rpc_url().to_owned());
        let config = configuration(&url, &rpc, chain_id, address("vault")?, ports[0])?;
        std::fs::write(folder.path().join("laurel.toml"), config)?;
        let door = Door::new(ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect())?;
        let world = Self {
            crew: Crew::new(posts(laurel, folder.path(), &ports)),
            postgres,
            anvil,
            door,
            clock: Arc::new(SystemClock),
            chain_id,
            token: address("token")?,
            block_time,
            laurel: laurel.to_owned(),
            folder: Some(folder),
        };
        world.finds_nothing(&["migrate"]).await?;
        world.crew.start(&Crew::everybody())?;
        Ok(world)
    }

    /// Runs a command of `laurel` to its end, which has to be a good one.
    pub(super) async fn finds_nothing(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new(&self.laurel);
        command.args(arguments).arg("--config").arg(self.folder().join("laurel.toml"));
        command.env_remove("DATABASE_URL").envs(keys()).stdin(Stdio::null()).kill_on_drop(true);
        let ended = timeout(COMMAND_TIMEOUT, command.output()).await;
        let ended = ended.with_context(|| format!("laurel {}: not in time", arguments.join(" ")))??;
        ensure!(
            ended.status.success(),
            "laurel {}: {}\n{}{}",
            arguments.join(" "),
            ended.status,
            String::from_utf8_lossy(&ended.stdout),
            String::from_utf8_lossy(&ended.stderr)
        );
        Ok(())
    }

    /// What a wallet has of the token: the chain is asked, not the ledger.
    pub(super) async fn balance(&self, node: &HttpNode, wallet: Address) -> anyhow::Result<U256> {
        let data = Erc20::balanceOfCall { owner: wallet }.abi_encode().into();
        let answer = node.call(Call { from: wallet, to: self.token, data, gas: None }).await?;
        Ok(Erc20::balanceOfCall::abi_decode_returns(&answer)?)
    }

    /// A session of our own; whoever kills the server ends it.
    pub(super) async fn session(&self) -> anyhow::Result<PgConnection> {
        Ok(PgConnection::connect(&self.database_url()).await?)
    }

    pub(super) fn database_url(&self) -> String {
        self.postgres.url(DATABASE)
    }

    pub(super) fn rpc_url(&self) -> &str {
        self.anvil.rpc_url()
    }

    fn folder(&self) -> &Path {
        self.folder.as_ref().expect("given away only by keep").path()
    }

    /// Leaves the logs where they are, with the database's beside them.
    pub(super) fn keep(&mut self) -> anyhow::Result<PathBuf> {
        let folder = self.folder.take().context("it is kept once")?.keep();
        for (part, from) in [("postgres", self.postgres.folder()), ("anvil", Some(self.anvil.folder()))] {
            if let Some(from) = from {
                std::fs::copy(from.join("log"), folder.join(format!("{part}.log")))?;
            }
        }
        Ok(folder)
    }

    /// Ends everything.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.crew.kill_9(&Crew::everybody()).await?;
        self.anvil.stop().await?;
        Ok(self.postgres.stop().await?)
    }
}

/// After a kill, PostgreSQL opens and syncs every file of the cluster one by one before it recovers, which takes seconds on a
/// busy disk and promises no more than one call to the file system.
async fn sync_quickly(postgres: &Postgres) -> anyhow::Result<()> {
    let mut session = PgConnection::connect(&postgres.url(DATABASE)).await?;
    sqlx::query("ALTER SYSTEM SET recovery_init_sync_method = 'syncfs'").execute(&mut session).await?;
    Ok(session.close().await?)
}

async fn deploy(laurel: &Path, rpc_url: &str, folder: &Path) -> anyhow::Result<Value> {
    let json = folder.join("deployed.json");
    let mut command = Command::new(laurel);
    command.args(["deploy", "--rpc-url", rpc_url, "--lane", DEV_KEYS[1].address, DEV_KEYS[2].address]);
    command.arg("--json").arg(&json).env("LAUREL_DEPLOYER_KEY", DEV_KEYS[0].secret);
    let ended = timeout(COMMAND_TIMEOUT, command.output()).await.context("laurel deploy: not in time")??;
    ensure!(ended.status.success(), "laurel deploy: {}", String::from_utf8_lossy(&ended.stderr));
    Ok(serde_json::from_slice(&std::fs::read(json)?)?)
}

fn configuration(database: &str, rpc: &str, chain: u64, vault: Address, port: u16) -> anyhow::Result<String> {
    let mut toml = String::new();
    write!(
        toml,
        "[database]\nurl = \"{database}\"\nconnections_max = {CONNECTIONS_MAX}\n[api]\n\
         public_url = \"http://127.0.0.1:{port}\"\n[ops]\nbind = \"127.0.0.1:0\"\n[auth]\nmode = \"none\"\n\
         [[chains]]\nid = {chain}\nrpc_urls = [\"{rpc}\"]\nvault = \"{vault}\"\npoll_interval_ms = 50\n\
         lane_keys = [\"env:LAUREL_LANE_0\", \"env:LAUREL_LANE_1\"]\ntreasury_key = \"env:LAUREL_TREASURY\"\n",
    )?;
    Ok(toml)
}

fn posts(laurel: &Path, folder: &Path, ports: &[u16]) -> Vec<Post> {
    let mut posts = Vec::with_capacity(ROLES.len() * REPLICAS);
    for role in ROLES {
        for (replica, port) in ports.iter().enumerate() {
            let name = format!("{role}-{replica}");
            let mut environment: Vec<_> = keys().collect();
            environment.push(("LAUREL_API__BIND".to_owned(), format!("127.0.0.1:{port}")));
            let config = folder.join("laurel.toml").display().to_string();
            posts.push(Post {
                program: laurel.to_owned(),
                arguments: vec![role.to_owned(), "--config".to_owned(), config],
                environment,
                log: folder.join(format!("{name}.log")),
                name,
            });
        }
    }
    posts
}

fn keys() -> impl Iterator<Item = (String, String)> {
    KEYS.into_iter().zip(&DEV_KEYS).map(|(name, key)| (name.to_owned(), key.secret.to_owned()))
}

/// A port that nobody has at the moment.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
