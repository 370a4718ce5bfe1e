//! Pages of history, and exports, among many grants.

mod export;
mod fill;
mod journal;
mod pages;

pub(crate) use self::fill::{analyse, fill};

use std::path::Path;

use anyhow::Context;
use laurel_devnet::{Postgres, PostgresOptions};
use laurel_ledger::MIGRATOR;
use sqlx::postgres::PgPoolOptions;

use crate::{
    figures::Figures,
    server::{Access, Server},
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many grants there are.
    #[arg(long, default_value_t = 10_000_000)]
    grants: u64,
    /// Of how many campaigns.
    #[arg(long, default_value_t = 10)]
    campaigns: u64,
    /// Of how many players.
    #[arg(long, default_value_t = 100_000)]
    players: u64,
    /// How many rows of the journal there are beside them.
    #[arg(long, default_value_t = 1_000_000)]
    journal_rows: u64,
    /// How often each page is asked for.
    #[arg(long, default_value_t = 100)]
    requests: u32,
    /// Only the exports.
    #[arg(long)]
    exports_only: bool,
    /// A database that is filled already, and is left as it is.
    #[arg(long)]
    database_url: Option<String>,
}

const DATABASE: &str = "bench";

pub(crate) async fn run(laurel: &Path, arguments: &Arguments) -> anyhow::Result<Figures> {
    let (postgres, url) = match &arguments.database_url {
        Some(url) => (None, url.clone()),
        None => {
            let postgres = Postgres::start(PostgresOptions::durable()).await?;
            postgres.create_database(DATABASE, None).await?;
            let url = postgres.url(DATABASE);
            (Some(postgres), url)
        }
    };
    let pool = PgPoolOptions::new().max_connections(4).connect(&url).await.context("connecting")?;
    if sqlx::query_scalar::<_, Option<String>>("SELECT to_regclass('grants')::text")
        .fetch_one(&pool)
        .await?
        .is_none()
    {
        println!("Filling a database with {} grants …", arguments.grants);
        MIGRATOR.run(&pool).await.context("migrating")?;
        let Arguments { grants, campaigns, players, journal_rows, .. } = *arguments;
        fill(&pool, grants, campaigns, players).await?;
        journal::append_rows(&pool, journal_rows, campaigns, players).await?;
        analyse(&pool).await?;
    }
    let server = Server::start(laurel, &url, Access::Open, &["api"]).await?;
    let mut figures = Figures::new();
    if !arguments.exports_only {
        pages::measure(&server, arguments, &mut figures).await?;
    }
    export::measure(laurel, &url, &mut figures).await?;
    drop(server);
    pool.close().await;
    if let Some(postgres) = postgres {
        postgres.stop().await?;
    }
    Ok(figures)
}
