//! Money is there when the block that brought it is final, and not before.

use std::sync::Arc;

use alloy::{
    primitives::{Address, U256},
    sol_types::SolCall,
};
use laurel_chain::RewardVault;
use laurel_events::{Amount, CampaignFunded, Event};
use laurel_ledger::{VaultIdentity, pin_vault};

use crate::{
    chain::Chain,
    journal,
    world::{World, catch_up},
};

async fn fundings(world: &World) -> Vec<CampaignFunded> {
    let events = journal::events(world.pool()).await.into_iter();
    events
        .filter_map(|event| match event {
            Event::CampaignFunded(funded) => Some(funded),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn caps_are_told_when_they_are_final() {
    let chain = Chain::new().await;
    let world = World::new(&chain).await;
    let watcher = world.watcher(Arc::new(chain.node.clone()));
    for (cap, known) in [(1_000_u64, 0), (2_500, 1)] {
        let signed = if known == 0 {
            chain.open(9, cap).await
        } else {
            let raise = RewardVault::raiseCapCall { campaign: 9, cap: U256::from(cap).to() };
            chain.own(Some(chain.vault), raise.abi_encode()).await
        };
        chain.mine(1).await;
        let block = chain.head().await;
        chain.mine(1).await;
        catch_up(&watcher).await;
        assert_eq!(fundings(&world).await.len(), known, "one block on top is not final");
        chain.mine(1).await;
        catch_up(&watcher).await;
        let told = fundings(&world).await;
        assert_eq!(told.len(), known + 1);
        let funded = told.iter().find(|funded| funded.tx == signed.hash).unwrap();
        assert_eq!((funded.campaign.on_chain(), funded.cap), (9, Amount::from(cap)));
        assert_eq!((funded.vault, funded.token), (chain.vault, chain.token));
        assert_eq!(funded.block_number, block.header.number);
    }
}

#[tokio::test]
async fn a_cap_that_is_reorganised_away_is_never_told() {
    let chain = Chain::new().await;
    let world = World::new(&chain).await;
    let watcher = world.watcher(Arc::new(chain.node.clone()));
    chain.mine(5).await;
    chain.open(9, 1_000).await;
    chain.mine(1).await;
    catch_up(&watcher).await;
    chain.control.reorg(1).await.unwrap();
    chain.mine(5).await;
    catch_up(&watcher).await;
    assert_eq!(fundings(&world).await, []);
}

#[tokio::test]
async fn two_vaults_in_one_transaction_are_told_apart() {
    let chain = Chain::new().await;
    let world = World::new(&chain).await;
    let watcher = world.watcher(Arc::new(chain.node.clone()));
    // Both belong to a contract that opens a campaign in each while it is being made.
    let vaults = chain.two_vaults_of_a_contract().await;
    for vault in vaults {
        let identity = VaultIdentity { vault, ..chain.identity().await };
        pin_vault(&mut world.pool().acquire().await.unwrap(), &identity).await.unwrap();
    }
    chain.mine(1).await;
    let opening = chain.open_in_both(vaults).await;
    chain.mine(3).await;
    catch_up(&watcher).await;
    let told = fundings(&world).await;
    assert!(told.iter().all(|funded| funded.tx == opening.hash));
    let mut told: Vec<Address> = told.iter().map(|funded| funded.vault).collect();
    told.sort();
    let mut expected = vaults.to_vec();
    expected.sort();
    assert_eq!(told, expected);
}
