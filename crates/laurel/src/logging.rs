//! Logs on stderr, for people or for machines.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    #[default]
    Text,
}

/// What the server notices of a step that was dropped: the driver rolls back what had not begun.
const NOTICES: &str = "sqlx::postgres::notice=error";

/// Begins to log. RUST_LOG says what; without it, `default` and above.
pub(crate) fn init(format: LogFormat, default: &str) {
    let default = format!("{default},{NOTICES}");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(std::io::stderr)).init(),
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal();
            registry.with(fmt::layer().compact().with_ansi(colours).with_writer(std::io::stderr)).init();
        }
    }
}
