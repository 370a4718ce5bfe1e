//! `laurel devnet`, and the parts that the demo stands on.

use std::{fmt::Write, time::Duration};

use alloy::primitives::Address;
use anyhow::Context;
use laurel_chain::{ChainNode, Deployed, HttpNode, LocalKey, deploy_contracts};
use laurel_devnet::{
    Anvil, AnvilOptions, Mining, Postgres, PostgresOptions,
    dev_keys::{DEV_KEYS, DevKey},
};
use laurel_ledger::MIGRATOR;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::demo::fill;
use crate::{
    cli::Devnet,
    config::{self, Config},
    connect,
    environment::Environment,
    secret::Secret,
};

/// The environment variables that hold the keys of the vault's owner and of two lanes.
const OWNER: &str = "LAUREL_TREASURY";
const LANES: [&str; 2] = ["LAUREL_LANE_0", "LAUREL_LANE_1"];

/// How often a block is made: as often as on a fast chain.
const BLOCK_TIME: Duration = Duration::from_secs(1);

/// Gas per block: room for what two lanes can send in a second.
const BLOCK_GAS: u64 = 1_000_000_000;

/// Past states that Anvil keeps: enough for a reorganisation, not so many that its memory grows without end.
const STATES_KEPT: u32 = 256;

/// The database that everything is in.
const DATABASE: &str = "laurel_devnet";

/// PostgreSQL and Anvil, migrated and deployed, and the configuration that goes with them.
pub(crate) struct Parts {
    postgres: Postgres,
    anvil: Anvil,
    pub(crate) config: Config,
    pub(crate) rpc_url: String,
    pub(crate) chain_id: u64,
    pub(crate) vault: Address,
    pub(crate) token: Address,
    block: u64,
    database_url: String,
}

impl Parts {
    /// Starts the parts, migrates, and deploys; `None` if `stop` comes first. What was started ends then.
    pub(crate) async fn start_unless(stop: &CancellationToken) -> anyhow::Result<Option<Self>> {
        tokio::select! {
            started = Self::start() => started.map(Some),
            () = stop.cancelled() => Ok(None),
        }
    }

    async fn start() -> anyhow::Result<Self> {
        let (postgres, anvil) = tokio::try_join!(
            Postgres::start(PostgresOptions::durable()),
            Anvil::start(AnvilOptions {
                gas_limit: Some(BLOCK_GAS),
                states_kept: Some(STATES_KEPT),
                ..AnvilOptions::new(Mining::Every(BLOCK_TIME))
            }),
        )?;
        postgres.create_database(DATABASE, None).await?;
        let database_url = postgres.url(DATABASE);
        let pool = connect::database(&Secret::new(&database_url), 1).await?;
        MIGRATOR.run(&pool).await.context("migrate the new database")?;
        pool.close().await;
        let rpc_url = anvil.rpc_url().to_owned();
        let node = HttpNode::new(&rpc_url)?;
        let lanes = lane_keys().iter().map(|(_, key)| key.address.parse()).collect::<Result<Vec<_>, _>>()?;
        let owner = LocalKey::from_hex(owner_key().1.secret).context("a development key is a key")?;
        let deployed = deploy_contracts(&node, &owner, &lanes).await?;
        let config = config_of(&database_url, &rpc_url, &deployed);
        Ok(Self {
            postgres,
            anvil,
            config,
            rpc_url,
            chain_id: node.chain_id().await?,
            vault: deployed.vault,
            token: deployed.token,
            block: deployed.block,
            database_url,
        })
    }

    /// The process's environment with the development keys.
    pub(crate) fn environment(&self) -> Environment {
        keys().into_iter().fold(Environment::process(), |all, (name, key)| all.with(name, key.secret))
    }

    /// Waits until a part ends by itself, and says which, with the end of its log.
    pub(crate) async fn died(&self) -> anyhow::Error {
        let died = tokio::select! {
            died = self.postgres.ended_by_itself() => died,
            died = self.anvil.ended_by_itself() => died,
        };
        died.into()
    }

    /// Ends the parts.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.anvil.stop().await?;
        self.postgres.stop().await?;
        Ok(())
    }

    /// The configuration as a file that `laurel all --config` takes.
    fn toml(&self) -> String {
        let chain = &self.config.chains[0];
        let mut toml = String::new();
        let _ = write!(
            toml,
            "# Made by laurel devnet. The keys are Anvil's well-known ones: export them first.\n\
             [database]\nurl = \"{}\"\n\n[auth]\nmode = \"none\"\n\n[[chains]]\nid = {}\nrpc_urls = [\"{}\"]\n\
             vault = \"{}\"\ndeploy_block = {}\nlane_keys = [{}]\ntreasury_key = \"env:{}\"\n",
            self.database_url,
            self.chain_id,
            self.rpc_url,
            self.vault,
            self.block,
            chain.lane_keys.iter().map(|key| format!("\"{key}\"")).collect::<Vec<_>>().join(", "),
            OWNER,
        );
        toml
    }
}

