//! A database per test, copied from a migrated template, in one cluster per test process.
//!
//! Tests come with runtimes of their own that end before the process does, so nothing here belongs to one: the cluster's
//! keeper hangs on the process, and each statement has a session of its own.

use std::{
    collections::HashMap,
    ptr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sqlx::{
    Connection as _, PgConnection, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::sync::OnceCell;

use crate::{DevnetError, Postgres, PostgresOptions, detached::block_on};

/// Enough for a test with a handful of replicas; the cluster has room for sixty such tests at once.
const POOL_SESSIONS_MAX: u32 = 10;

/// Dropping takes milliseconds; a machine under full load, seconds.
const DROP_DEADLINE: Duration = Duration::from_secs(30);

/// The process's cluster; it goes when the process goes, because that breaks its keeper's pipe.
static CLUSTER: OnceCell<Postgres> = OnceCell::const_new();

/// The template of each migrator, by the migrator's address: they are statics.
static TEMPLATES: Mutex<Option<HashMap<usize, Arc<OnceCell<String>>>>> = Mutex::new(None);

/// Numbers the databases and templates of this process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A migrated database that one test has for itself. Dropping it drops the database.
#[derive(Debug)]
pub struct TestDatabase {
    cluster: &'static Postgres,
    name: String,
    url: String,
    pool: PgPool,
}

impl TestDatabase {
    /// Creates a database in which `migrator` has run.
    ///
    /// # Panics
    ///
    /// When there is no PostgreSQL to be had, or the migrations fail: the test could say nothing then.
    pub async fn create(migrator: &'static Migrator) -> Self {
        match Self::try_create(migrator).await {
            Ok(database) => database,
            #[expect(
                clippy::panic,
                reason = "a test without its database has failed, and the message says why"
            )]
            Err(error) => panic!("no test database: {}", with_sources(&error)),
        }
    }

    /// A pool on the database, for the runtime that created it.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The database's address, for processes and pools of the test's own.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Another database with what this one holds now, as a backup of it would have. This one must have no sessions.
    ///
    /// # Panics
    ///
    /// When it cannot be copied: the test could say nothing then.
    pub async fn copy(&self) -> Self {
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        match self
            .cluster
            .create_database(&name, Some(&self.name))
            .await
            .and_then(|()| Self::of(self.cluster, name))
        {
            Ok(copy) => copy,
            #[expect(
                clippy::panic,
                reason = "a test without its database has failed, and the message says why"
            )]
            Err(error) => panic!("no copy of a test database: {}", with_sources(&error)),
        }
    }

    async fn try_create(migrator: &'static Migrator) -> Result<Self, DevnetError> {
        let cluster = CLUSTER.get_or_try_init(|| Postgres::start(PostgresOptions::throw_away())).await?;
        let template = template(cluster, migrator).await?;
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        cluster.create_database(&name, Some(&template)).await?;
        Self::of(cluster, name)
    }

    /// The database of that name, which the caller has created.
    fn of(cluster: &'static Postgres, name: String) -> Result<Self, DevnetError> {
        let url = cluster.url(&name);
        let options: PgConnectOptions = url.parse().map_err(DevnetError::sql("its own address"))?;
        let pool = PgPoolOptions::new().max_connections(POOL_SESSIONS_MAX).connect_lazy_with(options);
        Ok(Self { cluster, name, url, pool })
    }
}

impl Drop for TestDatabase {
    /// Waits until the database is gone, on a runtime of its own: the test's may be ending.
    fn drop(&mut self) {
        let (cluster, name) = (self.cluster, self.name.clone());
        let dropped =
            block_on(
                "dropping a test database",
                DROP_DEADLINE,
                async move { cluster.drop_database(&name).await },
            );
        if let Err(error) = dropped {
            tracing::error!(error = %error, database = self.name, "a test database is left");
        }
    }
}

/// The migrator's template, made by whichever test comes first.
async fn template(cluster: &Postgres, migrator: &'static Migrator) -> Result<String, DevnetError> {
    let key = ptr::from_ref(migrator).addr();
    let cell = {
        let mut templates = TEMPLATES.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(templates.get_or_insert_default().entry(key).or_default())
    };
    cell.get_or_try_init(|| async {
        let name = format!("template_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        cluster.create_database(&name, None).await?;
        let mut session =
            PgConnection::connect(&cluster.url(&name)).await.map_err(DevnetError::sql("connecting"))?;
        migrator.run(&mut session).await.map_err(DevnetError::Migrate)?;
        session.close().await.map_err(DevnetError::sql("closing a session"))?;
        Ok(name)
    })
    .await
    .cloned()
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
