//! `laurel audit`

use super::Outcome;
use crate::{
    books::{BooksReport, Compared, Nodes, check_books},
    cli::Audit,
    config::Config,
    connect::{self, ChainParts},
};

/// Checks the books and prints what it finds.
pub(crate) async fn run(config: &Config, audit: Audit) -> anyhow::Result<Outcome> {
    let Audit::Books { json } = audit;
    let pool = connect::database(&config.database.url, 2).await?;
    connect::require_current_schema(&pool).await?;
    let mut nodes = Nodes::new();
    let parts = ChainParts::unwatched()?;
    for chain in &config.chains {
        let connected = connect::chain(&pool, chain, &parts).await?;
        nodes.insert(connected.config.id, connected.node);
    }
    let report = check_books(&pool, &nodes).await?;
    super::answer(json.as_ref(), &report, || table(&report))?;
    Ok(if report.findings.is_empty() { Outcome::Fine } else { Outcome::Finding })
}

/// The report for people.
fn table(report: &BooksReport) -> String {
    let mut text = String::new();
    let rows = [
        ("funded", report.funded),
        ("= available", report.available),
        ("+ reserved", report.reserved),
        ("+ paid", report.paid),
        ("+ returned", report.returned),
        ("about to be posted", report.unposted),
        ("in suspense", report.suspense),
        ("paid on chain", report.paid_on_chain),
    ];
    for (name, amount) in rows {
        text += &format!("  {name:<20}{amount:>40}\n");
    }
    text.push('\n');
    for Compared { chain_id, vault, block } in &report.compared {
        text += &format!("  compared with vault {vault} on chain {chain_id}, at its block {block}\n");
    }
    if report.compared.is_empty() {
        text += "  compared with no vault\n";
    }
    for finding in &report.findings {
        text += &format!("  FINDING: {finding}\n");
    }
    text + if report.findings.is_empty() { "  The books balance." } else { "  THE BOOKS DO NOT BALANCE." }
}
