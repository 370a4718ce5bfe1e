//! Configuration: TOML, and every key as an environment variable (`LAUREL_SECTION__KEY`; a chain's by its place in the
//! list, `LAUREL_CHAINS__0__KEY`).

mod chain;
mod chains;
mod hushed;
mod limits;
mod sources;
mod transport;

use std::{
    collections::HashSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use figment::{
    Figment,
    providers::{Env, Format, Serialized, Toml},
};
use ipnet::IpNet;
use laurel_api::Rates;
use serde::Deserialize;

pub(crate) use self::{chain::Chain, limits::Limits, sources::Sources};
use crate::{environment::Environment, secret::Secret};

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) database: Database,
    #[serde(default)]
    pub(crate) api: Api,
    #[serde(default)]
    pub(crate) limits: Limits,
    #[serde(default)]
    pub(crate) ops: Ops,
    #[serde(default)]
    pub(crate) auth: Auth,
    #[serde(default)]
    pub(crate) bus: Bus,
    #[serde(default)]
    pub(crate) chains: Vec<Chain>,
    #[serde(default)]
    pub(crate) batch: Batch,
    #[serde(default)]
    pub(crate) monitor: Monitor,
    #[serde(default)]
    pub(crate) audit: Audit,
}

/// PostgreSQL.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Database {
    /// Where it is; DATABASE_URL without.
    pub(crate) url: Secret,
    /// A replica for reads.
    #[serde(default)]
    pub(crate) read_url: Option<Secret>,
    /// A direct connection for LISTEN, where `url` goes through a transaction pooler.
    #[serde(default)]
    pub(crate) listen_url: Option<Secret>,
    /// The most connections of this process to `url`.
    #[serde(default = "connections_max")]
    pub(crate) connections_max: u32,
    /// How long a stage, or a command that asks a thing or two, waits for the database before it gives a connection up that says nothing.
    #[serde(default = "answer_timeout_ms")]
    pub(crate) answer_timeout_ms: u64,
    /// Whether whoever signs refuses a database that may forget what it has acknowledged. Only for throw-away ones not.
    #[serde(default = "durable")]
    pub(crate) durable: bool,
}

impl Database {
    /// How long the database may say nothing.
    pub(crate) const fn answer_timeout(&self) -> Duration {
        Duration::from_millis(self.answer_timeout_ms)
    }
}

/// Longer than the server lets a statement run, which ends most of what takes too long.
const fn answer_timeout_ms() -> u64 {
    45_000
}

const fn durable() -> bool {
    true
}

/// Enough for every stage, lane and some requests at once; several replicas fit PostgreSQL's default of 100.
const fn connections_max() -> u32 {
    24
}

/// The REST interface.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Api {
    /// Where it listens.
    pub(crate) bind: SocketAddr,
    /// Under which address clients reach it; also the EIP-4361 domain.
    pub(crate) public_url: String,
    /// The certificate (PEM), with those that vouch for it behind it. It is read again when it changes.
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its key (PEM).
    pub(crate) tls_key: Option<PathBuf>,
    /// Whether a proxy ends TLS.
    pub(crate) behind_proxy: bool,
    /// Proxies (CIDR) whose `x-forwarded-for` is believed.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Sites whose scripts may call, such as `https://games.example`.
    pub(crate) cors_origins: Vec<String>,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: "http://127.0.0.1:8080".to_owned(),
            tls_cert: None,
            tls_key: None,
            behind_proxy: false,
            trusted_proxies: Vec::new(),
            cors_origins: Vec::new(),
        }
    }
}

/// Health and metrics, in plain and for whoever asks.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Ops {
    /// Where they listen.
    pub(crate) bind: SocketAddr,
    /// Whether only those who run this reach that address.
    pub(crate) private_network: bool,
}

impl Default for Ops {
    fn default() -> Self {
        Self { bind: SocketAddr::from(([127, 0, 0, 1], 9090)), private_network: false }
    }
}

/// Whether callers prove who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuthMode {
    /// With a token.
    #[default]
    Jwt,
    /// Not at all: only while bound to loopback.
    None,
}

/// Sign-in.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Auth {
    /// Whether callers prove who they are.
    pub(crate) mode: AuthMode,
    /// Sources of keys (`env:NAME`); the first one signs.
    pub(crate) signing_keys: Vec<String>,
    /// The source of the key (`env:NAME`) that encrypts secrets which have to be read again, such as those of authenticators. Of
    /// several, the first one encrypts, and all of them decrypt.
    pub(crate) secrets_key: Sources,
}

/// Where stages read events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Feed {
    /// From the journal itself.
    #[default]
    Postgres,
}

/// The bus.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Bus {
    /// Where stages read events.
    pub(crate) feed: Feed,
}

/// When a batch is closed.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Batch {
    /// At this size.
    pub(crate) grants_max: u32,
    /// At this age.
    pub(crate) age_max_ms: u64,
}

impl Default for Batch {
    fn default() -> Self {
        Self { grants_max: 500, age_max_ms: 500 }
    }
}

/// The most grants that fit into a transaction of 16.7 M gas (EIP-7825).
const GRANTS_MAX: u32 = 500;

