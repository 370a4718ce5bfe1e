//! The fault points that there are, and those that no world comes to.

/// Commits that every run of many seeds has to come to, on both sides.
pub(crate) const COMMITS: [&str; 34] = [
    "batch",
    "books",
    "campaign",
    "campaign-stats",
    "campaign_moved",
    "chain_followed",
    "chain_halted",
    "chain_not_followed",
    "chain_rebased",
    "challenge",
    "grant-saga",
    "lane_alerts_cleared",
    "lane_resumed",
    "lane_stopped",
    "lane_unparked",
    "letter",
    "outcomes",
    "quarantine",
    "rebase_ended",
    "recovered",
    "recovery",
    "recovery_import",
    "redrive",
    "refused",
    "replacement",
    "set_back",
    "settlements",
    "stage_halted",
    "timers",
    "transaction-history",
    "wallet",
    "wallet_check",
    "watcher",
    "watcher_begins",
];

/// Questions to a node that every run of many seeds has to come to.
pub(crate) const QUESTIONS: [&str; 10] = [
    "eth_call",
    "eth_chainId",
    "eth_feeHistory",
    "eth_getBlock",
    "eth_getBlockByHash",
    "eth_getBlockReceipts",
    "eth_getCode",
    "eth_getTransactionByHash",
    "eth_getTransactionCount",
    "eth_sendRawTransaction",
];

/// Commits that no world has to come to, and why. A test compares all of them with the program.
#[cfg(test)]
pub(crate) const ELSEWHERE: [(&str, &str); 38] = [
    ("acknowledge", "no world pays without the ledger"),
    ("api_key_made", "nobody signs in: worlds sign their tokens themselves"),
    ("api_key_revoked", "nobody signs in: worlds sign their tokens themselves"),
    ("audit_block", "worlds are reconciled when they are at rest, and nothing goes wrong any more"),
    ("audit_forgotten", "worlds are reconciled when they are at rest, and nothing goes wrong any more"),
    ("audit_raised", "a reconciliation that does not end is a world that fails"),
    ("audit_report", "worlds are reconciled when they are at rest, and nothing goes wrong any more"),
    ("budget_withdrawn", "the treasury waits by the clock of the machine"),
    ("campaign_changed", "campaigns are made before a world begins, and not changed"),
    ("campaign_closed", "a world's owner closes its campaigns on the chain"),
    ("campaign_created", "campaigns are made before a world begins"),
    ("command_logged", "no world runs an operator's command"),
    ("funding_requested", "the treasury waits by the clock of the machine"),
    ("guardian_alert", "no world has a guardian"),
    ("halt_ended", "an operator's command for a halt without a reason, which few worlds have"),
    ("lane_abandoned", "a replica that died is there again before its lanes have stood for a minute more"),
    (
        "lane_alerted",
        "few lanes fail for a minute; they have gas money, sign what nodes take, and nodes keep all states",
    ),
    ("letter_dropped", "an operator's command"),
    ("passed", "few plans have nothing left but places whose grants have failed"),
    ("password_changed", "nobody signs in: worlds sign their tokens themselves"),
    ("paused", "an operator's command"),
    ("player", "players are made before a world begins"),
    ("player_erased", "nobody asks a world to forget a player"),
    ("players_listed", "campaigns are made before a world begins, and not changed"),
    ("reads_kept", "nobody reads a world's personal data"),
    ("recovery_unpaid", "places are seldom sent by two that sign"),
    ("refresh_token_reused", "nobody signs in: worlds sign their tokens themselves"),
    ("refreshed", "nobody signs in: worlds sign their tokens themselves"),
    ("sign_in_failed", "nobody signs in: worlds sign their tokens themselves"),
    ("signed_in", "nobody signs in: worlds sign their tokens themselves"),
    ("signed_out", "nobody signs in: worlds sign their tokens themselves"),
    ("totp_begun", "nobody signs in: worlds sign their tokens themselves"),
    ("totp_confirmed", "nobody signs in: worlds sign their tokens themselves"),
    ("treasury_alert", "the treasury waits by the clock of the machine"),
    ("treasury_failed", "the treasury waits by the clock of the machine"),
    ("unpaused", "an operator's command"),
    ("vault_pinned", "worlds have their vault before they begin"),
    ("wrong_password", "nobody signs in: worlds sign their tokens themselves"),
];

/// Every fault point that a run of many seeds has to come to, as it is counted.
pub(crate) fn expected() -> Vec<String> {
    let commits = COMMITS.iter().flat_map(|at| [format!("before {at}"), format!("after {at}")]);
    let questions = QUESTIONS.iter().map(|at| format!("before {at}"));
    commits.chain(questions).chain(["after eth_sendRawTransaction".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;

    fn sources(folder: &Path, found: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }

    #[test]
    fn every_commit_of_the_program_is_known_here() {
        let mut text = String::new();
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for entry in std::fs::read_dir(crates).unwrap() {
            let folder = entry.unwrap().path().join("src");
            if folder.is_dir() && !folder.ends_with("sim/src") {
                sources(&folder, &mut text);
            }
        }
        let named = text.split("commit(").skip(1).filter_map(|rest| {
            rest.strip_prefix("tx, ").unwrap_or(rest).strip_prefix('"')?.split('"').next()
        });
        let named: BTreeSet<&str> = named.collect();
        // A stage's delivery is named after the stage.
        let stages =
            ["books", "campaign", "campaign-stats", "grant-saga", "settlements", "transaction-history"];
        let known: BTreeSet<&str> = COMMITS
            .into_iter()
            .chain(ELSEWHERE.map(|(at, _)| at))
            .filter(|at| !stages.contains(at))
            .collect();
        assert_eq!(named, known);
    }
}
