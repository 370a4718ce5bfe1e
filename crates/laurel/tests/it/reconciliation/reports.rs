//! What is left of a reconciliation: alerts that end with their cause, and chunks that are hashed once.

use serde_json::json;

use super::settled::Ledger;

/// The alerts that are raised, by code and what they are about.
async fn alerts(ledger: &mut Ledger) -> Vec<(String, String)> {
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
