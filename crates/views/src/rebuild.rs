//! A view is built anew beside the one that is in use, and takes its place when it is level.
//!
//! ```text
//!   journal ──► stage ──────────► public.view ───────────► whoever reads it
//!        ╰────► the same stage ─► rebuilding.view ─ level: one transaction swaps them
//! ```
//!
//! The same statements write both: only the schema that is looked in first differs. Nobody waits, but for the moment of the swap.

use chrono::{DateTime, Utc};
use laurel_bus::{Stage, StageError};
use laurel_events::Partition;
use laurel_ledger::{LedgerError, cursor_position, lock_cursors, read};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::{CampaignStatsStage, HistoryStage, WalletLinksStage, history, stats, wallets};

/// A view that is a projection of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// What became of the outcomes that campaigns met.
    CampaignStats,
    /// The steps of grants and batches.
    TransactionHistory,
    /// Whose a wallet is, or was.
    WalletLinks,
}

impl View {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::CampaignStats, Self::TransactionHistory, Self::WalletLinks];

    /// Its name, and its stage's.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CampaignStats => stats::NAME,
            Self::TransactionHistory => history::NAME,
            Self::WalletLinks => wallets::NAME,
        }
    }

    const fn tables(self) -> &'static [&'static str] {
        match self {
            Self::CampaignStats => stats::TABLES,
            Self::TransactionHistory => history::TABLES,
            Self::WalletLinks => wallets::TABLES,
        }
    }

    fn stage(self) -> &'static dyn Stage {
        match self {
            Self::CampaignStats => &CampaignStatsStage,
            Self::TransactionHistory => &HistoryStage,
            Self::WalletLinks => &WalletLinksStage,
        }
    }
}

/// What came of building a view anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// How many events it was built from.
    pub events: u64,
    /// How many rows it has.
    pub rows: u64,
    /// How many rows the one before had that this one has not, or the other way round: where nothing was wrong, none.
    pub different: u64,
}

/// Serialises rebuilding: whoever holds it is the only one. "rebuild" in ASCII.
const LOCK: i64 = 0x72_6562_7569_6c64;

/// Why a view is not built anew.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Another process is building one.
    #[error("another process is building a view anew")]
    Busy,
    /// The stage.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The database.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<sqlx::Error> for RebuildError {
    fn from(error: sqlx::Error) -> Self {
        Self::Ledger(error.into())
    }
}

/// Builds a view anew from the journal and puts it in the place of the one before. `conn` is used for nothing else afterwards.
///
/// # Errors
/// If another process does it, an event cannot be handled, or the database does not answer; nothing is changed then.
pub async fn rebuild(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    view: View,
) -> Result<Rebuilt, RebuildError> {
    let free =
        sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1) AS "free!""#, LOCK).fetch_one(&mut *conn);
    if !free.await? {
        return Err(RebuildError::Busy);
    }
    // What the command is for takes as long as the journal is long.
    sqlx::raw_sql("SET search_path = rebuilding, public; SET statement_timeout = 0")
        .execute(&mut *conn)
        .await?;
    let built = build(conn, now, view).await;
    for table in view.tables() {
        let drop = format!("DROP TABLE IF EXISTS rebuilding.{table}");
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut *conn).await?;
    }
    sqlx::query!("SELECT pg_advisory_unlock($1)", LOCK).fetch_one(&mut *conn).await?;
    built
}

/// Where the new view stands in each partition.
struct Builder {
    view: View,
    now: DateTime<Utc>,
    next: Vec<(Partition, i64)>,
    events: u64,
}

async fn build(conn: &mut PgConnection, now: DateTime<Utc>, view: View) -> Result<Rebuilt, RebuildError> {
    for table in view.tables() {
        let make = format!(
            "DROP TABLE IF EXISTS rebuilding.{table}; CREATE TABLE rebuilding.{table} (LIKE public.{table} INCLUDING ALL)"
        );
        sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut *conn).await?;
        // LIKE leaves them out.
        let options = sqlx::query_scalar!(
            r#"SELECT unnest(reloptions) AS "option!" FROM pg_class WHERE oid = ('public.' || $1)::regclass"#,
            *table,
        );
        for option in options.fetch_all(&mut *conn).await? {
            let set = format!("ALTER TABLE rebuilding.{table} SET ({option})");
            sqlx::raw_sql(AssertSqlSafe(set)).execute(&mut *conn).await?;
        }
    }
    let next = Partition::all().map(|partition| (partition, 0)).collect();
    let mut builder = Builder { view, now, next, events: 0 };
    // As far as the view in use is. What that handles meanwhile is little: the second time this one is nearly level.
    for _ in 0..2 {
        for partition in Partition::all() {
            let live = cursor_position(conn, view.as_str(), partition).await?;
            builder.go_on(conn, partition, live).await?;
        }
    }
    builder.swap(conn).await
}

impl Builder {
    /// Handles a partition's events up to `to`, batch by batch, as the stage's runner would.
    async fn go_on(
        &mut self,
        conn: &mut PgConnection,
        partition: Partition,
        to: i64,
    ) -> Result<(), RebuildError> {
        let stage = self.view.stage();
        let at = self.next.iter_mut().find(|(of, _)| *of == partition).map(|(_, next)| next);
        let Some(at) = at else { return Ok(()) };
        while *at < to {
            let mut tx = conn.begin().await?;
            let (events, next) = read(&mut tx, partition, *at, to, stage.kinds(), stage.events_max()).await?;
            if !events.is_empty() {
                stage.handle(&mut tx, self.now, &events).await?;
            }
            tx.commit().await?;
            self.events += events.len() as u64;
            *at = next;
        }
        Ok(())
    }

    /// Holds the stage where it is, goes on to there, and changes places.
    async fn swap(mut self, conn: &mut PgConnection) -> Result<Rebuilt, RebuildError> {
        let name = self.view.as_str();
        let mut tx = conn.begin().await?;
        // Whoever reads for long must not have everybody else wait behind the swap: then it is done another time.
        sqlx::query("SET LOCAL lock_timeout = '10s'").execute(&mut *tx).await?;
        lock_cursors(&mut tx, name).await?;
        for partition in Partition::all() {
            let live = cursor_position(&mut tx, name, partition).await?;
            self.go_on(&mut tx, partition, live).await?;
        }
        let (mut rows, mut different) = (0, 0);
        for table in self.view.tables() {
            let count = format!(
                "SELECT (SELECT count(*) FROM rebuilding.{table}),
                        (SELECT count(*) FROM (TABLE public.{table} EXCEPT TABLE rebuilding.{table}) a)
                        + (SELECT count(*) FROM (TABLE rebuilding.{table} EXCEPT TABLE public.{table}) b)"
            );
            let (new, differ): (i64, i64) = sqlx::query_as(AssertSqlSafe(count)).fetch_one(&mut *tx).await?;
            (rows, different) = (rows + new.unsigned_abs(), different + differ.unsigned_abs());
            let swap = format!("DROP TABLE public.{table}; ALTER TABLE rebuilding.{table} SET SCHEMA public");
            sqlx::raw_sql(AssertSqlSafe(swap)).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(Rebuilt { events: self.events, rows, different })
    }
}
