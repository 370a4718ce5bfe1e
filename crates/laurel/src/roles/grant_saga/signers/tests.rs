//! Keys that would only harm are refused before anything is signed, and the message says what to do.

use laurel_chain::{HttpNode, LocalKey, deploy_contracts};
use laurel_devnet::{Anvil, AnvilOptions, Mining, dev_keys::DEV_KEYS, testing::TestDatabase};
use laurel_ledger::MIGRATOR;
use rstest::rstest;

use super::*;
use crate::{config, connect::ChainParts};

/// An hour, which the vault allows.
const LIFETIME_MS: u64 = 3_600_000;

/// A chain whose vault belongs to key 0 and has key 1 as its operator.
async fn with_keys<T>(
    lanes: &[usize],
    treasury: Option<usize>,
    settlement_lifetime_ms: u64,
    retired: &[Address],
    then: impl AsyncFnOnce(anyhow::Result<Signers>) -> T,
) -> T {
    let database = TestDatabase::create(&MIGRATOR).await;
    let anvil = Anvil::start(AnvilOptions::new(Mining::EachTransaction)).await.unwrap();
    let node = HttpNode::new(anvil.rpc_url()).unwrap();
    let owner = LocalKey::from_hex(DEV_KEYS[0].secret).unwrap();
    let operator = DEV_KEYS[1].address.parse().unwrap();
    let deployed = deploy_contracts(&node, &owner, &[operator]).await.unwrap();
    let source = |key: &usize| format!("env:KEY_{key}");
    let configured = config::Chain {
        lane_keys: lanes.iter().map(source).collect(),
        treasury_key: treasury.as_ref().map(source),
        settlement_lifetime_ms,
        ..config::Chain::new(deployed.chain_id, anvil.rpc_url(), deployed.vault)
    };
    let environment = DEV_KEYS
        .iter()
        .enumerate()
        .fold(Environment::process(), |all, (key, dev)| all.with(&format!("KEY_{key}"), dev.secret));
    let chain =
        connect::chain(database.pool(), &configured, &ChainParts::unwatched().unwrap()).await.unwrap();
    then(load(&chain, &environment, retired).await).await
}

#[tokio::test]
async fn keys_that_the_vault_takes_are_loaded() {
    with_keys(&[1], Some(0), LIFETIME_MS, &[], async |loaded| {
        let signers = loaded.unwrap();
        assert_eq!((signers.lanes.len(), signers.treasury.is_some()), (1, true));
    })
    .await;
}

/// Its right was taken away, and what it has signed waits for it.
#[tokio::test]
async fn the_key_of_a_retired_lane_need_not_be_an_operators() {
    let retired = DEV_KEYS[2].address.parse().unwrap();
    with_keys(&[1, 2], Some(0), LIFETIME_MS, &[retired], async |loaded| {
        assert_eq!(loaded.unwrap().lanes.len(), 2);
    })
    .await;
}

#[rstest]
#[case::two_lanes_alike(&[1, 1], Some(0), LIFETIME_MS, &["lane_keys[0] and lane_keys[1] are the same key"])]
#[case::a_lane_is_the_treasury(&[1], Some(1), LIFETIME_MS, &["lane_keys[0] and treasury_key are the same key", "a key of its own"])]
#[case::no_operator(&[1, 2], Some(0), LIFETIME_MS, &[DEV_KEYS[2].address, "is no operator of vault", "setOperator(", "cast send"])]
#[case::not_the_owner(&[1], Some(2), LIFETIME_MS, &[DEV_KEYS[2].address, "belongs to 0xf39", "use the owner's key"])]
#[case::longer_than_the_vault_allows(&[1], None, LIFETIME_MS + 1, &["settlement_lifetime_ms is 3600001", "3600000 ms"])]
#[tokio::test]
async fn keys_that_would_only_harm_are_refused(
    #[case] lanes: &[usize],
    #[case] treasury: Option<usize>,
    #[case] settlement_lifetime_ms: u64,
    #[case] says: &[&str],
) {
    with_keys(lanes, treasury, settlement_lifetime_ms, &[], async |loaded| {
        let error = format!("{:#}", loaded.map(drop).unwrap_err());
        for part in says {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    })
    .await;
}
