//! A PostgreSQL for as long as we need one: a server that we were given, or a private cluster of our own.

mod backup;
mod cluster;
mod programs;
mod server;

use std::path::{Path, PathBuf};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::{error::DevnetError, surroundings::Surroundings};

pub use backup::Restored;
use cluster::Cluster;
use server::Server;

const PART: &str = "PostgreSQL";

/// PostgreSQL cuts names at 63 bytes; on somebody else's server ours begin with 24 of our own.
pub(crate) const NAME_CHARS_MAX: usize = 39;

/// What kind of PostgreSQL is wanted.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Whether a commit is on disk when it is acknowledged. Says nothing about a server that we are given.
    pub durable: bool,
    /// Sessions at once, over all databases of the cluster.
    pub max_connections: u16,
    /// Where the server, or its programs, may come from.
    pub surroundings: Surroundings,
    /// A folder, which everybody may write to, for every finished piece of the write-ahead log: with it and a base backup a
    /// cluster is restored to any moment. Says nothing about a server that we are given.
    pub archive: Option<PathBuf>,
    /// Settings besides ours, as `name=value`. Says nothing about a server that we are given.
    pub settings: Vec<&'static str>,
}

impl PostgresOptions {
    /// Keeps its promises: for the demo, `laurel devnet` and measurements.
    #[must_use]
    pub fn durable() -> Self {
        let surroundings = Surroundings::from_env();
        Self { durable: true, max_connections: 300, surroundings, archive: None, settings: Vec::new() }
    }

    /// As fast as it gets, in memory where there is room: for tests. Sessions for 60 tests with a pool of ten at once.
    #[must_use]
    pub fn throw_away() -> Self {
        let surroundings = Surroundings::from_env();
        Self { durable: false, max_connections: 600, surroundings, archive: None, settings: Vec::new() }
    }
}

/// A PostgreSQL server and the databases that were made through this handle.
///
/// Dropping it ends the cluster, or drops those databases from a server that we were given; [`Postgres::stop`] does the
/// same and reports what went wrong.
#[derive(Debug)]
pub struct Postgres {
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// Started by us.
    Cluster(Cluster),
    /// Named by `DATABASE_URL`.
    Server(Server),
}

impl Postgres {
    /// Finds or starts a server, and returns when it answers: 0.8 s with installed programs.
    ///
    /// # Errors
    ///
    /// When none can be had ([`DevnetError::Missing`] tells what to install) or it does not start in time.
    pub async fn start(options: PostgresOptions) -> Result<Self, DevnetError> {
        let place = match &options.surroundings.database_url {
            Some(url) => Place::Server(Server::connect(url).await?),
            None => Place::Cluster(Cluster::start(&options, None).await?),
        };
        Ok(Self { place })
    }

    /// The address of a database that was created through this handle.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        match &self.place {
            Place::Cluster(cluster) => cluster.url(database),
            Place::Server(server) => server.url(database),
        }
    }

    /// Creates a database, empty or as a copy of `template`, which was created here and has no sessions now.
    ///
    /// # Errors
    ///
    /// When a name is not one of `a-z`, `0-9` and `_`, or the server refuses.
    pub async fn create_database(&self, name: &str, template: Option<&str>) -> Result<(), DevnetError> {
        let created = self.real_name(name)?;
        let from = self.real_name_or(template, "template0")?;
        // Noted first, so that what a cancelled call may have created is dropped too.
        if let Place::Server(server) = &self.place {
            server.note(name);
        }
        self.execute(format!(r#"CREATE DATABASE "{created}" TEMPLATE "{from}""#)).await
    }

    /// Drops a database that was created through this handle, with the sessions that it may still have.
    ///
    /// # Errors
    ///
    /// When the server refuses.
    pub async fn drop_database(&self, name: &str) -> Result<(), DevnetError> {
        let dropped = self.real_name(name)?;
        self.execute(format!(r#"DROP DATABASE IF EXISTS "{dropped}" WITH (FORCE)"#)).await?;
        if let Place::Server(server) = &self.place {
            server.forget(name);
        }
        Ok(())
    }

    /// The process that we started, if we started one.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        match &self.place {
            Place::Cluster(cluster) => Some(cluster.keeper().process_id()),
            Place::Server(_) => None,
        }
    }

    /// The folder that holds the cluster, its socket and its `log`, if it is ours.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        match &self.place {
            Place::Cluster(cluster) => Some(cluster.keeper().folder()),
            Place::Server(_) => None,
        }
    }

    /// Waits until it ends without having been asked to; what comes back names it, with the end of its log where it is
    /// ours.
    pub async fn ended_by_itself(&self) -> DevnetError {
        match &self.place {
            Place::Cluster(cluster) => cluster.keeper().ended_by_itself().await,
            Place::Server(server) => server.gone().await,
        }
    }

    /// Kills the server and all its processes (`kill -9`), as the end of a machine would, and returns when it is gone. Its
    /// data stays: [`Postgres::start_again`] recovers it.
    ///
    /// # Errors
    ///
    /// When the server is not ours to kill.
    pub async fn kill_9(&mut self) -> Result<(), DevnetError> {
        self.own_cluster()?.kill_9().await
    }

    /// Starts a server that was killed, on the same data and at the same address, and returns when it has recovered and
    /// answers.
    ///
    /// # Errors
    ///
    /// When the server is not ours to start, or does not start in time.
    pub async fn start_again(&mut self) -> Result<(), DevnetError> {
        self.own_cluster()?.start_again().await
    }

    /// Ends the cluster and removes its folder, or drops our databases from the server that we were given.
    ///
    /// # Errors
    ///
    /// When something of ours is still there after the deadline.
    pub async fn stop(self) -> Result<(), DevnetError> {
        match self.place {
            Place::Cluster(cluster) => cluster.into_keeper().stop().await,
            Place::Server(server) => server.stop().await,
        }
    }

    fn own_cluster(&mut self) -> Result<&mut Cluster, DevnetError> {
        match &mut self.place {
            Place::Cluster(cluster) => Ok(cluster),
            Place::Server(_) => Err(DevnetError::Unsupported(
                "the server of DATABASE_URL is not ours to kill or to start".to_owned(),
            )),
        }
    }

    fn real_name(&self, name: &str) -> Result<String, DevnetError> {
        let fits = (1..=NAME_CHARS_MAX).contains(&name.len());
        if !fits || !name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
            return Err(DevnetError::DatabaseName(name.to_owned()));
        }
        Ok(match &self.place {
            Place::Cluster(_) => name.to_owned(),
            Place::Server(server) => server.real_name(name),
        })
    }

    fn real_name_or(&self, name: Option<&str>, otherwise: &str) -> Result<String, DevnetError> {
        name.map_or_else(|| Ok(otherwise.to_owned()), |name| self.real_name(name))
    }

    fn maintenance_url(&self) -> String {
        match &self.place {
            Place::Cluster(cluster) => cluster.url("postgres"),
            Place::Server(server) => server.maintenance_url(),
        }
    }

    /// A session of its own for each statement: this handle may be shared by runtimes that come and go.
    async fn execute(&self, statement: String) -> Result<(), DevnetError> {
        execute(&self.maintenance_url(), statement).await
    }
}

/// Runs one statement, made of checked names, in a session of its own.
async fn execute(url: &str, statement: String) -> Result<(), DevnetError> {
    let mut session = PgConnection::connect(url).await.map_err(DevnetError::sql("connecting"))?;
    session.execute(AssertSqlSafe(statement.clone())).await.map_err(DevnetError::sql(statement))?;
    session.close().await.map_err(DevnetError::sql("closing a session"))
}
