//! A base backup of a running cluster, and what is made from one: a cluster restored to a moment of its past, and one that follows.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use sqlx::{Connection as _, PgConnection};
use tokio::time::{sleep, timeout};

use super::{Place, Postgres, PostgresOptions, cluster::Cluster};
use crate::error::DevnetError;

/// Instead of `initdb`.
pub(super) const RESTORE: &str = r#"cp -R "$BASE" data && chmod 700 data && : > "data/$SIGNAL" && echo "$FOLLOWS" >> data/postgresql.auto.conf"#;

/// Replaying what a test has written takes a second; a loaded machine, ten times that.
const REPLAYED_WITHIN: Duration = Duration::from_secs(60);

/// How often is looked whether it has.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What is left out of a base backup: the log comes from the archive, and the rest belongs to the running server.
const LEFT_OUT: &str = "rm -rf pg_wal/* postmaster.pid postmaster.opts";

/// From where, and to which moment, a cluster is restored.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The base backup.
    pub base: PathBuf,
    /// The archive of the write-ahead log.
    pub archive: PathBuf,
    /// The name of the restore point.
    pub to: String,
}

/// What a cluster begins as that is not made anew.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// As another one was at a moment of its past.
    Moment(Restored),
    /// As a standby, from a base backup, of the primary whose socket is in that folder.
    Primary { base: PathBuf, folder: PathBuf },
}

impl Origin {
    pub(super) fn environment(&self) -> [(&'static str, PathBuf); 3] {
        let (base, signal, follows) = match self {
            Self::Moment(restored) => (&restored.base, "recovery.signal", String::new()),
            Self::Primary { base, folder } => {
                let whom = format!("primary_conninfo = 'host={} port=5432 user=postgres'", folder.display());
                (base, "standby.signal", whom)
            }
        };
        [("BASE", base.clone()), ("SIGNAL", signal.into()), ("FOLLOWS", follows.into())]
    }

    pub(super) fn settings(&self) -> Vec<String> {
        match self {
            Self::Moment(restored) => vec![
                format!("restore_command=cp {}/%f %p", restored.archive.display()),
                format!("recovery_target_name={}", restored.to),
                "recovery_target_action=promote".to_owned(),
            ],
            Self::Primary { .. } => Vec::new(),
        }
    }
}

/// Has every finished piece of the log be copied there. A piece is never overwritten.
pub(super) fn archiving(archive: &Path) -> Vec<String> {
    let archive = archive.display();
    vec![
        "wal_level=replica".to_owned(),
        "archive_mode=on".to_owned(),
        format!("archive_command=test ! -f {archive}/%f && cp %p {archive}/%f"),
    ]
}

impl Postgres {
    /// Copies a running cluster of ours into the new folder `to`: with the log that is archived from then on, all that a
    /// cluster is restored from. Needs PostgreSQL 15.
    ///
    /// # Errors
    ///
    /// When the server is not ours, refuses, or its files cannot be copied.
    pub async fn base_backup(&self, to: &Path) -> Result<(), DevnetError> {
        let folder = self
            .folder()
            .ok_or_else(|| DevnetError::io("a base backup")(io::Error::other("the server is not ours")))?;
        let (data, to) = (folder.join("data"), to.to_owned());
        let mut session = PgConnection::connect(&self.maintenance_url())
            .await
            .map_err(DevnetError::sql("connecting for a base backup"))?;
        let _: String = sqlx::query_scalar("SELECT pg_backup_start('base', true)::text")
            .fetch_one(&mut session)
            .await
            .map_err(DevnetError::sql("beginning a base backup"))?;
        let copied = to.clone();
        tokio::task::spawn_blocking(move || copy(&data, &copied))
            .await
            .map_err(|error| DevnetError::io("a base backup")(error.into()))??;
        let label: String = sqlx::query_scalar("SELECT labelfile FROM pg_backup_stop(false)")
            .fetch_one(&mut session)
            .await
            .map_err(DevnetError::sql("ending a base backup"))?;
        std::fs::write(to.join("backup_label"), label)
            .map_err(DevnetError::io("writing a backup's label"))?;
        session.close().await.map_err(DevnetError::sql("closing a session"))
    }

    /// Starts a cluster that is what another one was at a moment of its past, and returns when it takes writes.
    ///
    /// # Errors
    ///
    /// When it does not get there in time.
    pub async fn restore(options: &PostgresOptions, restored: &Restored) -> Result<Self, DevnetError> {
        let cluster = Cluster::start(options, Some(Origin::Moment(restored.clone()))).await?;
        let postgres = Self { place: Place::Cluster(cluster) };
        postgres.until("SELECT NOT pg_is_in_recovery()").await?;
        Ok(postgres)
    }

    /// Starts a standby of this cluster from a base backup of it, and returns when it follows, as a stream, everything that is
    /// committed here. Nothing here waits for it.
    ///
    /// # Errors
    ///
    /// When this server is not ours, or the standby does not get there in time.
    pub async fn standby(&self, options: &PostgresOptions, base: &Path) -> Result<Self, DevnetError> {
        let folder = self
            .folder()
            .ok_or_else(|| DevnetError::io("a standby")(io::Error::other("the server is not ours")))?;
        let origin = Origin::Primary { base: base.to_owned(), folder: folder.to_owned() };
        let standby = Self { place: Place::Cluster(Cluster::start(options, Some(origin)).await?) };
        standby.until("SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')").await?;
        Ok(standby)
    }

    /// Has a standby hear nothing more of its primary.
    ///
    /// # Errors
    ///
    /// When it does not answer, or goes on hearing.
    pub async fn cut_off(&self) -> Result<(), DevnetError> {
        self.execute("ALTER SYSTEM SET primary_conninfo = ''".to_owned()).await?;
        self.execute("SELECT pg_reload_conf()".to_owned()).await?;
        self.until("SELECT NOT EXISTS (SELECT FROM pg_stat_wal_receiver)").await
    }

    /// Makes a standby a primary, and returns when it takes writes.
    ///
    /// # Errors
    ///
    /// When it does not get there in time.
    pub async fn promote(&self) -> Result<(), DevnetError> {
        self.execute("SELECT pg_promote()".to_owned()).await?;
        self.until("SELECT NOT pg_is_in_recovery()").await
    }

    /// Waits until `condition` holds.
    async fn until(&self, condition: &'static str) -> Result<(), DevnetError> {
        let url = self.maintenance_url();
        let holds = async {
            let mut session = PgConnection::connect(&url).await?;
            while !sqlx::query_scalar::<_, bool>(condition).fetch_one(&mut session).await? {
                sleep(LOOK_INTERVAL).await;
            }
            session.close().await
        };
        match timeout(REPLAYED_WITHIN, holds).await {
            Ok(held) => held.map_err(DevnetError::sql("waiting for a copy of a cluster")),
            Err(_elapsed) => Err(DevnetError::io("a copy of a cluster")(io::Error::other(format!(
                "{condition} stays false"
            )))),
        }
    }
}

/// Everybody may read the copy: whoever starts a server from it may be another user than we are.
fn copy(data: &Path, to: &Path) -> Result<(), DevnetError> {
    let script = format!(r#"cp -R "$1" "$2" && cd "$2" && {LEFT_OUT} && chmod -R a+rX ."#);
    let copied = Command::new("/bin/sh").args(["-c", &script, "copy"]).arg(data).arg(to).status();
    match copied {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(DevnetError::io("copying a cluster")(io::Error::other("cp failed"))),
        Err(error) => Err(DevnetError::io("copying a cluster")(error)),
    }
}
