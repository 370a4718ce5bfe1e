//! `laurel dlq`

use anyhow::Context;
use laurel_bus::{
    Letter, LetterState, drop_letter, find_letter, list_letters, redrive_letter, redrive_letters,
};
use laurel_events::{Clock, SystemClock};
use laurel_ledger::{commit, read_one};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::{cli::Dlq, config::Config, connect, output::JsonTo};

/// How many letters are listed at once.
const PAGE: i64 = 500;

/// How many letters are listed: past it, nobody reads them one by one.
const LETTERS_MAX: usize = 100_000;

/// Lists, shows, redrives or drops letters.
pub(crate) async fn run(config: &Config, dlq: Dlq, json: Option<&JsonTo>) -> anyhow::Result<()> {
    let pool = connect::database(&config.database.url, 1).await?;
    connect::require_current_schema(&pool).await?;
    let mut conn = pool.acquire().await?;
    match dlq {
        Dlq::List => list(&mut conn, json).await,
        Dlq::Show { id } => show(&mut conn, id, json).await,
        Dlq::Redrive { all: true, stage, .. } => {
            let mut ids: Vec<i64> = Vec::new();
            loop {
                let redriven = redrive_letters(&mut conn, SystemClock.now(), stage.as_deref()).await?;
                if redriven.is_empty() {
                    break;
                }
                ids.extend(redriven.into_iter().map(|(id, _)| id));
            }
            super::answer(json, &json!({ "redriven": ids }), || format!("{} redriven", ids.len()))
        }
        Dlq::Redrive { ids, .. } => {
            for id in &ids {
                redrive_letter(&mut conn, SystemClock.now(), *id).await?;
                tracing::info!(letter = id, "its stage tries it again");
            }
            super::answer(json, &json!({ "redriven": ids }), || format!("{} redriven", ids.len()))
        }
        Dlq::Drop { ids } => {
            for id in &ids {
                let mut tx = conn.begin().await?;
                drop_letter(&mut tx, SystemClock.now(), *id).await?;
                commit(tx, "letter_dropped").await?;
                tracing::info!(letter = id, "given up");
            }
            super::answer(json, &json!({ "dropped": ids }), || format!("{} given up", ids.len()))
        }
    }
}

async fn list(conn: &mut PgConnection, json: Option<&JsonTo>) -> anyhow::Result<()> {
    let mut all: Vec<Letter> = Vec::new();
    loop {
        let after = all.last().map_or(0, |letter| letter.id);
        let letters = list_letters(conn, None, after, PAGE).await?;
        let last_page = (letters.len() as i64) < PAGE;
        all.extend(letters);
        if all.len() >= LETTERS_MAX {
            tracing::warn!("there are more than {LETTERS_MAX} letters; the first ones are listed");
            break;
        }
        if last_page {
            break;
        }
    }
    let items: Vec<Value> = all.iter().map(object).collect();
    super::answer(json, &json!({ "items": items }), || match all.len() {
        0 => "There are no dead letters.".to_owned(),
        _ => all.iter().map(line).collect::<Vec<_>>().join("\n"),
    })
}

/// A letter as the API shows it.
fn object(letter: &Letter) -> Value {
    json!({
        "id": letter.id, "state": name_of(letter.state), "stage": letter.stage, "event_id": letter.event.to_string(),
        "kind": letter.kind, "subject": letter.subject, "attempts": letter.attempts, "error": letter.error,
        "due_at": letter.due_at, "created_at": letter.created_at,
    })
}

const fn name_of(state: LetterState) -> &'static str {
    match state {
        LetterState::Retrying => "retrying",
        LetterState::Dead => "dead",
        LetterState::Blocked => "blocked",
        LetterState::Redriven => "redriven",
        LetterState::Dropped => "dropped",
    }
}

fn line(letter: &Letter) -> String {
    format!(
        "{}\t{}\t{}\t{}\t{}\t{}\t{} attempts\t{}",
        letter.id,
        name_of(letter.state),
        letter.stage,
        letter.kind,
        letter.event,
        letter.subject,
        letter.attempts,
        letter.error.as_deref().unwrap_or("-"),
    )
}

async fn show(conn: &mut PgConnection, id: i64, json: Option<&JsonTo>) -> anyhow::Result<()> {
    let letter = find_letter(conn, id).await?.with_context(|| format!("there is no dead letter {id}"))?;
    let event = read_one(conn, letter.event).await?.map(|envelope| envelope.event);
    let mut shown = object(&letter);
    shown["event"] = serde_json::to_value(&event)?;
    let event = serde_json::to_string_pretty(&event)?;
    super::answer(json, &shown, || format!("{}\n{event}", line(&letter)))
}
