//! A `laurel api` of its own, on a database that is filled.

use std::{
    net::TcpListener,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// How long it may take to come up.
const UP_WITHIN: Duration = Duration::from_secs(30);

/// A running `laurel api`; it ends with this.
pub(crate) struct Server {
    child: Child,
    /// Where it answers, such as `http://127.0.0.1:40123/v1`.
    pub(crate) api: String,
    _folder: TempDir,
}

impl Server {
    pub(crate) async fn start(laurel: &Path, database_url: &str) -> anyhow::Result<Self> {
        let folder = TempDir::new().context("making a folder")?;
        // Free for the moment in which it is taken again.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr())?.port();
        let config = folder.path().join("laurel.toml");
        let toml = format!(
            "[database]\nurl = \"{database_url}\"\n[api]\nbind = \"127.0.0.1:{port}\"\n\
             public_url = \"http://127.0.0.1:{port}\"\n[ops]\nbind = \"127.0.0.1:0\"\n[auth]\nmode = \"none\"\n"
        );
        std::fs::write(&config, toml).context("writing its configuration")?;
        let log = std::fs::File::create(folder.path().join("log")).context("making its log")?;
        let child = Command::new(laurel)
            .args(["api", "--config"])
            .arg(&config)
            .env_remove("DATABASE_URL")
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", laurel.display()))?;
        let server = Self { child, api: format!("http://127.0.0.1:{port}/v1"), _folder: folder };
        let asked = format!("http://127.0.0.1:{port}/openapi.json");
        let begun = Instant::now();
        while reqwest::get(&asked).await.is_err() {
            if begun.elapsed() > UP_WITHIN {
                let log = std::fs::read_to_string(server._folder.path().join("log")).unwrap_or_default();
                bail!("laurel api does not come up: {log}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(server)
    }

    /// The most memory that it has had so far, in bytes.
    pub(crate) fn memory_peak(&self) -> anyhow::Result<u64> {
        let id = self.child.id().context("it runs")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).context("reading its status")?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        Ok(kib.context("the system tells its memory")?.parse::<u64>()? * 1024)
    }
}
