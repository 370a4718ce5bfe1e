//! A `laurel api` of its own, on a database that is filled.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// How long it may take to come up.
const UP_WITHIN: Duration = Duration::from_secs(30);

/// Who comes in.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    /// Everybody.
    Open,
    /// Whoever has a token that this key signed.
    Jwt(&'static str),
}

/// A running `laurel api`, and other roles beside it; they end with this.
pub(crate) struct Server {
    /// The interface first.
    children: Vec<Child>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where it answers, such as `http://127.0.0.1:40123/v1`.
    pub(crate) api: String,
    _folder: TempDir,
}

impl Server {
    pub(crate) async fn start(
        laurel: &Path,
        database_url: &str,
        access: Access,
        roles: &[&str],
    ) -> anyhow::Result<Self> {
        let folder = TempDir::new().context("making a folder")?;
        // Free for the moment in which it is taken again.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr())?;
        let config = folder.path().join("laurel.toml");
        let auth = match access {
            Access::Open => "mode = \"none\"",
            Access::Jwt(_) => "mode = \"jwt\"\nsigning_keys = [\"env:BENCH_KEY\"]",
        };
        let toml = format!(
            "[database]\nurl = \"{database_url}\"\n[api]\nbind = \"{address}\"\n\
             public_url = \"http://{address}\"\n[limits]\nconnections_per_address_max = 16384\n[ops]\nbind = \"127.0.0.1:0\"\n[auth]\n{auth}\n"
        );
        std::fs::write(&config, toml).context("writing its configuration")?;
        let mut children = Vec::new();
        for role in roles {
            let log = std::fs::File::create(folder.path().join(role)).context("making its log")?;
            let mut command = Command::new(laurel);
            command.args([role, "--config"]).arg(&config).env_remove("DATABASE_URL");
            if let Access::Jwt(key) = access {
                command.env("BENCH_KEY", key);
            }
            command.stdout(Stdio::null()).stderr(log).kill_on_drop(true);
            children.push(command.spawn().with_context(|| format!("starting {}", laurel.display()))?);
        }
        let server = Self { children, address, api: format!("http://{address}/v1"), _folder: folder };
        let asked = format!("http://{address}/openapi.json");
        let begun = Instant::now();
        while reqwest::get(&asked).await.is_err() {
            if begun.elapsed() > UP_WITHIN {
                let log = std::fs::read_to_string(server._folder.path().join("api")).unwrap_or_default();
                bail!("laurel api does not come up: {log}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(server)
    }

    /// The most memory that it has had so far, in bytes.
    pub(crate) fn memory_peak(&self) -> anyhow::Result<u64> {
        let id = self.children.first().and_then(Child::id).context("it runs")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).context("reading its status")?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        Ok(kib.context("the system tells its memory")?.parse::<u64>()? * 1024)
    }
}
