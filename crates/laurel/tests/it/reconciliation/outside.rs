//! A settlement that Laurel did not sign.

use std::time::Duration;

use alloy::{
    primitives::{Address, Bytes},
    sol_types::SolCall,
};
use laurel_chain::{
    BlockRef, ChainNode, GrantWord, HttpNode, LaneSigner, LocalKey, NonceAt, RewardVault, Settlement,
    SettlementSegment, TxRequest,
};
use laurel_devnet::dev_keys::DEV_KEYS;
use tokio::time::{sleep, timeout};

use super::settled::Ledger;
use crate::process::{Running, output};

/// How long a final block, or a stage, may take; and how often it is looked for.
const PATIENCE: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(20);

/// Above what any of these transactions uses.
const GAS: u64 = 1_000_000;

/// An account that the owner lets settle, and that is no lane.
const OPERATOR: usize = 5;

fn key(number: usize) -> LocalKey {
    LocalKey::from_hex(DEV_KEYS[number].secret).unwrap()
}

/// Sends a transaction to the vault and waits until it is mined.
async fn send(ledger: &Ledger, node: &HttpNode, key: &LocalKey, data: Bytes) {
    let fees = node.fees().await.unwrap();
    let nonce = async || node.nonce(key.address(), NonceAt::Latest).await.unwrap();
    let used = nonce().await;
    let request = TxRequest {
        chain_id: ledger.settled.world.chain_id,
        nonce: used,
        to: Some(ledger.settled.world.vault),
        data,
        gas_limit: GAS,
        max_fee_per_gas: fees.base_fee * 2 + fees.priority_fee,
        max_priority_fee_per_gas: fees.priority_fee,
    };
    node.send(key.sign(&request).unwrap().raw).await.unwrap();
    let mined = async {
        while nonce().await == used {
            sleep(AGAIN).await;
        }
    };
    timeout(PATIENCE, mined).await.expect("it is mined in time");
}

/// Somebody with an operator's key pays a stranger a place that the queue has not given yet.
async fn pay_a_stranger(ledger: &Ledger) {
    let node = HttpNode::new(&ledger.settled.world.rpc_url).unwrap();
    let operator = key(OPERATOR);
    let allow = RewardVault::setOperatorCall { operator: operator.address(), allowed: true };
    send(ledger, &node, &key(0), allow.abi_encode().into()).await;
    let latest = node.block(BlockRef::Latest).await.unwrap().unwrap();
    let word = GrantWord::new(Address::repeat_byte(0x55), 77_u64.into()).unwrap().encode();
    let campaign = ledger.settled.campaign.parse().unwrap();
    let segment = SettlementSegment { campaign, first_seq: 5_000, words: vec![word] };
    let settlement = Settlement { deadline: latest.header.timestamp + 600, segments: vec![segment] };
    send(ledger, &node, &operator, settlement.calldata()).await;
}

#[tokio::test]
async fn a_settlement_sent_from_outside() {
    let mut ledger = Ledger::copy().await;
    pay_a_stranger(&ledger).await;
    // Until the ledger has seen the block, it is in agreement with the chain as it knows it.
    ledger.assert_found(&[]).await;
    let log = ledger.settled.world.folder.path().join("outside.log");
    let watcher = Running::start(ledger.laurel(&["chain-watcher"]), &log);
    let books = Running::start(ledger.laurel(&["campaign"]), &log);
    let booked = async {
        loop {
            let tx: Option<String> = sqlx::query_scalar("SELECT encode(tx, 'hex') FROM suspense")
                .fetch_optional(&mut ledger.conn)
                .await
                .unwrap();
            match tx {
                Some(tx) => return tx,
                None => sleep(AGAIN).await,
            }
        }
    };
    let tx = timeout(PATIENCE, booked).await.expect("it is booked in time");
    assert_eq!(watcher.terminate().await, Some(0));
    assert_eq!(books.terminate().await, Some(0));
    let about = format!("campaign:{}/tx:0x{tx}", ledger.settled.campaign);
    let report = ledger.assert_found(&[("settlement_from_outside", &about)]).await;
    let detail = report["findings"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("paid 77") && detail.contains("has it in suspense"), "{detail}");

    // Operators have dealt with it: it is told, and raises no alarm any more. A copy is in quarantine, where the books raise none either.
    let alert = "INSERT INTO alerts (code, about, detail, raised_at)
                 SELECT 'payment_without_hold', 'campaign:' || on_chain_campaign || '/tx:0x' || encode(tx, 'hex'), 'test', now()
                 FROM suspense WHERE $1 > 0 RETURNING about";
    assert_eq!(ledger.corrupt(alert).await, about);
    let acknowledge = ledger.laurel(&["alerts", "acknowledge", "payment_without_hold", &about]);
    assert!(output(acknowledge).await.status.success());
    ledger.assert_found(&[("settlement_acknowledged", &about)]).await;
    ledger.corrupt("DELETE FROM acknowledgements WHERE $1 > 0 RETURNING 'it'").await;

    // And if the books forget it, too.
    ledger.corrupt("DELETE FROM suspense WHERE $1 > 0 RETURNING 'it'").await;
    ledger.assert_found(&[("settlement_from_outside", &about), ("suspense_differs", &about)]).await;
}