/// The transaction monitor.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Monitor {
    /// How long a transaction may be in no block before it is sent again.
    pub(crate) timeout_ms: u64,
    /// How often that is checked.
    pub(crate) check_interval_ms: u64,
}

impl Default for Monitor {
    fn default() -> Self {
        Self { timeout_ms: 60_000, check_interval_ms: 1_000 }
    }
}

impl Monitor {
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    pub(crate) fn check_interval(&self) -> Duration {
        Duration::from_millis(self.check_interval_ms)
    }
}

/// The audit.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Audit {
    /// How often the ledger is compared with the chains.
    pub(crate) reconcile_interval_ms: u64,
}

impl Default for Audit {
    fn default() -> Self {
        Self { reconcile_interval_ms: 3_600_000 }
    }
}

impl Audit {
    pub(crate) fn reconcile_interval(&self) -> Duration {
        Duration::from_millis(self.reconcile_interval_ms)
    }
}

impl Config {
    /// Reads the file, if one is given, and the environment.
    pub(crate) fn load(file: Option<&Path>, environment: &Environment) -> anyhow::Result<Self> {
        let mut figment = Figment::new();
        if let Some(url) = environment.get("DATABASE_URL") {
            figment = figment.merge(Serialized::default("database.url", url));
        }
        if let Some(file) = file {
            if !file.is_file() {
                bail!("there is no configuration file {}", file.display());
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        let config: Self = chains::with_settings(figment, settings()).map_err(|error| {
            if error.to_string().contains("missing field `database`") {
                anyhow::anyhow!(
                    "no database is configured: set DATABASE_URL, or database.url in the file of --config"
                )
            } else {
                error.context("the configuration cannot be used")
            }
        })?;
        config.check()?;
        Ok(config)
    }

    /// Refuses what could never work, or only harm.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.auth.mode == AuthMode::None && !self.api.bind.ip().is_loopback() {
            bail!(
                "auth.mode = \"none\" lets everybody do everything, so api.bind must be a loopback address, not {}; \
                 set auth.mode = \"jwt\" and auth.signing_keys",
                self.api.bind,
            );
        }
        if !(1..=GRANTS_MAX).contains(&self.batch.grants_max) {
            bail!("batch.grants_max is from 1 to {GRANTS_MAX}: more would not fit a transaction (EIP-7825)");
        }
        if self.database.connections_max == 0 {
            bail!("database.connections_max is at least 1: without a connection nothing is done");
        }
        if self.database.answer_timeout_ms == 0 {
            bail!(
                "database.answer_timeout_ms is at least 1, and should be more than a statement takes, such as 45000"
            );
        }
        if self.monitor.timeout_ms == 0 {
            bail!(
                "monitor.timeout_ms is at least 1, and should be some blocks' time, such as 60000: after it an unmined \
                 transaction is sent again"
            );
        }
        if self.monitor.check_interval_ms == 0 {
            bail!(
                "monitor.check_interval_ms is at least 1, such as 1000: with 0 the lanes would do nothing else"
            );
        }
        self.limits.check()?;
        let mut ids = HashSet::new();
        for chain in &self.chains {
            if !ids.insert(chain.id) {
                bail!(
                    "chain {} has two [[chains]] entries: a chain has one vault, so put all its rpc_urls and lane_keys \
                     into one entry",
                    chain.id
                );
            }
            chain.check().with_context(|| format!("chain {}", chain.id))?;
        }
        transport::check(self)
    }

    /// How much of each class a caller may ask for.
    pub(crate) fn rates(&self) -> anyhow::Result<Rates> {
        self.limits.rates(match self.auth.mode {
            AuthMode::Jwt => Rates::STRICT,
            AuthMode::None => Rates::GENEROUS,
        })
    }

    /// The environment variables of the keys that sign access tokens, where there are any.
    pub(crate) fn signing_key_names(&self) -> anyhow::Result<Vec<&str>> {
        let names = self.auth.signing_keys.iter().map(|source| variable(source, "LAUREL_JWT_KEY"));
        names.collect::<anyhow::Result<_>>().context("auth.signing_keys")
    }

    /// The environment variables of the keys that encrypt secrets at rest, where there are any.
    pub(crate) fn secrets_key_names(&self) -> anyhow::Result<Vec<&str>> {
        let names = self.auth.secrets_key.0.iter().map(|source| variable(source, "LAUREL_SECRETS_KEY"));
        names.collect::<anyhow::Result<_>>().context("auth.secrets_key")
    }
}

/// The environment variable that a source of a key names: a key itself does not stand in a file.
fn variable<'a>(source: &'a str, such_as: &str) -> anyhow::Result<&'a str> {
    match source.strip_prefix("env:") {
        Some(name) if !name.is_empty() => Ok(name),
        _ => bail!("name where a key comes from, such as env:{such_as}, and not the key"),
    }
}

/// Settings of the environment. Only names with a section: LAUREL_JWT_KEY and the like are keys, not settings.
fn settings() -> Env {
    Env::prefixed("LAUREL_").filter(|name| name.as_str().contains("__")).split("__")
}

#[cfg(test)]
mod tests;
