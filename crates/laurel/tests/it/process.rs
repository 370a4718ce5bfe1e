//! `laurel` as a process.

use std::{
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

/// How long a command may take that does one thing and ends.
const COMMAND_DEADLINE: Duration = Duration::from_secs(120);

/// How long a graceful shutdown may take.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(45);

/// A `laurel` command with nothing of this process's settings.
pub(crate) fn laurel(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_laurel"));
    command.args(arguments).env_remove("DATABASE_URL").stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command to its end.
pub(crate) async fn output(mut command: Command) -> Output {
    timeout(COMMAND_DEADLINE, command.output()).await.expect("the command ends in time").unwrap()
}

/// A running `laurel`; dropping it kills it.
pub(crate) struct Running {
    child: Child,
}

impl Running {
    /// Starts a command that stays up; its log lines go to `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        command.stdout(Stdio::null()).stderr(log);
        Self { child: command.spawn().unwrap() }
    }

    /// kill -9, and waits until it is gone.
    pub(crate) async fn kill_9(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM; the exit code.
    pub(crate) async fn terminate(self) -> Option<i32> {
        let pid = i32::try_from(self.child.id().expect("it runs")).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        self.ended().await
    }

    /// Waits until it ends by itself; the exit code.
    pub(crate) async fn ended(mut self) -> Option<i32> {
        timeout(SHUTDOWN_DEADLINE, self.child.wait()).await.expect("it ends in time").unwrap().code()
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }
}
