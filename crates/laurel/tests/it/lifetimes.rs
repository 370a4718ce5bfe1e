//! Processes that are ended while they start, and whose parts end under them.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::{sleep, timeout};

use crate::process::{Running, laurel};

/// How long parts may take to be up, or gone.
const WITHIN: Duration = Duration::from_secs(60);

/// How often something is looked at again.
const AGAIN: Duration = Duration::from_millis(5);

async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            sleep(AGAIN).await;
        }
    };
    timeout(WITHIN, looking).await.unwrap_or_else(|_| panic!("{what}: not within {WITHIN:?}"))
}

fn status(process: u32, field: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    Some(status.lines().find_map(|line| line.strip_prefix(field))?.trim().to_owned())
}

/// The processes below `process` whose name is `name`.
fn below(process: u32, name: &str) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let ids: Vec<u32> = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let parent = |id: u32| status(id, "PPid:")?.parse::<u32>().ok();
    let is_below =
        |id: u32| std::iter::successors(parent(id), |id| parent(*id)).any(|ancestor| ancestor == process);
    ids.into_iter().filter(|id| status(*id, "Name:").as_deref() == Some(name) && is_below(*id)).collect()
}

fn up(folder: &Path) -> (Running, PathBuf, PathBuf) {
    let (json, log) = (folder.join("devnet.json"), folder.join("devnet.log"));
    let mut command = laurel(&["devnet", "--json"]);
    command.arg(&json);
    (Running::start(command, &log), json, log)
}

fn is_written(file: &Path) -> Option<()> {
    file.metadata().is_ok_and(|file| file.len() > 0).then_some(())
}

#[tokio::test]
async fn a_devnet_that_is_asked_to_stop_while_it_starts_ends_with_its_parts() {
    let folder = tempfile::tempdir().unwrap();
    let (running, json, log) = up(folder.path());
    let id = running.id();
    // Its first keeper is there: it is in the middle of starting.
    let keepers =
        eventually("a keeper", || Some(below(id, "sh")).filter(|keepers| !keepers.is_empty())).await;
    assert!(is_written(&json).is_none(), "it is still starting");
    assert_eq!(running.terminate().await, Some(0), "{}", std::fs::read_to_string(log).unwrap());
    assert!(
        keepers.iter().all(|keeper| status(*keeper, "Name:").as_deref() != Some("sh")),
        "no keeper is left"
    );
}

#[tokio::test]
async fn a_role_that_is_asked_to_stop_while_it_starts_ends_well() {
    let folder = tempfile::tempdir().unwrap();
    // A database that takes connections and says nothing: the start waits for it.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://laurel@{}/laurel?sslmode=disable", silent.local_addr().unwrap());
    let mut command = laurel(&["all"]);
    command.env("DATABASE_URL", url);
    let running = Running::start(command, &folder.path().join("all.log"));
    let connected = tokio::task::spawn_blocking(move || silent.accept().unwrap());
    let _connected = timeout(WITHIN, connected).await.expect("it connects").unwrap();
    assert_eq!(running.terminate().await, Some(0));
}

#[tokio::test]
async fn a_devnet_whose_part_dies_says_which_and_ends() {
    for (program, part) in [("anvil", "Anvil"), ("postgres", "PostgreSQL")] {
        let folder = tempfile::tempdir().unwrap();
        let (running, json, log) = up(folder.path());
        eventually("it is up", || is_written(&json)).await;
        // PostgreSQL's own children have its name: the first is the one that was started.
        let victim = below(running.id(), program).into_iter().min().unwrap();
        kill(Pid::from_raw(i32::try_from(victim).unwrap()), Signal::SIGKILL).unwrap();
        assert_eq!(running.ended().await, Some(1));
        let said = std::fs::read_to_string(log).unwrap();
        assert!(said.contains(&format!("{part} ended by itself (status 137); the end of its log")), "{said}");
    }
}
