//! A base backup of a running cluster, and a cluster restored from one to a moment of its past.

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
pub(super) const RESTORE: &str = r#"cp -R "$BASE" data && chmod 700 data && : > data/recovery.signal"#;

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

impl Restored {
    pub(super) fn settings(&self) -> Vec<String> {
        vec![
            format!("restore_command=cp {}/%f %p", self.archive.display()),
            format!("recovery_target_name={}", self.to),
            "recovery_target_action=promote".to_owned(),
        ]
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
        let cluster = Cluster::start(options, Some(restored)).await?;
        let postgres = Self { place: Place::Cluster(cluster) };
        let url = postgres.maintenance_url();
        let promoted = async {
            let mut session = PgConnection::connect(&url).await?;
            while sqlx::query_scalar::<_, bool>("SELECT pg_is_in_recovery()").fetch_one(&mut session).await? {
                sleep(LOOK_INTERVAL).await;
            }
            session.close().await
        };
        match timeout(REPLAYED_WITHIN, promoted).await {
            Ok(promoted) => promoted.map_err(DevnetError::sql("waiting for the end of a restore"))?,
            Err(_elapsed) => {
                return Err(DevnetError::io("restoring a cluster")(io::Error::other("it does not end")));
            }
        }
        Ok(postgres)
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
