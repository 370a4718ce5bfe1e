//! The treasury brings caps onto the chain, and does not hammer at what cannot succeed.

use std::sync::Arc;

use alloy::{primitives::U256, sol_types::SolCall};
use chrono::TimeDelta;
use laurel_chain::{Call, ChainNode, Erc20};
use laurel_events::{CampaignId, Event, EventKind};
use laurel_grant_saga::Treasury;
use laurel_ledger::list_alerts;

use crate::world::{CAP, GWEI, MAX_FEE_PER_GAS, World, key};

/// More than the treasury owns: the most that a cap can be.
const TOO_MUCH: u128 = (1 << 96) - 1;

fn treasury(world: &World) -> Treasury {
    treasury_of(world, 0, world.node.clone())
}

fn treasury_of(world: &World, account: usize, node: Arc<dyn ChainNode>) -> Treasury {
    let (signer, pool, clock) = (Arc::new(key(account)), world.pool().clone(), world.clock.clone());
    Treasury::new(world.vault, signer, node, pool, clock, "one".to_owned(), MAX_FEE_PER_GAS)
}

async fn ask(world: &World, campaign: CampaignId, cap: u128) {
    sqlx::query(
        "INSERT INTO funding_requests (campaign, cap, requested_by, requested_at) VALUES ($1, $2::numeric, 'm', $3)
         ON CONFLICT (campaign) DO UPDATE SET cap = EXCLUDED.cap, failures = 0, error = NULL, retry_at = NULL",
    )
    .bind(campaign.number())
    .bind(bigdecimal::BigDecimal::from(cap))
    .bind(world.now())
    .execute(world.pool())
    .await
    .unwrap();
}

/// How often in a row the request failed, and why.
async fn failures(world: &World) -> (i32, Option<String>) {
    sqlx::query_as("SELECT failures, error FROM funding_requests").fetch_one(world.pool()).await.unwrap()
}

async fn alerts(world: &World) -> Vec<(String, String)> {
    let mut conn = world.pool().acquire().await.unwrap();
    let alerts = list_alerts(&mut conn, None, 10).await.unwrap();
    alerts.into_iter().map(|alert| (alert.code, alert.about)).collect()
}

#[tokio::test]
async fn what_cannot_succeed_rests_longer_each_time_and_is_told_once() {
    let world = World::new().await;
    let campaign = world.campaign(7).await;
    let treasury = treasury(&world);
    ask(&world, campaign, TOO_MUCH).await;
    treasury.round().await.unwrap();
    let (failed, error) = failures(&world).await;
    assert_eq!(failed, 1);
    assert!(error.unwrap().contains("has to give"));
    assert_eq!(alerts(&world).await, [("funding_failed".to_owned(), "campaign:7".to_owned())]);
    // It rests 2 seconds, then 4, and in the end 10 minutes.
    for (rest, after) in [(1, 1), (1, 2), (3, 2), (1, 3)] {
        world.clock.advance(TimeDelta::seconds(rest));
        treasury.round().await.unwrap();
        assert_eq!(failures(&world).await.0, after);
    }
    for after in 4..14 {
        world.clock.advance(TimeDelta::minutes(10));
        treasury.round().await.unwrap();
        assert_eq!(failures(&world).await.0, after);
    }
    assert_eq!(world.events(&[EventKind::OperatorAlertRaised]).await.len(), 1);

    // Another cap, which it can bring, is brought at once.
    ask(&world, campaign, 1_000_500).await;
    treasury.round().await.unwrap();
    assert_eq!(failures(&world).await, (0, None));
    assert_eq!(alerts(&world).await, []);
    let cleared = world.events(&[EventKind::OperatorAlertCleared]).await;
    assert!(matches!(&cleared[..], [one] if matches!(&one.event, Event::OperatorAlertCleared(_))));
}

#[tokio::test]
async fn a_node_that_is_away_is_no_alert() {
    let world = World::new().await;
    let campaign = world.campaign(7).await;
    ask(&world, campaign, 1_000_500).await;
    let away = Arc::new(laurel_chain::HttpNode::new("http://127.0.0.1:9").unwrap());
    let blind = treasury_of(&world, 0, away);
    blind.round().await.unwrap();
    assert_eq!(failures(&world).await.0, 1);
    assert_eq!(alerts(&world).await, []);
    world.clock.advance(TimeDelta::seconds(2));
    treasury(&world).round().await.unwrap();
    assert_eq!(failures(&world).await, (0, None));
}

#[tokio::test]
async fn the_vaults_own_errors_are_told_in_words() {
    let world = World::new().await;
    let campaign = world.campaign(7).await;
    let stranger = treasury_of(&world, 3, world.node.clone());
    // The vault has what backs it; only its owner may raise the cap.
    let transfer = Erc20::transferCall { to: world.deployed.vault, value: U256::from(500) };
    world.owner_sends(world.deployed.token, transfer.abi_encode().into()).await;
    ask(&world, campaign, 1_000_500).await;
    stranger.round().await.unwrap();
    let error = failures(&world).await.1.unwrap();
    assert!(error.contains("may not do this in the vault"), "{error}");
}

#[tokio::test]
async fn above_its_cap_it_waits_for_the_market() {
    let world = World::new().await;
    let campaign = world.campaign(7).await;
    ask(&world, campaign, 1_000_500).await;
    world.control.set_base_fee(2 * MAX_FEE_PER_GAS).await.unwrap();
    world.control.mine(1).await.unwrap();
    treasury(&world).round().await.unwrap();
    let (failed, error) = failures(&world).await;
    assert!(failed == 1 && error.as_ref().is_some_and(|error| error.contains("and the cap is")), "{error:?}");
    assert_eq!(alerts(&world).await, []);
    world.control.set_base_fee(GWEI).await.unwrap();
    world.control.mine(1).await.unwrap();
    world.clock.advance(TimeDelta::seconds(2));
    treasury(&world).round().await.unwrap();
    assert_eq!(failures(&world).await, (0, None));
}

/// A transfer that was given up is mined while its amount is made out anew.
#[tokio::test]
async fn a_transfer_that_comes_late_is_not_made_twice() {
    const MORE: u64 = 1_000;
    let world = Arc::new(World::new().await);
    let campaign = world.campaign(7).await;
    let (token, vault) = (world.deployed.token, world.deployed.vault);
    let call = Call {
        from: vault,
        to: token,
        data: Erc20::balanceOfCall { owner: vault }.abi_encode().into(),
        gas: None,
    };
    let owned = async || U256::from_be_slice(&world.node.call(call.clone()).await.unwrap());
    let before = owned().await;
    ask(&world, campaign, CAP + u128::from(MORE)).await;
    world.node.stop_before_nonce();
    let treasury = treasury(&world);
    let round = tokio::spawn(async move { treasury.round().await });
    world.node.stopped.notified().await;
    let late = Erc20::transferCall { to: vault, value: U256::from(MORE) };
    world.owner_sends(token, late.abi_encode().into()).await;
    world.node.go_on.notify_one();
    round.await.unwrap().unwrap();
    assert_eq!((owned().await - before, failures(&world).await.0), (U256::from(MORE), 0));
}
