//! What is done to the processes.

use std::{fmt, time::Duration};

use anyhow::Context;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::time::sleep;

use super::{
    crew::{Crew, REPLICAS, ROLES},
    summary::Summary,
    world::World,
};

/// The longest that something is down: longer than a lane is leased would only wait.
const DOWN_MAX_MS: u64 = 1_500;

/// The longest that the chain stands still.
const PAUSE_MAX_MS: u64 = 3_000;

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// kill -9 of one replica.
    Replica(usize),
    /// Of all replicas of a role at once.
    Role(usize),
    /// Of the database server.
    Database,
    /// Of everything but the chain.
    Everything,
    /// The chain's node answers nobody.
    Chain,
}

impl Trouble {
    /// Chance decides which.
    pub(super) fn pick(rng: &mut ChaCha8Rng) -> Self {
        match rng.random_range(0..100) {
            0..40 => Self::Replica(rng.random_range(0..ROLES.len() * REPLICAS)),
            40..55 => Self::Role(rng.random_range(0..ROLES.len())),
            55..70 => Self::Database,
            70..80 => Self::Everything,
            _ => Self::Chain,
        }
    }

    /// Makes it happen, waits, and mends it.
    pub(super) async fn strike(
        &self,
        world: &mut World,
        rng: &mut ChaCha8Rng,
        summary: &mut Summary,
    ) -> anyhow::Result<()> {
        summary.count(self);
        let down = Duration::from_millis(rng.random_range(0..DOWN_MAX_MS));
        match self {
            Self::Replica(_) | Self::Role(_) => {
                world.crew.kill_9(&self.places()).await?;
                sleep(down).await;
                world.crew.start(&self.places())
            }
            Self::Database => {
                world.postgres.kill_9().await?;
                sleep(down).await;
                Ok(world.postgres.start_again().await?)
            }
            Self::Everything => {
                kill_everything(world).await?;
                sleep(down).await;
                start_everything(world).await
            }
            Self::Chain => {
                let paused = Duration::from_millis(rng.random_range(0..PAUSE_MAX_MS));
                signal(world.anvil.process_id(), Signal::SIGSTOP)?;
                sleep(paused).await;
                signal(world.anvil.process_id(), Signal::SIGCONT)
            }
        }
    }

    /// Whose processes are killed.
    fn places(&self) -> Vec<usize> {
        match self {
            Self::Replica(place) => vec![*place],
            Self::Role(role) => (role * REPLICAS..(role + 1) * REPLICAS).collect(),
            Self::Everything => Crew::everybody(),
            Self::Database | Self::Chain => Vec::new(),
        }
    }

    /// Its kind, for counting.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Replica(_) => "one replica killed",
            Self::Role(_) => "both replicas of a role killed",
            Self::Database => "database killed",
            Self::Everything => "everything killed",
            Self::Chain => "chain stopped for a while",
        }
    }

    /// How many processes of ours it kills; the database server counts as one.
    pub(super) fn processes(&self) -> u64 {
        let database = matches!(self, Self::Database | Self::Everything);
        self.places().len() as u64 + u64::from(database)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replica(place) => write!(f, "{}-{}", ROLES[place / REPLICAS], place % REPLICAS),
            Self::Role(role) => f.write_str(ROLES[*role]),
            Self::Database => f.write_str("database"),
            Self::Everything => f.write_str("everything"),
            Self::Chain => f.write_str("chain paused"),
        }
    }
}

/// kill -9 of every role and of the database.
pub(super) async fn kill_everything(world: &mut World) -> anyhow::Result<()> {
    world.crew.kill_9(&Crew::everybody()).await?;
    Ok(world.postgres.kill_9().await?)
}

/// The database first: a role that does not find it ends, and is started again by its supervisor.
pub(super) async fn start_everything(world: &mut World) -> anyhow::Result<()> {
    world.postgres.start_again().await?;
    world.crew.start(&Crew::everybody())
}

fn signal(process: u32, signal: Signal) -> anyhow::Result<()> {
    kill(Pid::from_raw(i32::try_from(process)?), signal).with_context(|| format!("{signal} to {process}"))
}
