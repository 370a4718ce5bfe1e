//! Configuration: TOML, and every key as an environment variable (`LAUREL_SECTION__KEY`).

use std::{net::SocketAddr, path::Path, time::Duration};

use alloy::primitives::Address;
use anyhow::{Context, bail};
use figment::{
    Figment,
    providers::{Env, Format, Serialized, Toml},
};
use laurel_chain_watcher::Finality;
use serde::Deserialize;

use crate::{environment::Environment, secret::Secret};

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) database: Database,
    #[serde(default)]
    pub(crate) api: Api,
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
}

impl Default for Api {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: "http://127.0.0.1:8080".to_owned(),
        }
    }
}

/// Health and metrics.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Ops {
    /// Where they listen.
    pub(crate) bind: SocketAddr,
}

impl Default for Ops {
    fn default() -> Self {
        Self { bind: SocketAddr::from(([127, 0, 0, 1], 9090)) }
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

/// A chain and its vault.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chain {
    /// The chain's id (EIP-155).
    pub(crate) id: u64,
    /// Nodes.
    pub(crate) rpc_urls: Vec<Secret>,
    /// The vault.
    pub(crate) vault: Address,
    /// The block that holds the vault's deployment, or an earlier one; found on the chain without.
    #[serde(default)]
    pub(crate) deploy_block: Option<u64>,
    /// When a block is final.
    #[serde(default = "finalized")]
    pub(crate) finality: Finality,
    /// Sources of the lanes' keys.
    #[serde(default)]
    pub(crate) lane_keys: Vec<String>,
    /// Source of the key of the vault's owner.
    #[serde(default)]
    pub(crate) treasury_key: Option<String>,
    /// The organisations whose managers may spend the treasury; the others are told what to call.
    #[serde(default = "treasury_orgs")]
    pub(crate) treasury_orgs: Vec<String>,
    /// The most a unit of gas may cost.
    #[serde(default = "max_fee_per_gas_gwei")]
    pub(crate) max_fee_per_gas_gwei: u64,
    /// How long after its signature the vault refuses a settlement.
    #[serde(default = "settlement_lifetime_ms")]
    pub(crate) settlement_lifetime_ms: u64,
    /// How often the head is asked for.
    #[serde(default = "poll_interval_ms")]
    pub(crate) poll_interval_ms: u64,
}

const fn finalized() -> Finality {
    Finality::Finalized
}

/// The organisation that every database begins with.
fn treasury_orgs() -> Vec<String> {
    vec!["default".to_owned()]
}

const fn max_fee_per_gas_gwei() -> u64 {
    200
}

const fn settlement_lifetime_ms() -> u64 {
    600_000
}

/// A fifth of the shortest block time in wide use.
const fn poll_interval_ms() -> u64 {
    200
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
        // Only names with a section: LAUREL_JWT_KEY and the like are keys, not settings.
        let settings = Env::prefixed("LAUREL_").filter(|name| name.as_str().contains("__")).split("__");
        let config: Self = figment.merge(settings).extract().map_err(|error| {
            if error.to_string().contains("missing field `database`") {
                anyhow::anyhow!(
                    "no database is configured: set DATABASE_URL, or database.url in the file of --config"
                )
            } else {
                anyhow::Error::new(error).context("the configuration cannot be used")
            }
        })?;
        config.check()?;
        Ok(config)
    }

    /// Refuses what could never work.
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
        for chain in &self.chains {
            if chain.rpc_urls.is_empty() {
                bail!("chain {} has no rpc_urls", chain.id);
            }
            if chain.settlement_lifetime_ms < 10_000 || chain.settlement_lifetime_ms > 3_600_000 {
                bail!(
                    "chain {}: settlement_lifetime_ms is from 10,000 to 3,600,000, which the vault allows",
                    chain.id
                );
            }
        }
        Ok(())
    }

    /// The sources of keys that sign access tokens, where there are any.
    pub(crate) fn signing_key_names(&self) -> anyhow::Result<Vec<&str>> {
        let name = |source: &str| -> anyhow::Result<()> {
            match source.strip_prefix("env:") {
                Some(name) if !name.is_empty() => Ok(()),
                _ => bail!("auth.signing_keys holds sources such as env:LAUREL_JWT_KEY, not keys"),
            }
        };
        self.auth.signing_keys.iter().try_for_each(|source| name(source)).context("auth.signing_keys")?;
        Ok(self.auth.signing_keys.iter().filter_map(|source| source.strip_prefix("env:")).collect())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn load(toml: &str) -> anyhow::Result<Config> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), toml).unwrap();
        let environment = Environment::process().with("DATABASE_URL", "postgres://nowhere");
        Config::load(Some(file.path()), &environment)
    }

    #[rstest]
    #[case("127.0.0.1:8080", true)]
    #[case("127.1.2.3:0", true)]
    #[case("[::1]:8080", true)]
    #[case("0.0.0.0:8080", false)]
    #[case("[::]:8080", false)]
    #[case("10.0.0.7:8080", false)]
    #[case("203.0.113.5:8080", false)]
    fn without_sign_in_only_loopback_is_bound(#[case] bind: &str, #[case] fine: bool) {
        let config = |mode: &str| load(&format!("[api]\nbind = \"{bind}\"\n[auth]\nmode = \"{mode}\"\n"));
        match config("none") {
            Ok(_) => assert!(fine, "{bind} is open to everybody"),
            Err(error) => {
                assert!(!fine, "{error}");
                assert!(error.to_string().contains("must be a loopback address"), "{error}");
                assert!(error.to_string().contains("set auth.mode = \"jwt\""), "{error}");
            }
        }
        assert!(config("jwt").is_ok());
    }

    #[test]
    fn callers_prove_who_they_are_unless_told_otherwise() {
        assert_eq!(load("[api]\nbind = \"0.0.0.0:8080\"\n").unwrap().auth.mode, AuthMode::Jwt);
    }
}
