//! `laurel dlq`

use anyhow::Context;
use laurel_bus::{Letter, drop_letter, find_letter, list_letters, redrive_letter};
use laurel_events::{Clock, SystemClock};
use laurel_ledger::read_one;
use sqlx::PgConnection;

use crate::{cli::Dlq, config::Config, connect};

/// How many letters are listed at once.
const PAGE: i64 = 500;

/// Lists, shows, redrives or drops letters.
pub(crate) async fn run(config: &Config, dlq: Dlq) -> anyhow::Result<()> {
    let pool = connect::database(&config.database.url, 1).await?;
    connect::require_current_schema(&pool).await?;
    let mut conn = pool.acquire().await?;
    match dlq {
        Dlq::List => list(&mut conn).await?,
        Dlq::Show { id } => show(&mut conn, id).await?,
        Dlq::Redrive { ids } => {
            for id in ids {
                redrive_letter(&mut conn, SystemClock.now(), id).await?;
                tracing::info!(letter = id, "its stage tries it again");
            }
        }
        Dlq::Drop { ids } => {
            for id in ids {
                drop_letter(&mut conn, SystemClock.now(), id).await?;
                tracing::info!(letter = id, "given up");
            }
        }
    }
    Ok(())
}

async fn list(conn: &mut PgConnection) -> anyhow::Result<()> {
    let mut after = 0;
    loop {
        let letters = list_letters(conn, None, after, PAGE).await?;
        for letter in &letters {
            super::print(&line(letter));
        }
        match letters.last() {
            Some(last) if letters.len() as i64 == PAGE => after = last.id,
            _ => return Ok(()),
        }
    }
}

fn line(letter: &Letter) -> String {
    format!(
        "{}\t{:?}\t{}\t{}\t{}\t{}\t{} attempts\t{}",
        letter.id,
        letter.state,
        letter.stage,
        letter.kind,
        letter.event,
        letter.subject,
        letter.attempts,
        letter.error.as_deref().unwrap_or("-"),
    )
}

async fn show(conn: &mut PgConnection, id: i64) -> anyhow::Result<()> {
    let letter = find_letter(conn, id).await?.with_context(|| format!("there is no dead letter {id}"))?;
    super::print(&line(&letter));
    if let Some(envelope) = read_one(conn, letter.event).await? {
        super::print(&serde_json::to_string_pretty(&envelope.event)?);
    }
    Ok(())
}
