//! `laurel audit`

use laurel_audit::{
    AuditedChain, BooksReport, Compared, Nodes, ReconciledChain, Reconciliation, Request, check_books,
    reconcile,
};
use laurel_events::SystemClock;
use rand::{SeedableRng, rngs::StdRng};

use super::Outcome;
use crate::{
    cli::Audit,
    config::Config,
    connect::{self, ChainParts},
    output::JsonTo,
};

/// Connections of an audit: one for the snapshot, one for what is read meanwhile.
const CONNECTIONS_MAX: u32 = 2;

/// Audits and prints what is found.
pub(crate) async fn run(config: &Config, audit: Audit) -> anyhow::Result<Outcome> {
    match audit {
        Audit::Books { json } => books(config, json.as_ref()).await,
        Audit::Reconcile { full, campaign, json } => {
            compare(config, Request { whole: full, campaign }, json.as_ref()).await
        }
    }
}

async fn books(config: &Config, json: Option<&JsonTo>) -> anyhow::Result<Outcome> {
    let pool = connect::database(&config.database.url, CONNECTIONS_MAX).await?;
    connect::require_current_schema(&pool).await?;
    let mut nodes = Nodes::new();
    let parts = ChainParts::unwatched()?;
    for chain in &config.chains {
        let connected = connect::chain(&pool, chain, &parts).await?;
        nodes.insert(connected.config.id, connected.node);
    }
    let report = check_books(&pool, &nodes).await?;
    super::answer(json, &report, || table(&report))?;
    Ok(if report.findings.is_empty() { Outcome::Fine } else { Outcome::Finding })
}

async fn compare(config: &Config, request: Request, json: Option<&JsonTo>) -> anyhow::Result<Outcome> {
    let pool = connect::database(&config.database.url, CONNECTIONS_MAX).await?;
    connect::require_current_schema(&pool).await?;
    let parts = ChainParts::unwatched()?;
    let mut chains = Vec::with_capacity(config.chains.len());
    for chain in &config.chains {
        let node = connect::audited_node(chain, &parts).await?;
        chains.push(AuditedChain { chain_id: chain.id, node, vault: chain.vault });
    }
    let made = reconcile(&pool, &chains, &SystemClock, &mut StdRng::from_os_rng(), request).await?;
    super::answer(json, &made, || findings(&made))?;
    Ok(if made.findings.is_empty() { Outcome::Fine } else { Outcome::Finding })
}

/// A reconciliation for people.
fn findings(made: &Reconciliation) -> String {
    let mut text = String::new();
    for ReconciledChain { chain_id, block, hash } in &made.chains {
        text += &format!("  chain {chain_id} at block {block}, {hash}\n");
    }
    text += &format!(
        "  {} campaigns, {} places, {} settled segments compared\n",
        made.campaigns, made.places, made.settlements
    );
    for finding in &made.findings {
        text += &format!(
            "  {} {} {}: {}\n",
            finding.severity.as_str().to_uppercase(),
            finding.code.as_str(),
            finding.about,
            finding.detail,
        );
    }
    text + if made.findings.is_empty() { "  Nothing differs." } else { "  THE LEDGER AND THE CHAIN DIFFER." }
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
        ("of it overdrawn", report.overdrawn),
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
