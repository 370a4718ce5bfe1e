//! The interface under load: many open connections that carry many requests, four of five of them reads, at a rate that does not wait for
//! answers.

mod load;
mod mix;
mod statements;

use std::{path::Path, time::Duration};

use anyhow::Context;
use laurel_api::TokenKey;
use laurel_devnet::{Postgres, PostgresOptions};
use laurel_ledger::MIGRATOR;
use sqlx::postgres::PgPoolOptions;

use self::{load::Load, mix::Mix};
use crate::{
    figures::{Bound, Figure, Figures},
    history,
    server::{Access, Server},
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many connections are open.
    #[arg(long, default_value_t = 10_000)]
    connections: u32,
    /// How many requests are sent each second, over all of them.
    #[arg(long, default_value_t = 5_000)]
    rate: u32,
    /// For how many seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// How many grants there are before.
    #[arg(long, default_value_t = 100_000)]
    grants: u64,
    /// Of how many players.
    #[arg(long, default_value_t = 2_000)]
    players: u64,
}

/// Of how many campaigns.
const CAMPAIGNS: u64 = 10;

/// What a request, and a statement of the database, may take.
const BOUND_MS: f64 = 50.0;

const DATABASE: &str = "bench";

/// A key that signs nothing else.
const SIGNING_KEY: &str = "7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c";

pub(crate) async fn run(laurel: &Path, arguments: &Arguments) -> anyhow::Result<Figures> {
    let options = PostgresOptions { settings: statements::SETTINGS.to_vec(), ..PostgresOptions::durable() };
    let postgres = Postgres::start(options).await?;
    postgres.create_database(DATABASE, None).await?;
    let url = postgres.url(DATABASE);
    let pool = PgPoolOptions::new().max_connections(4).connect(&url).await.context("connecting")?;
    println!("Filling a database with {} grants …", arguments.grants);
    MIGRATOR.run(&pool).await.context("migrating")?;
    history::fill(&pool, arguments.grants, CAMPAIGNS, arguments.players).await?;
    history::analyse(&pool).await?;
    statements::begin(&pool).await?;
    let server = Server::start(laurel, &url, Access::Jwt(SIGNING_KEY), &["api", "campaign", "views"]).await?;
    let key = TokenKey::from_hex(SIGNING_KEY).context("a key")?;
    let mix = Mix::new(&key, CAMPAIGNS, arguments.players, arguments.grants)?;
    let load = Load {
        connections: arguments.connections,
        rate: arguments.rate,
        lasts: Duration::from_secs(arguments.seconds.into()),
    };
    println!("{} connections, {} requests/s for {} s …", load.connections, load.rate, arguments.seconds);
    let seen = load.run(&server, &mix).await?;
    let mut figures = Figures::new();
    seen.tell(&load, &mut figures);
    statements::tell(&pool, &mut figures).await?;
    let memory = server.memory_peak()? as f64 / 1e6;
    figures.figures.push(Figure {
        what: "memory of laurel api".to_owned(),
        value: memory,
        unit: "MB",
        bound: None,
        detail: format!("{:.0} kB for each connection", memory * 1e3 / f64::from(load.connections)),
    });
    drop(server);
    pool.close().await;
    postgres.stop().await?;
    Ok(figures)
}

/// The bound of a figure that has to be zero.
const NONE: Bound = Bound::AtMost(0.0);
