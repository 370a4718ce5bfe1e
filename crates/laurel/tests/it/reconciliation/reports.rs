//! What is left of a reconciliation: alerts that end with their cause, and chunks that are hashed once.

use std::time::Duration;

use serde_json::json;
use tokio::time::{sleep, timeout};

use super::settled::{Ledger, report_of};
use crate::{
    process::Running,
    world::{UNTOLD, free_port},
};

/// How long the schedule may take, and how often it is looked at.
const PATIENCE: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(100);

/// The alerts that are raised, by code and what they are about.
pub(super) async fn alerts(ledger: &mut Ledger) -> Vec<(String, String)> {
    sqlx::query_as("SELECT code, about FROM alerts ORDER BY code, about")
        .fetch_all(&mut ledger.conn)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_finding_is_an_alert_until_it_is_gone() {
    let mut ledger = Ledger::copy().await;
    let campaign = ledger.settled.campaign.clone();
    ledger.corrupt("UPDATE counters SET grants = grants + 1 WHERE campaign = $1 RETURNING 'them'").await;
    let (code, report) = ledger.reconcile(&["--campaign", &campaign]).await;
    assert_eq!((code, &report["campaign"]), (Some(1), &json!(campaign)));
    let raised = alerts(&mut ledger).await;
    assert!(raised.len() == 6 && raised.iter().all(|(code, _)| code == "counter_differs"), "{raised:?}");
    ledger.corrupt("UPDATE counters SET grants = grants - 1 WHERE campaign = $1 RETURNING 'them'").await;
    // Whoever looks at one campaign does not know what else was found.
    let (code, _) = ledger.reconcile(&["--campaign", &campaign]).await;
    assert_eq!((code, alerts(&mut ledger).await.len()), (Some(0), 6));
    ledger.assert_found(&[]).await;
    assert_eq!(alerts(&mut ledger).await, []);
    let told: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT kind FROM journal WHERE convert_from(payload, 'UTF8') LIKE '%counter_differs%' ORDER BY kind",
    )
    .fetch_all(&mut ledger.conn)
    .await
    .unwrap();
    assert_eq!(told, ["OperatorAlertCleared", "OperatorAlertRaised"]);
}

#[tokio::test]
async fn what_was_verified_is_read_again_only_when_everything_is() {
    let mut ledger = Ledger::copy().await;
    ledger.assert_found(&[]).await;
    let chunk = ledger
        .corrupt(
            "UPDATE journal SET payload = payload || ' '::bytea
             WHERE $1 > 0 AND kind = 'CampaignFunded' RETURNING part || '/' || position",
        )
        .await;
    // The audit's own table says that the chain paid more: it is no evidence, and a full reading replaces it.
    ledger.corrupt("UPDATE audit_settlements SET total = total + 1 WHERE campaign = $1 RETURNING 'it'").await;
    let (_, report) = ledger.reconcile(&[]).await;
    let codes: Vec<&str> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["code"].as_str().unwrap())
        .collect();
    assert!(codes.contains(&"posting_differs") && !codes.contains(&"journal_digest_differs"), "{report:#}");
    let (code, report) = ledger.reconcile(&["--full"]).await;
    let findings = report["findings"].as_array().unwrap();
    assert_eq!((code, findings.len()), (Some(1), 1), "{report:#}");
    assert_eq!(findings[0]["code"], "journal_digest_differs");
    assert_eq!(findings[0]["about"], format!("journal:{chunk}"));
}

#[tokio::test]
async fn another_chain_or_final_block_is_named() {
    let mut ledger = Ledger::copy().await;
    let chain = format!("chain:{}", ledger.settled.world.chain_id);
    ledger
        .corrupt("UPDATE chains SET final_hash = decode(repeat('11', 32), 'hex') WHERE $1 > 0 RETURNING 'it'")
        .await;
    ledger.assert_found(&[("final_block_differs", &chain)]).await;
    ledger
        .corrupt(
            "UPDATE chains SET genesis_hash = decode(repeat('11', 32), 'hex') WHERE $1 > 0 RETURNING 'it'",
        )
        .await;
    ledger.assert_found(&[("chain_differs", &chain)]).await;
}

/// What is asked of an endpoint that is not there is asked of the next one.
#[tokio::test]
async fn an_endpoint_that_is_down_keeps_no_audit_from_its_work() {
    let ledger = Ledger::copy().await;
    let mut command = ledger.laurel(&["audit", "reconcile", "--json"]);
    command.env("LAUREL_CHAINS__0__RPC_URLS", format!("[\"http://127.0.0.1:1\",\"{}\"]", ledger.rpc_url));
    let (code, report) = report_of(command).await;
    assert_eq!((code, report["findings"].as_array().unwrap().len()), (Some(0), 0), "{report:#}");
    assert_eq!(report["chains"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn who_follows_the_chain_reconciles_by_the_clock() {
    let mut ledger = Ledger::copy().await;
    ledger.corrupt("UPDATE counters SET grants = grants + 1 WHERE campaign = $1 RETURNING 'them'").await;
    // In quarantine nothing would be reconciled.
    sqlx::query(UNTOLD).execute(&mut ledger.conn).await.unwrap();
    // While everything was settled, its own schedule may have compared it.
    sqlx::query("TRUNCATE reconciliations, reconciled_chains, findings")
        .execute(&mut ledger.conn)
        .await
        .unwrap();
    let port = free_port();
    let watch = |name: &str, port: u16| {
        let mut command = ledger.laurel(&["chain-watcher"]);
        command.env("LAUREL_OPS__BIND", format!("127.0.0.1:{port}"));
        Running::start(command, &ledger.settled.world.folder.path().join(name))
    };
    let watchers = [watch("first.log", port), watch("second.log", free_port())];
    let metrics = async {
        loop {
            if let Ok(answer) = reqwest::get(format!("http://127.0.0.1:{port}/metrics")).await
                && let Ok(text) = answer.text().await
                && text.contains("laurel_reconciliation_findings{severity=\"error\"} 6")
            {
                return text;
            }
            sleep(AGAIN).await;
        }
    };
    let metrics = timeout(PATIENCE, metrics).await.expect("it reconciles in time");
    assert!(metrics.contains("laurel_reconciliation_clean_timestamp_seconds 0"), "{metrics}");
    for watcher in watchers {
        assert_eq!(watcher.terminate().await, Some(0));
    }
    let made: i64 =
        sqlx::query_scalar("SELECT count(*) FROM reconciliations").fetch_one(&mut ledger.conn).await.unwrap();
    assert_eq!(made, 1, "an hour is not over, and only one of them compares");
    // The chain goes on for all stories, so that another one's payment may be found here as well.
    let raised = alerts(&mut ledger).await;
    assert_eq!(raised.iter().filter(|(code, _)| code == "counter_differs").count(), 6, "{raised:?}");
}
