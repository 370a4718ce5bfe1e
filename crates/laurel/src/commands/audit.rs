//! `laurel audit`

use anyhow::Context;

use super::Outcome;
use crate::{books::check_books, cli::Audit, config::Config, connect};

/// Checks the books and prints what it finds.
pub(crate) async fn run(config: &Config, audit: Audit) -> anyhow::Result<Outcome> {
    let Audit::Books { json } = audit;
    let pool = connect::database(&config.database.url, 2).await?;
    connect::require_current_schema(&pool).await?;
    let mut chains = Vec::new();
    for chain in &config.chains {
        chains.push(connect::chain(&pool, chain).await?);
    }
    let report = check_books(&pool, &chains).await?;
    let text = serde_json::to_string_pretty(&report)?;
    match json {
        Some(file) => std::fs::write(&file, &text).with_context(|| format!("write {}", file.display()))?,
        None => super::print(&text),
    }
    Ok(if report.findings.is_empty() { Outcome::Fine } else { Outcome::Finding })
}
