//! The PostgreSQL of a worker: one cluster, one database, a connection for each seat, made clean between worlds.

use anyhow::Context;
use laurel_devnet::{Postgres, PostgresOptions};
use laurel_ledger::{MIGRATOR, ensure_ranges};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::moments;

/// The voids that count, as the auditor sees it: the product's own view may be wrong.
const AUDITED_VOIDS: &str = "CREATE VIEW audited_voids AS SELECT * FROM
     (SELECT DISTINCT ON (campaign, number) * FROM voids ORDER BY campaign, number, turn DESC) v WHERE turn % 2 = 0";

/// The database's name.
const NAME: &str = "sim";

/// Statements are planned the same way every time, and nothing but the scheduler decides what happens when.
const SETTINGS: [&str; 8] = [
    "ALTER DATABASE sim SET plan_cache_mode = force_generic_plan",
    // Plans outlive the world that they were made in, so they must not depend on how full its tables were.
    "ALTER DATABASE sim SET enable_seqscan = off",
    // Where there is no other way, what is then called dear would be done by processes of its own.
    "ALTER DATABASE sim SET max_parallel_workers_per_gather = 0",
    // The scheduler sees who waits for whom, and PostgreSQL must not choose a victim by the clock.
    "ALTER DATABASE sim SET deadlock_timeout = '1h'",
    "ALTER DATABASE sim SET jit = off",
    // Nobody looks at what sessions do, by their processes' titles or otherwise.
    "ALTER DATABASE sim SET update_process_title = off",
    "ALTER DATABASE sim SET track_activities = off",
    "ALTER DATABASE sim SET track_counts = off",
];

/// After so many worlds what they have deleted is cleaned up. Sessions plan everything again then.
pub(crate) const WORLDS_PER_VACUUM: u32 = 64;

/// Connections of a reconciliation.
const AUDITORS: u32 = 3;

/// Sessions of a cluster: seats, the auditor's, and one to look from outside.
const SESSIONS_MAX: u16 = 60;

/// One connection, for whoever sits there: transactions of different seats are open side by side.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) pool: PgPool,
    /// The server's process, by which it is known who waits for whom.
    pub(crate) backend: i32,
}

/// A cluster with a database in it.
#[derive(Debug)]
pub(crate) struct Database {
    /// Looks at the others, and never has a transaction open while they go on.
    pub(crate) outside: PgPool,
    /// For a reconciliation, which needs several connections at once.
    pub(crate) auditors: PgPool,
    seats: Vec<Seat>,
    options: PgConnectOptions,
    postgres: Postgres,
    /// How many worlds it had since it was cleaned up.
    pub(crate) worlds: u32,
}

impl Database {
    /// Starts a cluster and makes the schema.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let mut options = PostgresOptions { max_connections: SESSIONS_MAX, ..PostgresOptions::throw_away() };
        // Worlds of one server would disturb each other.
        options.surroundings.database_url = None;
        let postgres = Postgres::start(options).await?;
        postgres.create_database(NAME, None).await?;
        let url = postgres.url(NAME);
        let mut session = PgConnection::connect(&url).await?;
        for setting in SETTINGS {
            session.execute(AssertSqlSafe(setting)).await?;
        }
        MIGRATOR.run(&mut session).await?;
        session.execute(AUDITED_VOIDS).await?;
        ensure_ranges(&mut session).await?;
        moments::prepare(&mut session).await?;
        session.close().await?;
        let options: PgConnectOptions = url.parse()?;
        let outside = one_connection(&options).await?.pool;
        let auditors = pool(&options, AUDITORS).await?;
        Ok(Self { outside, auditors, seats: Vec::new(), options, postgres, worlds: 0 })
    }

    /// The seat of that number.
    pub(crate) async fn seat(&mut self, number: usize) -> anyhow::Result<Seat> {
        while self.seats.len() <= number {
            self.seats.push(one_connection(&self.options).await?);
        }
        Ok(self.seats[number].clone())
    }

    /// Whose transactions keep a seat waiting.
    pub(crate) async fn blockers(&self, seat: &Seat) -> anyhow::Result<Vec<i32>> {
        let blockers: Vec<i32> = sqlx::query_scalar("SELECT pg_blocking_pids($1)")
            .bind(seat.backend)
            .fetch_one(&self.outside)
            .await?;
        Ok(blockers)
    }

    /// Ends what a seat waits for with an error.
    pub(crate) async fn cancel(&self, seat: &Seat) -> anyhow::Result<()> {
        sqlx::query("SELECT pg_cancel_backend($1)").bind(seat.backend).execute(&self.outside).await?;
        Ok(())
    }

    /// Ends the cluster.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        for seat in &self.seats {
            seat.pool.close().await;
        }
        self.outside.close().await;
        self.auditors.close().await;
        self.postgres.stop().await.context("the cluster stops")
    }
}

impl Seat {
    /// Waits until nothing of a task that ended, or was given up, is left in the server: its connection is back, rolled back.
    ///
    /// # Errors
    /// If the connection is lost.
    pub(crate) async fn settle(&self) -> anyhow::Result<()> {
        drop(self.pool.acquire().await?);
        Ok(())
    }
}

async fn pool(options: &PgConnectOptions, connections: u32) -> anyhow::Result<PgPool> {
    let options = options.clone().disable_statement_logging();
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options)
        .await?;
    Ok(pool)
}

async fn one_connection(options: &PgConnectOptions) -> anyhow::Result<Seat> {
    let pool = pool(options, 1).await?;
    let backend = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&pool).await?;
    Ok(Seat { pool, backend })
}
