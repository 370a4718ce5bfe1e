//! The parts start, answer, and go; wherever they come from and however their owner ends.

mod chain_control;
mod databases;
mod lifetimes;
mod parts;
mod sources;

use std::{path::Path, process::Command, time::Duration};

use laurel_devnet::PostgresOptions;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Far longer than anything here takes, so that only what never happens is reported.
const DEADLINE: Duration = Duration::from_secs(60);

const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Waits until `condition` holds.
async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        let mut poll = interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            poll.tick().await;
            if condition().await {
                return;
            }
        }
    };
    assert!(timeout(DEADLINE, waiting).await.is_ok(), "{what}: not after {DEADLINE:?}");
}

/// Whether a process runs; one that has ended but was not collected by its parent does not.
fn runs(process_id: u32) -> bool {
    let state = ps(process_id, "stat=");
    !state.is_empty() && !state.starts_with('Z')
}

fn ps(process_id: u32, field: &str) -> String {
    let output =
        Command::new("ps").args(["-o", field, "-p", &process_id.to_string()]).output().expect("ps runs");
    String::from_utf8(output.stdout).expect("ps prints text").trim().to_owned()
}

/// The keeper of a part is its parent process.
fn keeper_of(process_id: u32) -> u32 {
    ps(process_id, "ppid=").parse().expect("a running process has a parent")
}

async fn gone(processes: &[u32], folders: &[impl AsRef<Path>]) {
    eventually(&format!("{processes:?} have ended"), async || !processes.iter().any(|id| runs(*id))).await;
    eventually("the folders are removed", async || !folders.iter().any(|folder| folder.as_ref().exists()))
        .await;
}

/// These options on a machine that offers no server of its own: a cluster is made.
pub(crate) fn private(mut options: PostgresOptions) -> PostgresOptions {
    options.surroundings.database_url = None;
    options
}
