//! Laurel's binary: command line, configuration, wiring, lifecycle.
//!
//! ```text
//!   laurel all ──► Config ──► App (pools, nodes, wakes, metrics) ──► roles: api, campaign, grant-saga, chain-watcher, …
//!                                                                └──► ops: /healthz, /readyz, /metrics
//! ```
//!
//! Business rules live in the other crates; here they are only given what they need and kept running.

mod app;
mod cli;
mod commands;
mod config;
mod connect;
mod environment;
mod files;
mod gauges;
mod logging;
mod names;
mod ops;
mod output;
mod pipeline;
mod roles;
mod schedule;
mod secret;
mod skew;
mod stop;

use std::{process::ExitCode, time::Duration};

use clap::Parser;

use crate::cli::Cli;

// A build of the whole workspace has the simulator's features in every crate.
const _: () = assert!(
    !laurel_ledger::HAS_FAULTS || cfg!(debug_assertions),
    "bugs could be planted in this release: build it by itself, with `cargo build --release -p laurel`",
);

/// Exit code of a failure or a finding; clap itself exits with 2 on wrong usage.
const FAILURE: u8 = 1;

/// How long whatever blocks a thread may take to end after everything else, such as a child that installs a part.
const THREADS_TIMEOUT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::note(&format!("the runtime cannot be started: {error}"));
            return ExitCode::from(FAILURE);
        }
    };
    let code = runtime.block_on(run());
    runtime.shutdown_timeout(THREADS_TIMEOUT);
    code
}

async fn run() -> ExitCode {
    // First of all: what has been begun is ended in order from here on.
    let stop = match stop::on_signals() {
        Ok(stop) => stop,
        Err(error) => {
            output::note(&format!("signals cannot be heard: {error}"));
            return ExitCode::from(FAILURE);
        }
    };
    let cli = Cli::parse();
    // Log lines would tear the demo's display; what goes wrong is worth it.
    let level = if matches!(cli.command, cli::Command::Demo(_)) { "warn" } else { "info" };
    logging::init(cli.log_format, level);
    match commands::run(cli, &stop).await {
        Ok(commands::Outcome::Fine) => ExitCode::SUCCESS,
        Ok(commands::Outcome::Finding) => ExitCode::from(FAILURE),
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "laurel stops");
            ExitCode::from(FAILURE)
        }
    }
}
