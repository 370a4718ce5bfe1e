//! A server that we were given: our databases in it carry a prefix of their own and go when we go.
//!
//! A process that was killed cannot drop anything. Its databases are recognised by their prefix, which its session no
//! longer shows in `pg_stat_activity`, and the next one to connect drops them.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::time::{MissedTickBehavior, interval};
use url::Url;

use crate::{detached::block_on, error::DevnetError};

use super::execute;

/// Dropping a small database takes milliseconds, but waits for a checkpoint that is being made.
const DROP_DEADLINE: Duration = Duration::from_secs(30);

/// How often a server that we were given is looked at: a session a second is nothing to it.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// After so many refusals in a row it is gone: a restart takes a second or two.
const REFUSALS_MAX: u32 = 5;

/// "object_in_use": somebody has a session in that database.
const OBJECT_IN_USE: &str = "55006";

#[derive(Debug)]
pub(super) struct Server {
    url: Url,
    prefix: String,
    /// Names, without the prefix, of what may exist.
    databases: Mutex<BTreeSet<String>>,
    /// Shows, for as long as it is open, that the owner of this prefix lives.
    sign_of_life: Option<PgConnection>,
}

impl Server {
    pub(super) async fn connect(url: &str) -> Result<Self, DevnetError> {
        let url = Url::parse(url).map_err(DevnetError::DatabaseUrl)?;
        let mut session = PgConnection::connect(url.as_str())
            .await
            .map_err(DevnetError::sql("connecting to DATABASE_URL"))?;
        let prefix =
            register(&mut session).await.map_err(DevnetError::sql("registering as a user of the server"))?;
        drop_abandoned(&mut session).await?;
        Ok(Self { url, prefix, databases: Mutex::default(), sign_of_life: Some(session) })
    }

    pub(super) fn real_name(&self, name: &str) -> String {
        format!("{}_{name}", self.prefix)
    }

    pub(super) fn url(&self, name: &str) -> String {
        let mut url = self.url.clone();
        url.set_path(&self.real_name(name));
        url.into()
    }

    pub(super) fn maintenance_url(&self) -> String {
        self.url.clone().into()
    }

    /// Waits until the server cannot be reached, several times in a row: one refusal may be a server with all its
    /// sessions taken, or one that is started again.
    pub(super) async fn gone(&self) -> DevnetError {
        let mut look = interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut refusals = 0;
        loop {
            look.tick().await;
            match PgConnection::connect(&self.maintenance_url()).await {
                Ok(session) => {
                    refusals = 0;
                    // Whether it closes well tells nothing that the next look would not.
                    let _ = session.close().await;
                }
                Err(error) => {
                    refusals += 1;
                    if refusals == REFUSALS_MAX {
                        return DevnetError::ServerGone(error);
                    }
                }
            }
        }
    }

    pub(super) fn note(&self, name: &str) {
        self.databases.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    }

    pub(super) fn forget(&self, name: &str) {
        self.databases.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    pub(super) async fn stop(mut self) -> Result<(), DevnetError> {
        drop_all(&self.maintenance_url(), self.take_real_names()).await?;
        match self.sign_of_life.take() {
            Some(session) => session.close().await.map_err(DevnetError::sql("closing a session")),
            None => Ok(()),
        }
    }

    fn take_real_names(&mut self) -> Vec<String> {
        let names = std::mem::take(self.databases.get_mut().unwrap_or_else(PoisonError::into_inner));
        names.iter().map(|name| self.real_name(name)).collect()
    }
}

impl Drop for Server {
    /// Has a runtime of its own, because the one around it may be ending, and blocks until it is done.
    fn drop(&mut self) {
        let names = self.take_real_names();
        if names.is_empty() {
            return;
        }
        let url = self.maintenance_url();
        let dropped =
            block_on("dropping our databases", DROP_DEADLINE, async move { drop_all(&url, names).await });
        if let Err(error) = dropped {
            tracing::error!(error = %error, "databases of ours are left; the next start drops them");
        }
    }
}

/// Takes a prefix that nobody has and shows it.
async fn register(session: &mut PgConnection) -> Result<String, sqlx::Error> {
    // 64 bits from the server's generator of random uuids: there is no need to ask whether somebody has the same.
    let (prefix,): (String,) =
        sqlx::query_as("SELECT 'laurel_' || left(replace(gen_random_uuid()::text, '-', ''), 16)")
            .fetch_one(&mut *session)
            .await?;
    session.execute(AssertSqlSafe(format!("SET application_name = '{prefix}'"))).await?;
    Ok(prefix)
}

/// Drops databases of this role whose owners have gone. One that is in use after all stays.
async fn drop_abandoned(session: &mut PgConnection) -> Result<(), DevnetError> {
    // Databases come from the statement's snapshot, sessions are read after it was taken: the session of whoever
    // created a database that we see is older than both.
    let abandoned: Vec<(String,)> = sqlx::query_as(
        "SELECT datname::text FROM pg_database
         WHERE datname ~ '^laurel_[0-9a-f]{16}_[a-z0-9_]+$'
           AND datdba = (SELECT oid FROM pg_roles WHERE rolname = current_user)
           AND left(datname::text, 23) NOT IN (SELECT application_name FROM pg_stat_activity
                                               WHERE application_name IS NOT NULL)",
    )
    .fetch_all(&mut *session)
    .await
    .map_err(DevnetError::sql("looking for abandoned databases"))?;
    for (name,) in abandoned {
        match session.execute(AssertSqlSafe(format!(r#"DROP DATABASE IF EXISTS "{name}""#))).await {
            Ok(_) => {}
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(OBJECT_IN_USE) => {}
            Err(error) => return Err(DevnetError::sql(format!("dropping the abandoned {name}"))(error)),
        }
    }
    Ok(())
}

async fn drop_all(url: &str, names: Vec<String>) -> Result<(), DevnetError> {
    for name in names {
        execute(url, format!(r#"DROP DATABASE IF EXISTS "{name}" WITH (FORCE)"#)).await?;
    }
    Ok(())
}
