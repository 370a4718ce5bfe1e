//! Nothing outlives its owner, however the owner ends, and whoever it is.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};
use laurel_devnet::{Anvil, AnvilOptions, Mining, Surroundings};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::{Pid, User, geteuid},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{eventually, gone, keeper_of, runs};

/// The example `parts`, running.
struct Owner {
    process: Child,
    processes: Vec<u32>,
    folders: Vec<PathBuf>,
}

impl Owner {
    /// Starts it as a terminal does: leader of a process group.
    fn start(command: &mut Command) -> Result<Self> {
        let mut process =
            command.process_group(0).stdout(Stdio::piped()).spawn().context("starting the example")?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("piped")?).read_line(&mut line)?;
        let parts: Value = serde_json::from_str(&line).with_context(|| format!("its line: {line:?}"))?;
        let parts_of = |name: &str| parts[name].as_array().cloned().context("a list");
        let servers: Vec<u32> =
            parts_of("process_ids")?.iter().filter_map(Value::as_u64).map(|id| id as u32).collect();
        let folders: Vec<_> =
            parts_of("folders")?.iter().filter_map(Value::as_str).map(PathBuf::from).collect();
        anyhow::ensure!(servers.len() == 2 && folders.len() == 2, "both parts: {line}");
        anyhow::ensure!(folders.iter().all(|folder| folder.is_dir()), "the folders are there: {line}");
        let processes: Vec<u32> = servers.iter().flat_map(|id| [*id, keeper_of(*id)]).collect();
        Ok(Self { process, processes, folders })
    }

    fn pid(&self) -> Pid {
        pid(&self.process)
    }

    fn has_parts(&self) -> bool {
        self.processes.iter().all(|id| runs(*id))
    }

    /// Waits until the owner and all that it had are gone.
    async fn and_all_is_gone(mut self) -> Result<()> {
        eventually("the owner has ended", async || !runs(self.process.id())).await;
        let status = self.process.wait()?;
        assert!(!status.success(), "it was ended: {status}");
        gone(&self.processes, &self.folders).await;
        Ok(())
    }
}

fn pid(process: &Child) -> Pid {
    Pid::from_raw(i32::try_from(process.id()).expect("a process id fits"))
}

/// `cargo test` builds the examples beside the tests.
fn example() -> PathBuf {
    let tests = env::current_exe().expect("this program has a path");
    let target = tests.ancestors().nth(2).expect("target/debug/deps/it");
    let example = target.join("examples/parts");
    assert!(example.is_file(), "cargo build -p laurel-devnet --example parts");
    example
}

/// The example with the signals as a terminal's shell gives them: whoever runs the tests in the background passes on
/// an ignored SIGINT.
fn parts() -> Command {
    parts_at(&example())
}

fn parts_at(program: &Path) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=INT,HUP"]).arg(program);
    command.env_remove("DATABASE_URL");
    command
}

#[tokio::test]
async fn after_kill_9() -> Result<()> {
    let owner = Owner::start(&mut parts())?;
    assert!(owner.has_parts());
    kill(owner.pid(), Signal::SIGKILL)?;
    owner.and_all_is_gone().await
}

#[tokio::test]
async fn after_ctrl_c() -> Result<()> {
    let owner = Owner::start(&mut parts())?;
    // A terminal sends it to the whole foreground group.
    killpg(owner.pid(), Signal::SIGINT)?;
    owner.and_all_is_gone().await
}

#[tokio::test]
async fn after_the_terminal_has_gone() -> Result<()> {
    let owner = Owner::start(&mut parts())?;
    killpg(owner.pid(), Signal::SIGHUP)?;
    owner.and_all_is_gone().await
}

#[tokio::test]
async fn after_a_panic() -> Result<()> {
    let mut owner = Owner::start(parts().arg("panic").stdin(Stdio::piped()).stderr(Stdio::null()))?;
    drop(owner.process.stdin.take());
    owner.and_all_is_gone().await
}

#[tokio::test]
async fn after_kill_9_in_the_middle_of_starting() -> Result<()> {
    let temporary = open_folder()?;
    let is_empty = || fs::read_dir(temporary.path()).is_ok_and(|mut entries| entries.next().is_none());
    let mut owner = parts().arg("durable").env("TMPDIR", temporary.path()).stdout(Stdio::null()).spawn()?;
    eventually("a folder is made", async || !is_empty()).await;
    kill(pid(&owner), Signal::SIGKILL)?;
    owner.wait()?;
    eventually("the folder is removed", async || is_empty()).await;
    Ok(())
}

#[tokio::test]
async fn a_part_that_is_killed_is_cleared_away_when_its_owner_lets_go() -> Result<()> {
    let anvil = Anvil::start(AnvilOptions::new(Mining::OnDemand)).await?;
    let (process, folder) = (anvil.process_id(), anvil.folder().to_owned());
    let keeper = keeper_of(process);
    kill(Pid::from_raw(i32::try_from(process)?), Signal::SIGKILL)?;
    eventually("it has ended", async || !runs(process)).await;
    assert!(folder.is_dir(), "its log can still be read");
    anvil.stop().await?;
    gone(&[keeper], &[folder]).await;
    Ok(())
}

/// Root's tests run the example as somebody else; everybody else's are that case already.
#[tokio::test]
async fn an_ordinary_user_is_an_owner_too() -> Result<()> {
    let mut command = parts();
    // The example and Anvil in a place that everybody can enter: the checkout may be closed to others.
    let programs = open_folder()?;
    if geteuid().is_root() {
        let nobody = User::from_name("nobody")?.context("every system has nobody")?;
        command = parts_at(&copy(&example(), &programs)?);
        copy(&anvil_program().await?, &programs)?;
        let path = env::split_paths(&env::var_os("PATH").context("a PATH")?).collect::<Vec<_>>();
        let path = env::join_paths([programs.path().to_owned()].into_iter().chain(path))?;
        command.env("PATH", path).current_dir("/");
        command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw());
    }
    let owner = Owner::start(&mut command)?;
    let root_owned = owner.processes.iter().any(|id| crate::ps(*id, "user=") == "root");
    assert!(!root_owned, "nothing runs as root");
    kill(owner.pid(), Signal::SIGKILL)?;
    owner.and_all_is_gone().await
}

fn open_folder() -> Result<TempDir> {
    let folder = tempfile::tempdir_in("/tmp")?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777))?;
    Ok(folder)
}

fn copy(program: &Path, folder: &TempDir) -> Result<PathBuf> {
    let copy = folder.path().join(program.file_name().context("a file")?);
    fs::copy(program, &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    Ok(copy)
}

/// Where Anvil's program is: wherever a running one has it.
async fn anvil_program() -> Result<PathBuf> {
    let anvil = Anvil::start(AnvilOptions {
        surroundings: Surroundings::from_env(),
        ..AnvilOptions::new(Mining::OnDemand)
    })
    .await?;
    Ok(PathBuf::from(crate::ps(anvil.process_id(), "args=").split(" --port").next().context("a command")?))
}
