//! A node that tells something else than the chain: it is not believed, and what it hides is not taken for absent.

use axum::{Json, Router, extract::State, routing::post};
use reqwest::Client;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{corruptions::OTHER_AMOUNT, reports::alerts, settled::Ledger};

/// Changes a node's answer.
type Lie = fn(&str, &mut Value);

#[derive(Clone)]
struct Node {
    client: Client,
    url: String,
    lie: Lie,
}

/// Passes a question on, and the answer back as the lie has it.
async fn answer(State(node): State<Node>, Json(question): Json<Value>) -> Json<Value> {
    let answer = node.client.post(&node.url).json(&question).send().await.unwrap();
    let mut answer: Value = answer.json().await.unwrap();
    (node.lie)(question["method"].as_str().unwrap(), &mut answer["result"]);
    Json(answer)
}

/// A node in front of the one at `url`.
async fn start(url: &str, lie: Lie) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let node = Node { client: Client::new(), url: url.to_owned(), lie };
    let router = Router::new().route("/", post(answer)).with_state(node);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

/// Logs are left out of the receipts.
fn without_logs(method: &str, result: &mut Value) {
    if method == "eth_getBlockReceipts" {
        for receipt in result.as_array_mut().unwrap() {
            receipt["logs"] = json!([]);
        }
    }
}

/// Headers say that nobody logged anything.
fn without_bloom(method: &str, result: &mut Value) {
    if method.starts_with("eth_getBlockBy") {
        result["logsBloom"] = json!(format!("0x{}", "00".repeat(256)));
    }
}

/// Transactions carry other words.
fn with_other_words(method: &str, result: &mut Value) {
    if method != "eth_getBlockByHash" {
        return;
    }
    for transaction in result["transactions"].as_array_mut().into_iter().flatten() {
        if let Some(data) = transaction.get("input").and_then(Value::as_str)
            && data.len() > 1_000
        {
            transaction["input"] = json!(format!("{}01", &data[..data.len() - 2]));
        }
    }
}

/// How many transactions an account has sent is not said.
fn without_counts(method: &str, result: &mut Value) {
    if method == "eth_getTransactionCount" {
        *result = Value::Null;
    }
}

/// Nothing is changed: the node in between is no reason to find anything.
fn the_truth(_: &str, _: &mut Value) {}

#[rstest]
#[case::logs_left_out(without_logs, Some("the receipts do not hash to the root"))]
#[case::blooms_emptied(without_bloom, Some("does not hash to it"))]
#[case::words_changed(with_other_words, Some("do not hash to the root"))]
#[case::the_truth(the_truth, None)]
#[tokio::test]
async fn what_does_not_hash_is_not_compared(#[case] lie: Lie, #[case] says: Option<&str>) {
    let mut ledger = Ledger::copy().await;
    ledger.rpc_url = start(&ledger.rpc_url, lie).await;
    let chain = format!("chain:{}", ledger.settled.world.chain_id);
    // Whoever made this ledger may have read the chain before, by the clock.
    let full = ["--full"];
    let report = match says {
        Some(_) => ledger.assert_found_by(&full, &[("chain_not_compared", &chain)]).await,
        None => ledger.assert_found_by(&full, &[]).await,
    };
    if let Some(says) = says {
        let detail = report["findings"][0]["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{detail}");
    }
}

/// A lane whose nonce the node does not say is told of, and not taken for one that agrees.
#[tokio::test]
async fn a_lane_of_which_a_node_says_nothing() {
    let mut ledger = Ledger::copy().await;
    ledger.rpc_url = start(&ledger.rpc_url, without_counts).await;
    let report =
        ledger.assert_found(&[("lane_not_compared", "lane:1"), ("lane_not_compared", "lane:2")]).await;
    assert_eq!(report["findings"][0]["severity"], "warning");
}

/// What was found before stays an alert while its chain cannot be read.
#[tokio::test]
async fn what_was_not_read_again_is_not_taken_back() {
    let mut ledger = Ledger::copy().await;
    let batch = ledger.corrupt(OTHER_AMOUNT).await;
    ledger.assert_found(&[("posting_differs", &format!("batch:{batch}"))]).await;
    ledger.rpc_url = start(&ledger.rpc_url, without_logs).await;
    let (code, report) = ledger.reconcile(&["--full"]).await;
    let findings = report["findings"].as_array().unwrap();
    assert!(
        code == Some(1) && findings.iter().all(|finding| finding["code"] != "posting_differs"),
        "{report:#}"
    );
    let about = format!("batch:{batch}");
    let raised = alerts(&mut ledger).await;
    assert!(raised.contains(&("posting_differs".to_owned(), about)), "{raised:?}");
}

/// What was read before is of the chain still, so a lie about what follows is no reason to read that again, and again.
#[tokio::test]
async fn what_was_read_before_a_lie_is_kept() {
    let mut ledger = Ledger::copy().await;
    ledger.assert_found(&[]).await;
    sqlx::raw_sql(
        "UPDATE audit_checkpoints SET number = 0, hash = (SELECT genesis_hash FROM chains);
         DELETE FROM audit_settlements; DELETE FROM audit_logs",
    )
    .execute(&mut ledger.conn)
    .await
    .unwrap();
    ledger.rpc_url = start(&ledger.rpc_url, without_logs).await;
    let chain = format!("chain:{}", ledger.settled.world.chain_id);
    ledger.assert_found(&[("chain_not_compared", &chain)]).await;
    let read: i64 =
        sqlx::query_scalar("SELECT number FROM audit_checkpoints").fetch_one(&mut ledger.conn).await.unwrap();
    assert_eq!(read, 0);
}
