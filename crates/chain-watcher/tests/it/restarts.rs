//! A watcher that was down tells everything that was mined meanwhile, once.

use std::sync::Arc;

use alloy::{primitives::U256, sol_types::SolCall};
use laurel_chain::RewardVault;
use laurel_events::Event;
use laurel_ledger::{PinError, VaultIdentity, pin_vault};

use crate::{
    chain::Chain,
    journal,
    world::{World, catch_up},
};

/// More than a step reads, several times over.
const LONG_ABSENCE: u64 = 150;

#[tokio::test]
async fn a_backfill_tells_what_a_watcher_that_never_stopped_told() {
    let chain = Chain::funded().await;
    let (steady, restarted) = (World::new(&chain).await, World::new(&chain).await);
    let node = Arc::new(chain.node.clone());
    let watcher = steady.watcher(node.clone());
    for round in 0..10_u64 {
        let signed =
            if round == 4 { chain.expired_settlement().await } else { chain.settlement(round * 3, 3).await };
        for world in [&steady, &restarted] {
            world.submit(&signed).await;
        }
        laurel_chain::ChainNode::send(&chain.node, signed.raw.clone()).await.unwrap();
        chain.mine(if round == 6 { LONG_ABSENCE } else { 1 }).await;
        catch_up(&watcher).await;
        // In between, with unfinal blocks on both sides, and after the long absence.
        if matches!(round, 1 | 2 | 7) {
            catch_up(&restarted.watcher(node.clone())).await;
        }
    }
    chain.mine(3).await;
    catch_up(&watcher).await;
    catch_up(&restarted.watcher(node)).await;
    let facts = journal::facts(restarted.pool()).await;
    assert_eq!(facts, journal::facts(steady.pool()).await);
    let count = |kind: &str| facts.iter().filter(|fact| fact.starts_with(kind)).count();
    assert_eq!(
        (count("BlockchainTxMined"), count("BlockchainTxConfirmed"), count("BlockchainTxReverted")),
        (10, 9, 1)
    );
    assert_eq!(restarted.position().await, steady.position().await);
}

#[tokio::test]
async fn a_new_database_is_filled_from_the_deployment_on() {
    let chain = Chain::funded().await;
    let signed = chain.settlement(0, 3).await;
    laurel_chain::ChainNode::send(&chain.node, signed.raw.clone()).await.unwrap();
    chain.mine(3).await;
    let identity = chain.identity().await;
    // From the very block, and from any earlier one.
    for (deploy_block, is_lane) in [(identity.deploy_block, true), (1, true), (0, false)] {
        let identity = laurel_ledger::VaultIdentity { deploy_block, ..identity };
        let world = World::of(&chain, &identity).await;
        if !is_lane {
            sqlx::query("DELETE FROM lanes").execute(world.pool()).await.unwrap();
        }
        catch_up(&world.watcher(Arc::new(chain.node.clone()))).await;
        let told = journal::facts(world.pool()).await;
        let (alerts, facts): (Vec<String>, Vec<String>) =
            told.into_iter().partition(|fact| fact.starts_with("OperatorAlertRaised"));
        assert_eq!(facts.len(), 2, "a funding and a settlement: {facts:?}");
        // This database has not signed it, so somebody else signs with an operator's key; where that is a lane's, it may be we
        // ourselves, and this database be another one than it was.
        let mut stopped = vec!["chain:31337 unknown_settlement"];
        if is_lane {
            stopped.insert(0, "all quarantine");
        }
        let said = |code: &str| alerts.iter().filter(|alert| alert.contains(code)).count();
        assert_eq!(
            (said("\"payouts_stopped\""), said("\"unknown_settlement\"")),
            (stopped.len(), 1),
            "{alerts:?}"
        );
        let stops: Vec<String> = sqlx::query_scalar("SELECT about || ' ' || reason FROM stops ORDER BY 1")
            .fetch_all(world.pool())
            .await
            .unwrap();
        assert_eq!(stops, stopped);
    }
}

#[tokio::test]
async fn places_that_somebody_else_burns_are_told_of() {
    let chain = Chain::funded().await;
    let world = World::new(&chain).await;
    catch_up(&world.watcher(Arc::new(chain.node.clone()))).await;
    let cancel = RewardVault::cancelCall { campaign: 7, word: 2, mask: U256::from(6) }.abi_encode();
    let of_owner = chain.own(Some(chain.identity().await.vault), cancel).await;
    chain.mine(1).await;
    catch_up(&world.watcher(Arc::new(chain.node.clone()))).await;
    let alerts = async || -> Vec<(String, String)> {
        sqlx::query_as("SELECT code, about FROM alerts ORDER BY code, about")
            .fetch_all(world.pool())
            .await
            .unwrap()
    };
    let about = |tx| ("unknown_cancellation".to_owned(), format!("chain:31337/tx:{tx}"));
    assert_eq!(alerts().await, [about(of_owner.hash)], "its owner may do so");
    // The same by one of our lanes, of which this database knows nothing: it may have been lost with a restore long ago.
    let of_lane = chain.cancellation(3, 6).await;
    laurel_chain::ChainNode::send(&chain.node, of_lane.raw.clone()).await.unwrap();
    chain.mine(1).await;
    catch_up(&world.watcher(Arc::new(chain.node.clone()))).await;
    let mut told = [about(of_owner.hash), about(of_lane.hash)];
    told.sort();
    assert_eq!(alerts().await, told, "and nothing stands still for it");
}

#[tokio::test]
async fn a_vault_whose_blocks_were_read_without_it_is_refused_and_one_that_comes_in_time_is_followed() {
    let chain = Chain::new().await;
    let (late, early) = (World::new(&chain).await, World::new(&chain).await);
    let vaults = chain.two_vaults_of_a_contract().await;
    chain.mine(1).await;
    let deploy_block = chain.head().await.header.number;
    let identity = VaultIdentity { vault: vaults[0], deploy_block, ..chain.identity().await };
    pin_vault(&mut early.pool().acquire().await.unwrap(), &identity).await.expect("nothing was read yet");
    chain.open_in_both(vaults).await;
    chain.mine(10).await;
    for world in [&late, &early] {
        catch_up(&world.watcher(Arc::new(chain.node.clone()))).await;
    }
    let mut tx = late.pool().begin().await.unwrap();
    let refused = pin_vault(&mut tx, &identity).await;
    assert!(matches!(refused, Err(PinError::Passed { .. })), "{refused:?}");
    tx.rollback().await.unwrap();
    let told = journal::events(early.pool()).await;
    assert_eq!(told.iter().filter(|event| matches!(event, Event::CampaignFunded(_))).count(), 1);
    // What is pinned stays pinned, however far the chain was followed.
    pin_vault(&mut early.pool().acquire().await.unwrap(), &identity).await.expect("it is pinned");
}
