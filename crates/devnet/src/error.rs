//! What can go wrong while a part is started, used or ended.

use std::{io, path::PathBuf, time::Duration};

/// Why a part of the development network could not be had, used or ended.
#[derive(Debug, thiserror::Error)]
pub enum DevnetError {
    /// Nothing that could run this part is on the machine.
    #[error("{part} was not found ({tried}); install it with: {install}")]
    Missing {
        /// The part's name, as people say it.
        part: &'static str,
        /// Where we looked and why that was not enough.
        tried: String,
        /// The one command that installs it.
        install: String,
    },
    /// The pinned npm package could not be installed.
    #[error("{part} could not be installed from npm: {output}; try: {install}")]
    Npm {
        /// The part's name.
        part: &'static str,
        /// What npm, or the file system, had to say.
        output: String,
        /// The command that shows the trouble again.
        install: String,
    },
    /// PostgreSQL refuses to run as root, and there is nobody else to run it as.
    #[error(
        "PostgreSQL does not run as root, and neither `postgres` nor `nobody` is a user here; add one with: useradd --system postgres"
    )]
    NoAccount,
    /// The system's table of users could not be read.
    #[error("reading the table of users")]
    Accounts(#[source] nix::Error),
    /// No folder that the part's user could work in.
    #[error(
        "no folder for temporary files can be used by the user that runs {part} (tried {tried}); set TMPDIR to one that it can enter and write to"
    )]
    NoFolder {
        /// The part's name.
        part: &'static str,
        /// The folders that were tried.
        tried: String,
    },
    /// A call to the operating system failed.
    #[error("{operation}")]
    Io {
        /// What was being done.
        operation: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The part ended while it should have been starting.
    #[error("{part} ended while starting ({status}); the end of its log:\n{log}")]
    Ended {
        /// The part's name.
        part: &'static str,
        /// Which step ended, and how.
        status: String,
        /// The last lines of its output.
        log: String,
    },
    /// The part ran, and ended without having been asked to.
    #[error("{part} ended by itself ({status}); the end of its log:\n{log}")]
    Died {
        /// The part's name.
        part: &'static str,
        /// How it ended.
        status: String,
        /// The last lines of its output.
        log: String,
    },
    /// The server that we were given is not to be reached any more.
    #[error("PostgreSQL, the server of DATABASE_URL, does not answer any more")]
    ServerGone(#[source] sqlx::Error),
    /// The part did not answer in time.
    #[error("{part} was not ready after {} s ({waiting_for}); the end of its log:\n{log}", deadline.as_secs())]
    NotReady {
        /// The part's name.
        part: &'static str,
        /// What was waited for.
        waiting_for: String,
        /// For how long.
        deadline: Duration,
        /// The last lines of its output.
        log: String,
    },
    /// The part, or its folder, outlived the deadline for ending it.
    #[error("{part} did not end cleanly; its folder was {}", folder.display())]
    NotEnded {
        /// The part's name.
        part: &'static str,
        /// The folder that may still be there.
        folder: PathBuf,
    },
    /// `DATABASE_URL`, or an address made from it, is not a PostgreSQL address.
    #[error("DATABASE_URL is not the address of a PostgreSQL server")]
    DatabaseUrl(#[source] url::ParseError),
    /// A database name that we would have to quote.
    #[error("{0:?} is not a database name: use up to {max} of a-z, 0-9 and _", max = crate::postgres::NAME_CHARS_MAX)]
    DatabaseName(String),
    /// PostgreSQL refused a statement of ours.
    #[error("PostgreSQL: {operation}")]
    Sql {
        /// What was being done.
        operation: String,
        /// The driver's or the server's answer.
        #[source]
        source: sqlx::Error,
    },
    /// The migrations of a template database failed.
    #[error("migrating a template database")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// The development chain could not be asked.
    #[error("calling {method} on the development chain")]
    Rpc {
        /// The JSON-RPC method.
        method: &'static str,
        /// The client's error.
        #[source]
        source: reqwest::Error,
    },
    /// The development chain answered, but not what was asked for.
    #[error("the development chain refused {method}: {answer}")]
    RpcRefused {
        /// The JSON-RPC method.
        method: &'static str,
        /// Its answer.
        answer: String,
    },
    /// Asked for something that the development chain cannot express.
    #[error("{0}")]
    Unsupported(String),
}

impl DevnetError {
    pub(crate) fn io(operation: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let operation = operation.into();
        move |source| Self::Io { operation, source }
    }

    pub(crate) fn sql(operation: impl Into<String>) -> impl FnOnce(sqlx::Error) -> Self {
        let operation = operation.into();
        move |source| Self::Sql { operation, source }
    }
}
