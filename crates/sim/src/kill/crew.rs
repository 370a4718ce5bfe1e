//! The ten processes, and who starts them again: two replicas of each role.

use std::{
    fs::File,
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use tokio::{
    process::{Child, Command},
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

/// The roles; a replica of each has a place of its own in the crew, and so has a second one.
pub(super) const ROLES: [&str; 5] = ["api", "campaign", "grant-saga", "chain-watcher", "views"];

/// Replicas of a role.
pub(super) const REPLICAS: usize = 2;

/// How soon a process that ended by itself is started again: as a supervisor does, not as fast as it can.
const RESTART: Duration = Duration::from_millis(100);

/// What a process is started with.
#[derive(Clone, Debug)]
pub(super) struct Post {
    /// Its role and which replica it is.
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) log: PathBuf,
}

#[derive(Debug)]
struct Replica {
    post: Post,
    /// Nobody there: it was killed, and is not to be started yet.
    child: Option<Child>,
}

/// All processes.
#[derive(Debug)]
pub(super) struct Crew {
    replicas: Arc<Mutex<Vec<Replica>>>,
    /// What ended without being killed, and how.
    ended: Arc<Mutex<Vec<String>>>,
    supervisor: JoinHandle<()>,
}

impl Crew {
    /// A crew that has not been started.
    pub(super) fn new(posts: Vec<Post>) -> Self {
        let replicas = posts.into_iter().map(|post| Replica { post, child: None }).collect();
        let replicas = Arc::new(Mutex::new(replicas));
        let ended = Arc::default();
        let supervisor = tokio::spawn(supervise(Arc::clone(&replicas), Arc::clone(&ended)));
        Self { replicas, ended, supervisor }
    }

    /// Starts these, as far as they do not run.
    pub(super) fn start(&self, places: &[usize]) -> anyhow::Result<()> {
        let mut replicas = lock(&self.replicas);
        for place in places {
            let replica = &mut replicas[*place];
            if replica.child.is_none() {
                replica.child = Some(spawn(&replica.post)?);
            }
        }
        Ok(())
    }

    /// kill -9 of these, all at once; returns when they are gone.
    pub(super) async fn kill_9(&self, places: &[usize]) -> anyhow::Result<()> {
        let mut killed: Vec<Child> = {
            let mut replicas = lock(&self.replicas);
            places.iter().filter_map(|place| replicas[*place].child.take()).collect()
        };
        for child in &mut killed {
            // One that has ended by itself is as gone as it can be.
            child.start_kill().or_else(|error| match error.kind() {
                std::io::ErrorKind::InvalidInput => Ok(()),
                _ => Err(error),
            })?;
        }
        for mut child in killed {
            child.wait().await?;
        }
        Ok(())
    }

    /// All places.
    pub(super) fn everybody() -> Vec<usize> {
        (0..ROLES.len() * REPLICAS).collect()
    }

    /// What ended without being killed, and how.
    pub(super) fn ended_by_themselves(&self) -> Vec<String> {
        lock(&self.ended).clone()
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

/// Starts again what ends by itself: a role that finds no database when it starts ends with an error, and leaves it to its
/// supervisor to try again.
async fn supervise(replicas: Arc<Mutex<Vec<Replica>>>, ended: Arc<Mutex<Vec<String>>>) {
    let mut look = interval(RESTART);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        for replica in lock(&replicas).iter_mut() {
            let Some(child) = &mut replica.child else { continue };
            let what = match child.try_wait() {
                Ok(None) => continue,
                Ok(Some(status)) => status.to_string(),
                Err(error) => error.to_string(),
            };
            lock(&ended).push(format!("{}: {what}", replica.post.name));
            match spawn(&replica.post) {
                Ok(child) => replica.child = Some(child),
                Err(error) => lock(&ended).push(format!("{}: {error:#}", replica.post.name)),
            }
        }
    }
}

fn spawn(post: &Post) -> anyhow::Result<Child> {
    let log = File::options().create(true).append(true).open(&post.log);
    let log = log.with_context(|| format!("opening {}", post.log.display()))?;
    let mut command = Command::new(&post.program);
    command
        .args(&post.arguments)
        .env_remove("DATABASE_URL")
        .envs(post.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true);
    command.spawn().with_context(|| format!("starting {}", post.name))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
