//! Receipts are believed only if all of them, in their order, hash to the header's root.

use alloy::{
    consensus::ReceiptEnvelope,
    primitives::{B256, U256},
    sol_types::SolCall,
};
use laurel_chain::{
    Block, ChainError, ChainNode, RewardToken, RewardVault, TxReceipt, verify_receipts, verify_transactions,
};
use serde_json::{Value, json};

use crate::world::World;

/// A block with transfers of type 2, one of type 1, one without a type, and one that reverts.
async fn mixed_block(world: &World) -> (Block, Vec<TxReceipt>) {
    let owner = laurel_chain::LaneSigner::address(&world.owner);
    for amount in [1_u64, 2] {
        let mint = RewardToken::mintCall { to: owner, amount: U256::from(amount) };
        world.send(Some(world.token), mint.abi_encode()).await;
    }
    // Too much: it reverts, and its receipt has no logs.
    let withdraw = RewardVault::withdrawCall { token: world.token, to: owner, amount: U256::MAX };
    world.send(Some(world.vault), withdraw.abi_encode()).await;
    let other = laurel_devnet::dev_keys::DEV_KEYS[5].address;
    let base =
        json!({ "from": other, "to": owner, "value": "0x1", "gas": "0x10000", "gasPrice": "0x77359400" });
    for (kind, nonce) in [("0x0", "0x0"), ("0x1", "0x1")] {
        let mut request = base.clone();
        request["type"] = json!(kind);
        request["nonce"] = json!(nonce);
        if kind == "0x1" {
            request["accessList"] = json!([]);
        }
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_sendTransaction", "params": [request] });
        let answer: Value = reqwest::Client::new()
            .post(world.anvil.rpc_url())
            .json(&call)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert!(answer["result"].is_string(), "{answer}");
    }
    world.control.mine(1).await.unwrap();
    let block = world.head().await;
    let receipts = world.node.receipts(block.hash).await.unwrap().unwrap();
    (block, receipts)
}

#[tokio::test]
async fn a_blocks_receipts_of_all_kinds_hash_to_its_root() {
    let world = World::new().await;
    let (block, receipts) = mixed_block(&world).await;
    verify_receipts(&block, &receipts).unwrap();
    assert_eq!(receipts.len(), 5);
    let of = |wanted: fn(&ReceiptEnvelope) -> bool| {
        receipts.iter().filter(|receipt| wanted(&receipt.receipt)).count()
    };
    assert_eq!(of(|receipt| matches!(receipt, ReceiptEnvelope::Legacy(_))), 1);
    assert_eq!(of(|receipt| matches!(receipt, ReceiptEnvelope::Eip2930(_))), 1);
    assert_eq!(of(|receipt| matches!(receipt, ReceiptEnvelope::Eip1559(_))), 3);
    assert_eq!(of(|receipt| !receipt.status()), 1);
    let transactions = world.node.transactions(block.hash).await.unwrap().unwrap();
    verify_transactions(&block, &transactions).unwrap();
    // A block without transactions has no receipts, and that is checked too.
    world.control.mine(1).await.unwrap();
    let empty = world.head().await;
    verify_receipts(&empty, &[]).unwrap();
    assert!(verify_receipts(&empty, &receipts).is_err());
    verify_transactions(&empty, &[]).unwrap();
    assert!(verify_transactions(&empty, &transactions).is_err());
}

#[tokio::test]
async fn hashes_that_were_tampered_with_are_refused() {
    let world = World::new().await;
    let (block, _) = mixed_block(&world).await;
    let transactions = world.node.transactions(block.hash).await.unwrap().unwrap();
    let mut exchanged = block.clone();
    exchanged.transactions.swap(0, 1);
    assert!(verify_transactions(&exchanged, &transactions).is_err());
    let mut shorter = block.clone();
    shorter.transactions.pop();
    assert!(verify_transactions(&shorter, &transactions).is_err());
    let mut reordered = transactions.clone();
    reordered.swap(0, 1);
    assert!(verify_transactions(&block, &reordered).is_err());
    assert!(verify_transactions(&block, &transactions[1..]).is_err());
}

#[tokio::test]
async fn receipts_that_were_tampered_with_are_refused() {
    let world = World::new().await;
    let (block, receipts) = mixed_block(&world).await;
    let refused = |what: &str, change: &dyn Fn(&mut Vec<TxReceipt>)| {
        let mut changed = receipts.clone();
        change(&mut changed);
        assert_ne!(changed, receipts, "{what} changes nothing");
        let error = verify_receipts(&block, &changed).unwrap_err();
        assert!(matches!(error, ChainError::Untrue(_)), "{what}: {error}");
    };
    refused("one is left out", &|receipts| drop(receipts.pop()));
    refused("two change places", &|receipts| receipts.swap(0, 1));
    refused("another transaction's", &|receipts| receipts[0].tx = B256::repeat_byte(1));
    refused("a log is left out", &|receipts| change_receipt(receipts, |receipt| drop(receipt.logs.pop())));
    refused("a log says another amount", &|receipts| {
        change_receipt(receipts, |receipt| {
            let log = &mut receipt.logs[0];
            log.data = alloy::primitives::LogData::new_unchecked(
                log.topics().to_vec(),
                U256::from(9).to_be_bytes_vec().into(),
            );
        });
    });
    refused("a success is made a failure", &|receipts| {
        change_receipt(receipts, |receipt| receipt.status = false.into());
    });
    refused("the gas used is another", &|receipts| receipts[1].gas_used += 1);
    refused("the gas used is beyond all sums", &|receipts| receipts[1].gas_used = u64::MAX);
}

/// Changes the first receipt that has logs.
fn change_receipt(
    receipts: &mut [TxReceipt],
    change: impl FnOnce(&mut alloy::consensus::Receipt<alloy::primitives::Log>),
) {
    let found = receipts.iter_mut().find(|receipt| !receipt.receipt.logs().is_empty()).unwrap();
    let ReceiptEnvelope::Eip1559(envelope) = &mut found.receipt else { panic!("the mints are of type 2") };
    change(&mut envelope.receipt);
}
