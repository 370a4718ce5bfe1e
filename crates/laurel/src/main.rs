//! Laurel's binary: command line, configuration, wiring, lifecycle.
//!
//! ```text
//!   laurel all ──► Config ──► App (pools, nodes, wakes, metrics) ──► roles: api, campaign, grant-saga, chain-watcher, …
//!                                                                └──► ops: /healthz, /readyz, /metrics
//! ```
//!
//! Business rules live in the other crates; here they are only given what they need and kept running.

mod app;
mod books;
mod cli;
mod commands;
mod config;
mod connect;
mod environment;
mod gauges;
mod logging;
mod ops;
mod pipeline;
mod roles;
mod schedule;
mod secret;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;

/// Exit code of a failure or a finding; clap itself exits with 2 on wrong usage.
const FAILURE: u8 = 1;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // Log lines would tear the demo's display; what goes wrong is worth it.
    let level = if matches!(cli.command, cli::Command::Demo(_)) { "warn" } else { "info" };
    logging::init(cli.log_format, level);
    match commands::run(cli).await {
        Ok(commands::Outcome::Fine) => ExitCode::SUCCESS,
        Ok(commands::Outcome::Finding) => ExitCode::from(FAILURE),
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "laurel stops");
            ExitCode::from(FAILURE)
        }
    }
}