/// The vault's owner: Anvil's first account.
fn owner_key() -> (&'static str, &'static DevKey) {
    (OWNER, &DEV_KEYS[0])
}

/// The lanes: the accounts after it.
fn lane_keys() -> Vec<(&'static str, &'static DevKey)> {
    LANES.into_iter().zip(&DEV_KEYS[1..]).collect()
}

fn keys() -> Vec<(&'static str, &'static DevKey)> {
    [owner_key()].into_iter().chain(lane_keys()).collect()
}

fn config_of(database_url: &str, rpc_url: &str, deployed: &Deployed) -> Config {
    Config {
        database: config::Database {
            url: Secret::new(database_url),
            read_url: None,
            listen_url: None,
            connections_max: 24,
            answer_timeout_ms: 45_000,
            // What we are given may be anything, and all of it is thrown away.
            durable: false,
        },
        // Any free port: several of them may run at once.
        api: config::Api { bind: ([127, 0, 0, 1], 0).into(), ..config::Api::default() },
        limits: config::Limits::default(),
        ops: config::Ops { bind: ([127, 0, 0, 1], 0).into(), private_network: false },
        auth: config::Auth { mode: config::AuthMode::None, ..config::Auth::default() },
        bus: config::Bus::default(),
        chains: vec![config::Chain {
            deploy_block: Some(deployed.block),
            lane_keys: LANES.iter().map(|name| format!("env:{name}")).collect(),
            treasury_key: Some(format!("env:{OWNER}")),
            guardian_key: Some(format!("env:{OWNER}")),
            poll_interval_ms: 50,
            ..config::Chain::new(deployed.chain_id, rpc_url, deployed.vault)
        }],
        batch: config::Batch::default(),
        monitor: config::Monitor::default(),
        audit: config::Audit::default(),
    }
}

/// What `--json` tells.
#[derive(Serialize)]
struct Settings<'a> {
    database_url: &'a str,
    rpc_url: &'a str,
    chain_id: u64,
    vault: Address,
    token: Address,
    block: u64,
    environment: std::collections::BTreeMap<&'a str, &'a str>,
}

impl Settings<'_> {
    fn for_people(&self) -> String {
        let Self { database_url, rpc_url, chain_id, vault, token, block, environment } = self;
        let exports: String =
            environment.iter().map(|(name, key)| format!("\nexport {name}={key}")).collect();
        format!(
            "database_url  {database_url}\nrpc_url       {rpc_url}\nchain_id      {chain_id}\nvault         {vault}\n\
             token         {token}\nblock         {block}\n{exports}\n"
        )
    }
}

/// Keeps the parts up until `stop`, or until one of them ends by itself.
pub(crate) async fn run(devnet: &Devnet, stop: &CancellationToken) -> anyhow::Result<()> {
    let Some(parts) = Parts::start_unless(stop).await? else { return Ok(()) };
    let ended = tokio::select! {
        ended = keep(devnet, &parts, stop) => ended,
        died = parts.died() => Err(died),
    };
    let stopped = parts.stop().await;
    ended.and(stopped)
}

/// Fills the parts if that is wanted, tells where they are, and waits.
async fn keep(devnet: &Devnet, parts: &Parts, stop: &CancellationToken) -> anyhow::Result<()> {
    if devnet.seed {
        super::note("Filling in campaigns, players and outcomes …");
        fill(parts, stop).await?;
        if stop.is_cancelled() {
            return Ok(());
        }
    }
    if let Some(file) = &devnet.config_out {
        std::fs::write(file, parts.toml()).with_context(|| format!("write {}", file.display()))?;
    }
    let settings = Settings {
        database_url: &parts.database_url,
        rpc_url: &parts.rpc_url,
        chain_id: parts.chain_id,
        vault: parts.vault,
        token: parts.token,
        block: parts.block,
        environment: keys().into_iter().map(|(name, key)| (name, key.secret)).collect(),
    };
    super::answer(devnet.json.as_ref(), &settings, || settings.for_people())?;
    if let Some(file) = &devnet.config_out {
        super::note(&format!("With these exported: laurel all --config {}", file.display()));
    }
    super::note("It stays up until Ctrl-C.");
    stop.cancelled().await;
    Ok(())
}
