//! Measurements of the product as it is shipped: real processes, a real PostgreSQL, HTTP.
//!
//! ```text
//!   bench history ──► PostgreSQL, filled with grants ◄── laurel api ◄── pages and exports, timed one by one
//!   bench rules                                                    rules, evaluated here
//!   bench api ──────► PostgreSQL, filled with grants ◄── laurel api, campaign, views ◄── thousands of connections, at a rate
//! ```
//!
//! Every figure is printed with the bound that it is to keep; a bound that is broken ends the program with 1. `--json` keeps them.
#![allow(clippy::print_stdout, reason = "figures are what it is for")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

mod api;
mod binary;
mod figures;
mod history;
mod rules;
mod server;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};

use self::figures::Figures;

#[derive(Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// The `laurel` that is measured; that of this checkout without.
    #[arg(long, global = true)]
    laurel: Option<PathBuf>,
    /// A file for the figures.
    #[arg(long, global = true)]
    json: Option<PathBuf>,
}

#[derive(Subcommand)]
enum What {
    /// Pages of history, and exports, among many grants.
    History(history::Arguments),
    /// The interface under load, four of five requests reads.
    Api(api::Arguments),
    /// Evaluations of rules.
    Rules,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let laurel = || binary::find(arguments.laurel.as_deref());
    let runtime = tokio::runtime::Runtime::new().context("starting a runtime")?;
    let figures: Figures = match &arguments.what {
        What::History(history) => runtime.block_on(history::run(&laurel()?, history))?,
        What::Api(api) => runtime.block_on(api::run(&laurel()?, api))?,
        What::Rules => rules::run()?,
    };
    println!("{figures}");
    if let Some(file) = arguments.json {
        let json = serde_json::to_vec_pretty(&figures).context("writing the figures")?;
        std::fs::write(&file, json).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(if figures.keep_their_bounds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
