//! Prints how long each piece takes, as the median of a few tries.
//!
//!     cargo run -p laurel-devnet --example times

use std::{fmt::Write as _, time::Duration};

use anyhow::Result;
use laurel_devnet::{Anvil, AnvilOptions, Mining, Postgres, PostgresOptions};
use tokio::time::Instant;

const TRIES: usize = 7;

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
#[tokio::main]
async fn main() -> Result<()> {
    let mut table = String::new();
    for (name, options) in
        [("throw-away", PostgresOptions::throw_away()), ("durable", PostgresOptions::durable())]
    {
        let (mut start, mut stop) = (Vec::new(), Vec::new());
        for _ in 0..TRIES {
            let postgres = timed(&mut start, Postgres::start(options.clone())).await?;
            timed(&mut stop, postgres.stop()).await?;
        }
        writeln!(table, "PostgreSQL, {name}: start {}, stop {}", median(start), median(stop))?;
    }

    let (mut start, mut stop) = (Vec::new(), Vec::new());
    for _ in 0..TRIES {
        let anvil = timed(&mut start, Anvil::start(AnvilOptions::new(Mining::EachTransaction))).await?;
        timed(&mut stop, anvil.stop()).await?;
    }
    writeln!(table, "Anvil: start {}, stop {}", median(start), median(stop))?;

    let postgres = Postgres::start(PostgresOptions::throw_away()).await?;
    postgres.create_database("model", None).await?;
    let (mut create, mut remove) = (Vec::new(), Vec::new());
    for _ in 0..TRIES {
        timed(&mut create, postgres.create_database("copy", Some("model"))).await?;
        timed(&mut remove, postgres.drop_database("copy")).await?;
    }
    writeln!(table, "Database from a template: create {}, drop {}", median(create), median(remove))?;
    postgres.stop().await?;
    print!("{table}");
    Ok(())
}

async fn timed<T, E>(times: &mut Vec<Duration>, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let start = Instant::now();
    let result = work.await;
    times.push(start.elapsed());
    result
}

fn median(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    format!("{} ms", times[times.len() / 2].as_millis())
}
