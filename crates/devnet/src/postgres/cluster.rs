//! A private cluster: `initdb` and `postgres` in a folder of its own, reachable through a unix socket there.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::{Pid, User},
};
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
    backup::{Origin, RESTORE, archiving},
    programs::{Programs, copy_for},
};

/// Starting takes 0.1 s; a loaded machine, ten times that.
const READY_DEADLINE: Duration = Duration::from_secs(60);

/// A refused connection costs microseconds, so asking often is cheap.
const READY_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// What was killed ends within milliseconds; a machine under full load may take a second.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// Between two looks for what was not killed yet.
const KILL_PAUSE: Duration = Duration::from_millis(2);

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
        origin: Option<Origin>,
    ) -> Result<Self, DevnetError> {
        let user = account::for_postgres()?;
        let programs = find_programs(options.surroundings.clone(), user.is_some()).await?;
        let to_copy = user.clone().zip(programs.closed_to_others().map(Path::to_owned));
        // Relative to the part's folder, which is where the programs are run.
        let bin = if to_copy.is_some() { PathBuf::from("programs/bin") } else { programs.bin() };
        let keeper =
            Keeper::start(part(options, origin.as_ref(), user, &bin)?, move |folder| match to_copy {
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

    /// Kills every process of the server at once.
    pub(super) async fn kill_9(&mut self) -> Result<(), DevnetError> {
        let data = self.keeper.folder().join("data");
        let data = data.canonicalize().map_err(DevnetError::io("looking for the data"))?;
        // The server first: it would begin to recover from the death of the others, and start more of them.
        kill_9(self.keeper.process_id())?;
        timeout(KILL_DEADLINE, async {
            // What it started while it was looked for is found by the next look.
            loop {
                let left =
                    working_in(&data).map_err(DevnetError::io("looking for the server's processes"))?;
                if left.is_empty() {
                    return Ok(());
                }
                left.into_iter().try_for_each(kill_9)?;
                tokio::time::sleep(KILL_PAUSE).await;
            }
        })
        .await
        .unwrap_or_else(|_| {
            Err(DevnetError::io("killing the server's processes")(ErrorKind::TimedOut.into()))
        })?;
        self.keeper.exited().await
    }

    /// Starts it on what it left.
    pub(super) async fn start_again(&mut self) -> Result<(), DevnetError> {
        self.keeper.run_again().await?;
        self.wait_until_ready().await
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

fn kill_9(process: u32) -> Result<(), DevnetError> {
    let process = Pid::from_raw(i32::try_from(process).expect("the system numbers processes in 31 bits"));
    match kill(process, Signal::SIGKILL) {
        // Some end by themselves when the server does.
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(DevnetError::io("killing the server")(error.into())),
    }
}

/// The processes whose working directory `folder` is, as that of every process of a server is its data. It keeps that for longer than
/// the shared memory for which the next server would refuse to start.
fn working_in(folder: &Path) -> std::io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc")? {
        let process = process?;
        let Some(id) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that has ended meanwhile works nowhere, and others' are not for us to see.
        if std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == folder) {
            found.push(id);
        }
    }
    Ok(found)
}

async fn find_programs(surroundings: Surroundings, for_other: bool) -> Result<Programs, DevnetError> {
    tokio::task::spawn_blocking(move || Programs::find(&surroundings, for_other))
        .await
        .map_err(|error| DevnetError::io("looking for PostgreSQL")(error.into()))?
}

fn part(
    options: &PostgresOptions,
    origin: Option<&Origin>,
    user: Option<User>,
    bin: &Path,
) -> Result<Part, DevnetError> {
    let storage = if options.durable { Storage::Disk } else { Storage::Fastest };
    let base = account::base_folder(PART, storage, user.as_ref(), &options.surroundings)?;
    let promises = if options.durable { DURABLE } else { THROW_AWAY };
    let max_connections = format!("max_connections={}", options.max_connections);
    let settings = SETTINGS.iter().chain(promises).map(|setting| (*setting).to_owned());
    let settings = settings.chain(options.settings.iter().map(|setting| (*setting).to_owned()));
    let settings = settings.chain(options.archive.iter().flat_map(|archive| archiving(archive)));
    let settings = settings.chain(origin.into_iter().flat_map(Origin::settings));
    let mut environment = vec![("INITDB", bin.join("initdb"))];
    environment.extend(origin.into_iter().flat_map(Origin::environment));
    Ok(Part {
        name: PART,
        base,
        prefix: "laurel-postgres-",
        user,
        setup: origin.map_or(SETUP, |_| RESTORE),
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
