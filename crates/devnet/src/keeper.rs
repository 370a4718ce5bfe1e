//! The keeper: a small shell process that owns one part, so that the part ends however we end.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::unistd::User;
use tokio::{sync::watch, time::timeout};

use crate::error::DevnetError;

const SCRIPT: &str = include_str!("keeper.sh");

/// How long a part has after each signal before it gets the next, harder one. A server that throws its data away needs
/// tens of milliseconds; a machine under full load a few seconds.
const GRACE_SECONDS: u64 = 5;

/// Longer than all graces and the keeper's tries at removing the folder together: past it, something is broken.
const END_DEADLINE: Duration = Duration::from_secs(30);

/// For making the folder, copying programs into it and `initdb`: 0.7 s here; a loaded machine with a slow disk takes far longer.
const SETUP_DEADLINE: Duration = Duration::from_secs(60);

/// How much of a log an error message carries.
const LOG_TAIL_BYTES: usize = 2_000;

/// What a keeper is to run, and how.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    /// The folder's parent, and the beginning of its name.
    pub(crate) base: PathBuf,
    pub(crate) prefix: &'static str,
    /// Whom to run as, where that is not us.
    pub(crate) user: Option<User>,
    /// Shell text that runs in the folder first; it sees `environment`.
    pub(crate) setup: &'static str,
    pub(crate) environment: Vec<(&'static str, PathBuf)>,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// Gentlest first, separated by spaces; KILL follows by itself.
    pub(crate) signals: &'static str,
}

/// What the keeper has told us last.
#[derive(Clone, Debug, PartialEq, Eq)]
enum News {
    Starting,
    Folder(PathBuf),
    Running(u32),
    Exited(String),
    Removed,
    /// The keeper is gone without having said that its folder is.
    Lost(String),
}

impl News {
    fn status(&self) -> &str {
        match self {
            Self::Exited(status) | Self::Lost(status) => status,
            Self::Starting | Self::Folder(_) | Self::Running(_) | Self::Removed => "its keeper lost its way",
        }
    }
}

/// A running part. Dropping it ends the part, waits until that is done, and removes its folder.
#[derive(Debug)]
pub(crate) struct Keeper {
    name: &'static str,
    folder: PathBuf,
    process_id: u32,
    news: watch::Receiver<News>,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    /// The pipe whose other end the keeper reads: closing it is the order to end.
    lifeline: ChildStdin,
    process: Child,
    listener: JoinHandle<()>,
}

impl Keeper {
    /// Starts the part and returns when its process runs; whether it answers is the caller's to find out.
    ///
    /// `furnish` may put things into the folder before anything runs there, and may block.
    pub(crate) async fn start(
        part: Part,
        furnish: impl FnOnce(&Path) -> Result<(), DevnetError> + Send + 'static,
    ) -> Result<Self, DevnetError> {
        let mut process = command(&part)
            .spawn()
            .map_err(DevnetError::io(format!("starting /bin/sh, which keeps {}", part.name)))?;
        let lifeline = process.stdin.take().expect("stdin was piped");
        let stdout = process.stdout.take().expect("stdout was piped");
        let (tell, news) = watch::channel(News::Starting);
        let listener = thread::spawn(move || listen(stdout, &tell));
        let mut keeper = Self {
            name: part.name,
            folder: PathBuf::new(),
            process_id: 0,
            news,
            held: Some(Held { lifeline, process, listener }),
        };
        keeper.folder = keeper.wait_for_folder().await?;
        let folder = keeper.folder.clone();
        tokio::task::spawn_blocking(move || furnish(&folder)).await.map_err(|error| {
            DevnetError::io(format!("furnishing the folder of {}", keeper.name))(error.into())
        })??;
        keeper.say("go")?;
        keeper.process_id = keeper.wait_for_process().await?;
        Ok(keeper)
    }

    /// Runs the part once more, in the same folder, after it has ended by itself or was killed.
    pub(crate) async fn run_again(&mut self) -> Result<(), DevnetError> {
        self.news.borrow_and_update();
        self.say("again")?;
        // One that ends at once may have been seen to run or not.
        let changed = timeout(SETUP_DEADLINE, self.news.changed()).await;
        let changed = changed.map_err(|_elapsed| self.not_ready("its process", SETUP_DEADLINE))?;
        changed.map_err(|_closed| self.ended_with("its keeper is gone"))?;
        let news = self.news.borrow_and_update().clone();
        match news {
            News::Running(process_id) => {
                self.process_id = process_id;
                Ok(())
            }
            other => Err(self.ended_with(other.status())),
        }
    }

