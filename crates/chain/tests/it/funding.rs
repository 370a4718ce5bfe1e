//! The call that funds a campaign opens it, or raises its cap, and the vault accepts it.

use alloy::{primitives::Address, sol_types::SolCall};
use laurel_chain::{ChainNode, RewardVault, VaultLog, decode_vault_logs, funding_call};
use laurel_events::{Amount, CampaignId};

use crate::world::World;

/// What the vault logged in the latest block.
async fn logged(world: &World) -> Vec<VaultLog> {
    let receipts = world.node.receipts(world.head().await.hash).await.unwrap().unwrap();
    let logs = receipts.iter().flat_map(|receipt| {
        assert!(receipt.receipt.status(), "{receipt:?}");
        decode_vault_logs(world.vault, receipt.receipt.logs()).unwrap()
    });
    logs.map(|(_, log)| log).collect()
}

#[tokio::test]
async fn the_first_call_opens_and_the_second_raises() {
    let world = World::new().await;
    let campaign = CampaignId::from(7);
    for (cap, opens) in [(1_000_u64, true), (3_000, false)] {
        let cap = Amount::from(cap);
        let data = funding_call(&world.node, world.vault, campaign, world.token, cap).await.unwrap();
        if opens {
            let call = RewardVault::openCall::abi_decode(&data).unwrap();
            assert!(call.terms.batch, "the token pays many at once, and is asked");
        } else {
            assert_eq!(RewardVault::raiseCapCall::abi_decode(&data).unwrap().campaign, 7);
        }
        world.send(Some(world.vault), data.to_vec()).await;
        world.control.mine(1).await.unwrap();
        let expected = VaultLog::Capped { campaign: 7, token: world.token, cap };
        assert_eq!(logged(&world).await, [expected]);
    }
}

#[tokio::test]
async fn a_token_without_batches_is_paid_one_by_one() {
    let world = World::new().await;
    // The vault stands in for a token that does not know transferBatch.
    let data = funding_call(&world.node, world.vault, CampaignId::from(1), world.vault, Amount::from(1_u64));
    assert!(!RewardVault::openCall::abi_decode(&data.await.unwrap()).unwrap().terms.batch);
}

#[tokio::test]
async fn what_is_no_vault_is_an_error() {
    let world = World::new().await;
    for no_vault in [world.token, Address::repeat_byte(0x77)] {
        let data =
            funding_call(&world.node, no_vault, CampaignId::from(1), world.token, Amount::from(1_u64)).await;
        assert!(data.is_err(), "{no_vault}: {data:?}");
    }
}
