//! A private cluster: `initdb` and `postgres` in a folder of its own, reachable through a unix socket there.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use nix::unistd::User;
use sqlx::{Connection as _, PgConnection};
use tokio::time::{MissedTickBehavior, interval, timeout};
use url::form_urlencoded::byte_serialize;

use crate::{
    account::{self, Storage},
    error::DevnetError,
    keeper::{Keeper, Part},
    surroundings::Surroundings,
};

use super::{
    PART, PostgresOptions,
    backup::{RESTORE, Restored, archiving},
    programs::{Programs, copy_for},
};

/// Starting takes 0.1 s; a loaded machine, ten times that.
const READY_DEADLINE: Duration = Duration::from_secs(60);

/// A refused connection costs microseconds, so asking often is cheap.
const READY_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Nobody but the folder's owner (and root) reaches the socket, so nobody is asked for a password.
const SETUP: &str = r#""$INITDB" -D data -U postgres --auth=trust -E UTF8 --no-locale --no-sync"#;

/// Fast shutdown, which ends sessions with a message; then the immediate one.
const SIGNALS: &str = "INT QUIT";

/// What every cluster is started with. `listen_addresses` is empty: the socket is the only way in, so no two clusters,
/// and nobody else's server, can meet on a port.
const SETTINGS: &[&str] = &[
    "listen_addresses=",
    "unix_socket_directories=..",
    "timezone=UTC",
    "log_timezone=UTC",
    // Short statements by the thousand: compiling them costs more than running them.
    "jit=off",
    "wal_compression=off",
    "checkpoint_timeout=15min",
];

/// For the demo: as a production server would be asked to keep its promises, with room to do so quickly.
const DURABLE: &[&str] =
    &["fsync=on", "synchronous_commit=on", "full_page_writes=on", "shared_buffers=512MB", "max_wal_size=8GB"];

/// For tests: nothing is ever recovered, and nothing but the folder may be left behind, also after a hard kill.
const THROW_AWAY: &[&str] = &[
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_logical_replication_workers=0",
    "autovacuum=off",
    "shared_buffers=128MB",
    "max_wal_size=1GB",
    "dynamic_shared_memory_type=mmap",
];

/// What a running cluster is made of.
#[derive(Debug)]
pub(super) struct Cluster {
    keeper: Keeper,
    /// The socket's folder, as it is written in an address.
    host: String,
}

impl Cluster {
    pub(super) async fn start(
        options: &PostgresOptions,
        restored: Option<&Restored>,
    ) -> Result<Self, DevnetError> {
        let user = account::for_postgres()?;
        let programs = find_programs(options.surroundings.clone(), user.is_some()).await?;
        let to_copy = user.clone().zip(programs.closed_to_others().map(Path::to_owned));
        // Relative to the part's folder, which is where the programs are run.
        let bin = if to_copy.is_some() { PathBuf::from("programs/bin") } else { programs.bin() };
        let keeper = Keeper::start(part(options, restored, user, &bin)?, move |folder| match to_copy {
            Some((user, native)) => copy_for(&user, &native, &folder.join("programs")),
            None => Ok(()),
        })
        .await?;
        let host = keeper.folder().to_string_lossy();
        // A form's plus sign for a space is not what an address has.
        let host = byte_serialize(host.as_bytes()).collect::<String>().replace('+', "%20");
        let cluster = Self { keeper, host };
        cluster.wait_until_ready().await?;
        Ok(cluster)
    }

    pub(super) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost:5432/{database}?host={}&sslmode=disable", self.host)
    }

    pub(super) fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    pub(super) fn into_keeper(self) -> Keeper {
        self.keeper
    }

    async fn wait_until_ready(&self) -> Result<(), DevnetError> {
        let mut last_answer = String::from("no answer");
        let ready = timeout(READY_DEADLINE, async {
            let url = self.url("postgres");
            let mut poll = interval(READY_POLL_INTERVAL);
            poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                poll.tick().await;
                if let Some(ended) = self.keeper.ended() {
                    return Err(ended);
                }
                match PgConnection::connect(&url).await {
                    Ok(connection) => {
                        return connection.close().await.map_err(DevnetError::sql("first session"));
                    }
                    Err(error) => last_answer = error.to_string(),
                }
            }
        })
        .await;
        ready.unwrap_or_else(|_elapsed| Err(self.keeper.not_ready(last_answer, READY_DEADLINE)))
    }
}

async fn find_programs(surroundings: Surroundings, for_other: bool) -> Result<Programs, DevnetError> {
    tokio::task::spawn_blocking(move || Programs::find(&surroundings, for_other))
        .await
        .map_err(|error| DevnetError::io("looking for PostgreSQL")(error.into()))?
}

fn part(
    options: &PostgresOptions,
    restored: Option<&Restored>,
    user: Option<User>,
    bin: &Path,
) -> Result<Part, DevnetError> {
    let storage = if options.durable { Storage::Disk } else { Storage::Fastest };
    let base = account::base_folder(PART, storage, user.as_ref(), &options.surroundings)?;
    let promises = if options.durable { DURABLE } else { THROW_AWAY };
    let max_connections = format!("max_connections={}", options.max_connections);
    let settings = SETTINGS.iter().chain(promises).map(|setting| (*setting).to_owned());
    let settings = settings.chain(options.archive.iter().flat_map(|archive| archiving(archive)));
    let settings = settings.chain(restored.iter().flat_map(|restored| restored.settings()));
    let mut environment = vec![("INITDB", bin.join("initdb"))];
    environment.extend(restored.map(|restored| ("BASE", restored.base.clone())));
    Ok(Part {
        name: PART,
        base,
        prefix: "laurel-postgres-",
        user,
        setup: restored.map_or(SETUP, |_| RESTORE),
        environment,
        program: bin.join("postgres"),
        arguments: ["-D", "data"]
            .map(str::to_owned)
            .into_iter()
            .chain(settings.chain([max_connections]).flat_map(|setting| ["-c".to_owned(), setting]))
            .collect(),
        signals: SIGNALS,
    })
}