    /// Waits until the part's process has ended, whoever ended it.
    pub(crate) async fn exited(&mut self) -> Result<(), DevnetError> {
        match self.next_news(|news| !matches!(news, News::Running(_))).await? {
            News::Exited(_) => Ok(()),
            other => Err(self.ended_with(other.status())),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.process_id
    }

    /// How the part ended, if it has.
    pub(crate) fn ended(&self) -> Option<DevnetError> {
        match &*self.news.borrow() {
            News::Exited(status) | News::Lost(status) => Some(self.ended_with(status)),
            News::Starting | News::Folder(_) | News::Running(_) | News::Removed => None,
        }
    }

    /// Waits until the part ends without having been asked to, and tells how.
    pub(crate) async fn ended_by_itself(&self) -> DevnetError {
        let mut news = self.news.clone();
        let ended =
            news.wait_for(|news| matches!(news, News::Exited(_) | News::Lost(_) | News::Removed)).await;
        let status =
            ended.map_or_else(|_closed| "its keeper is gone".to_owned(), |news| news.status().to_owned());
        DevnetError::Died { part: self.name, status, log: self.log_tail() }
    }

    pub(crate) fn log(&self) -> std::io::Result<String> {
        std::fs::read(self.folder.join("log")).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    pub(crate) fn not_ready(&self, waiting_for: impl Into<String>, deadline: Duration) -> DevnetError {
        DevnetError::NotReady {
            part: self.name,
            waiting_for: waiting_for.into(),
            deadline,
            log: self.log_tail(),
        }
    }

    /// As [`Keeper::end`], without blocking the runtime.
    pub(crate) async fn stop(mut self) -> Result<(), DevnetError> {
        let name = self.name;
        tokio::task::spawn_blocking(move || self.end())
            .await
            .map_err(|error| DevnetError::io(format!("ending {name}"))(error.into()))?
    }

    /// Ends the part and returns when its processes and its folder are gone.
    pub(crate) fn end(&mut self) -> Result<(), DevnetError> {
        let Some(Held { lifeline, mut process, listener }) = self.held.take() else { return Ok(()) };
        drop(lifeline);
        let (tell, ended) = mpsc::channel();
        thread::spawn(move || {
            let heard = listener.join().is_ok();
            // A receiver that has stopped waiting has reported that itself.
            let _ = tell.send(process.wait().is_ok() && heard);
        });
        let in_time = ended.recv_timeout(END_DEADLINE).is_ok_and(|clean| clean);
        if in_time && *self.news.borrow() == News::Removed {
            Ok(())
        } else {
            Err(DevnetError::NotEnded { part: self.name, folder: self.folder.clone() })
        }
    }

    async fn wait_for_folder(&mut self) -> Result<PathBuf, DevnetError> {
        match self.next_news(|news| *news != News::Starting).await? {
            News::Folder(folder) => Ok(folder),
            other => Err(self.ended_with(other.status())),
        }
    }

    async fn wait_for_process(&mut self) -> Result<u32, DevnetError> {
        match self.next_news(|news| !matches!(news, News::Starting | News::Folder(_))).await? {
            News::Running(process_id) => Ok(process_id),
            other => Err(self.ended_with(other.status())),
        }
    }

    async fn next_news(&mut self, wanted: impl FnMut(&News) -> bool) -> Result<News, DevnetError> {
        let news = timeout(SETUP_DEADLINE, self.news.wait_for(wanted))
            .await
            .map(|news| news.map(|news| news.clone()));
        match news {
            Ok(Ok(news)) => Ok(news),
            Ok(Err(_closed)) => Err(self.ended_with("its keeper is gone")),
            Err(_elapsed) => Err(self.not_ready("its folder and its process", SETUP_DEADLINE)),
        }
    }

    fn say(&mut self, word: &str) -> Result<(), DevnetError> {
        let held = self.held.as_mut().expect("held until it is ended");
        writeln!(held.lifeline, "{word}")
            .map_err(DevnetError::io(format!("talking to the keeper of {}", self.name)))
    }

    fn ended_with(&self, status: &str) -> DevnetError {
        DevnetError::Ended { part: self.name, status: status.to_owned(), log: self.log_tail() }
    }

    fn log_tail(&self) -> String {
        match self.log() {
            Ok(log) => {
                log[log.ceil_char_boundary(log.len().saturating_sub(LOG_TAIL_BYTES))..].trim_end().to_owned()
            }
            Err(error) => format!("(no log: {error})"),
        }
    }
}

impl Drop for Keeper {
    /// Blocks for the tens of milliseconds that the part needs to end: a part that outlives its handle is worse.
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(error = %error, "ending a part of the development network");
        }
    }
}

fn command(part: &Part) -> Command {
    let mut command = Command::new("/bin/sh");
    // What the user has set for other servers (PGPORT, LC_ALL, …) must not reach this one; the folder becomes HOME.
    command
        .args(["-c", SCRIPT, "keeper"])
        .arg(&part.program)
        .args(&part.arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin")
        .env("LC_ALL", "C")
        .envs(part.environment.iter().map(|(name, value)| (name, value)))
        .env("KEEPER_TEMPLATE", part.base.join(format!("{}XXXXXX", part.prefix)))
        .env("KEEPER_SETUP", part.setup)
        .env("KEEPER_SIGNALS", part.signals)
        .env("KEEPER_GRACE_SECONDS", GRACE_SECONDS.to_string())
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(user) = &part.user {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

/// Follows the keeper's lines to their end, which is the keeper's own end.
fn listen(stdout: ChildStdout, tell: &watch::Sender<News>) {
    let mut last_words = String::from("its keeper ended without a word");
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let news = match word {
            "folder" => News::Folder(PathBuf::from(rest)),
            "running" => rest.parse().map_or_else(|_| News::Lost(line.clone()), News::Running),
            "setup" => News::Exited(format!("its setup, status {rest}")),
            "exited" => News::Exited(format!("status {rest}")),
            "removed" => News::Removed,
            _ => {
                last_words = line;
                continue;
            }
        };
        tell.send_replace(news);
    }
    tell.send_if_modified(|news| {
        let lost = *news != News::Removed;
        if lost {
            *news = News::Lost(last_words);
        }
        lost
    });
}
