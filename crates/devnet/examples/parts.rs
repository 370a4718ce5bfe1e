//! Starts both parts, prints where they are as one line of JSON, and waits to be ended, or panics at the end of its input.
//!
//!     cargo run -p laurel-devnet --example parts [-- [durable] [panic]]

use std::{env, future, io};

use anyhow::{Context as _, Result};
use laurel_devnet::{Anvil, AnvilOptions, Mining, Postgres, PostgresOptions};
use serde_json::json;

#[expect(clippy::print_stdout, reason = "the line is what this program is for")]
#[expect(clippy::panic, reason = "asked for: what a panic leaves behind is a test's question")]
#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let said = |word: &str| words.iter().any(|said| said == word);
    let options = if said("durable") { PostgresOptions::durable() } else { PostgresOptions::throw_away() };
    let postgres = Postgres::start(options).await?;
    let anvil = Anvil::start(AnvilOptions::new(Mining::EachTransaction)).await?;
    postgres.create_database("parts", None).await?;
    let parts = json!({
        "database_url": postgres.url("parts"),
        "rpc_url": anvil.rpc_url(),
        "process_ids": [postgres.process_id().context("a cluster of our own")?, anvil.process_id()],
        "folders": [postgres.folder().context("a cluster of our own")?, anvil.folder()],
    });
    println!("{parts}");
    if said("panic") {
        io::copy(&mut io::stdin(), &mut io::sink())?;
        panic!("as asked for");
    }
    future::pending::<()>().await;
    Ok(())
}
