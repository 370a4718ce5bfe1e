//! The treasury closes campaigns, and withdraws exactly what was left of them, once.

use std::sync::Arc;

use alloy::{
    primitives::{Address, U256},
    sol_types::SolCall,
};
use chrono::TimeDelta;
use laurel_chain::{ChainNode as _, Erc20, LaneSigner as _, NonceAt, RewardVault};
use laurel_events::{CampaignId, Event, EventKind};
use laurel_grant_saga::Treasury;

use crate::world::{CAP, MAX_FEE_PER_GAS, World, key};

/// The vault's `CLOSE_DELAY`, and a second.
const CLOSE_DELAY_S: u64 = 86_401;

fn treasury(world: &World) -> Treasury {
    let (node, pool, clock) = (world.node.clone(), world.pool().clone(), world.clock.clone());
    Treasury::new(world.vault, Arc::new(key(0)), node, pool, clock, "one".to_owned(), MAX_FEE_PER_GAS)
}

async fn ask(world: &World, campaign: CampaignId) {
    let sql = "INSERT INTO closings (campaign, requested_by, requested_at) VALUES ($1, 'm', $2)";
    sqlx::query(sql).bind(campaign.number()).bind(world.now()).execute(world.pool()).await.unwrap();
}

/// A round, after all rests are over.
async fn round(world: &World) {
    world.clock.advance(TimeDelta::minutes(10));
    treasury(world).round().await.unwrap();
}

/// What the books say when the release is final.
async fn give_back(world: &World, campaign: CampaignId, amount: u128) {
    sqlx::query(
        "INSERT INTO returns (campaign, turn, tx, amount, recorded_at)
         VALUES ($1, 0, decode(repeat('07', 32), 'hex'), $2::numeric, $3)",
    )
    .bind(campaign.number())
    .bind(bigdecimal::BigDecimal::from(amount))
    .bind(world.now())
    .execute(world.pool())
    .await
    .unwrap();
}

async fn step(world: &World) -> (Option<String>, Option<String>) {
    sqlx::query_as("SELECT step, error FROM closings").fetch_one(world.pool()).await.unwrap()
}

/// A campaign that was closed and released, and of which the books have given back everything.
async fn released(world: &World) -> CampaignId {
    let campaign = world.campaign(7).await;
    ask(world, campaign).await;
    round(world).await;
    assert_eq!(step(world).await, (Some("close".to_owned()), None));
    round(world).await;
    assert_eq!(step(world).await.0.as_deref(), Some("close"), "not before its time");
    world.control.warp(CLOSE_DELAY_S).await.unwrap();
    round(world).await;
    assert_eq!(step(world).await, (Some("release".to_owned()), None));
    round(world).await;
    assert_eq!(step(world).await.0.as_deref(), Some("release"), "nothing is withdrawn before it is final");
    give_back(world, campaign, CAP).await;
    world.everything_is_final().await;
    campaign
}

async fn treasurys(world: &World) -> u128 {
    world.balance(key(0).address()).await
}

async fn withdrawn(world: &World) -> usize {
    world.events(&[EventKind::BudgetWithdrawn]).await.len()
}

#[tokio::test]
async fn a_campaign_is_closed_released_and_withdrawn() {
    let world = World::new().await;
    let campaign = released(&world).await;
    let before = treasurys(&world).await;
    round(&world).await;
    assert_eq!(treasurys(&world).await - before, CAP);
    for _ in 0..3 {
        round(&world).await;
        assert_eq!(withdrawn(&world).await, 0, "its block may yet be taken back");
    }
    world.everything_is_final().await;
    for _ in 0..3 {
        round(&world).await;
    }
    assert_eq!(treasurys(&world).await - before, CAP);
    let events = world.events(&[EventKind::BudgetWithdrawn]).await;
    let [Event::BudgetWithdrawn(event)] = &events.iter().map(|e| e.event.clone()).collect::<Vec<_>>()[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((event.campaign, event.to), (campaign, key(0).address()));
    assert!(event.tx.is_some());
}

/// Its process died right after it had sent it, or before.
#[tokio::test]
async fn a_withdrawal_that_nobody_knows_of_is_not_made_twice() {
    let world = World::new().await;
    let campaign = released(&world).await;
    let before = treasurys(&world).await;
    // Noted, and not sent.
    world.control.pause_mining().await.unwrap();
    let doomed = tokio::spawn({
        let treasury = treasury(&world);
        world.clock.advance(TimeDelta::minutes(10));
        async move { treasury.round().await }
    });
    let noted = "SELECT count(*) FROM closings WHERE nonce IS NOT NULL";
    while sqlx::query_scalar::<_, i64>(noted).fetch_one(world.pool()).await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    doomed.abort();
    world.control.mine_each_transaction().await.unwrap();
    world.control.mine(1).await.unwrap();
    for _ in 0..3 {
        round(&world).await;
        world.everything_is_final().await;
    }
    assert_eq!((treasurys(&world).await - before, withdrawn(&world).await), (CAP, 1));
    let closed = "SELECT count(*) FROM closings WHERE campaign = $1 AND withdrawn_at IS NOT NULL";
    let closed: i64 =
        sqlx::query_scalar(closed).bind(campaign.number()).fetch_one(world.pool()).await.unwrap();
    assert_eq!(closed, 1);
}

/// Somebody uses the treasury's key beside it.
#[tokio::test]
async fn a_withdrawal_whose_nonce_something_else_has_used_is_made_with_another() {
    let world = World::new().await;
    released(&world).await;
    let before = treasurys(&world).await;
    // Noted as if it had been sent, and lost.
    sqlx::query(
        "UPDATE closings SET nonce = $1, since_block = (SELECT final_number FROM chains), attempts = ARRAY[sha256('lost')]",
    )
    .bind(i64::try_from(world.node.nonce(key(0).address(), NonceAt::Latest).await.unwrap()).unwrap())
    .execute(world.pool())
    .await
    .unwrap();
    let transfer = Erc20::transferCall { to: Address::repeat_byte(5), value: U256::from(1) };
    world.owner_sends(world.deployed.token, transfer.abi_encode().into()).await;
    for _ in 0..2 {
        round(&world).await;
        assert_eq!(before - treasurys(&world).await, 1, "it may have withdrawn, before that is final");
    }
    for _ in 0..3 {
        world.everything_is_final().await;
        round(&world).await;
    }
    assert_eq!((treasurys(&world).await + 1 - before, withdrawn(&world).await), (CAP, 1));
}

#[tokio::test]
async fn what_is_to_be_withdrawn_backs_no_other_campaign() {
    let world = World::new().await;
    let campaign = released(&world).await;
    let other = world.campaign(8).await;
    let fund = async |cap: u128| {
        sqlx::query(
            "INSERT INTO funding_requests (campaign, cap, requested_by, requested_at) VALUES ($1, $2::numeric, 'm', $3)
             ON CONFLICT (campaign) DO UPDATE SET cap = EXCLUDED.cap, failures = 0, error = NULL, retry_at = NULL",
        )
        .bind(other.number())
        .bind(bigdecimal::BigDecimal::from(cap))
        .bind(world.now())
        .execute(world.pool())
        .await
        .unwrap();
    };
    let uncommitted = async || {
        let data = RewardVault::uncommittedCall { token: world.deployed.token }.abi_encode().into();
        let call = laurel_chain::Call { from: Address::ZERO, to: world.deployed.vault, data, gas: None };
        U256::from_be_slice(&world.node.call(call).await.unwrap())
    };
    let free = uncommitted().await;
    fund(CAP + 500).await;
    // The cap first, then the closing.
    let before = treasurys(&world).await;
    round(&world).await;
    let tx: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT tx FROM funding_requests").fetch_one(world.pool()).await.unwrap();
    assert_eq!(tx.map(|tx| tx.len()), Some(32), "whoever waits for it sees its transaction");
    assert_eq!(treasurys(&world).await + 500 - before, CAP, "500 went in, and what was left came out");
    assert_eq!(free - uncommitted().await, U256::from(CAP));
    // While that is not final nobody can say what is free.
    fund(CAP + 900).await;
    round(&world).await;
    let error: Option<String> =
        sqlx::query_scalar("SELECT error FROM funding_requests").fetch_one(world.pool()).await.unwrap();
    assert!(error.as_ref().is_some_and(|error| error.contains("until that is final")), "{error:?}");
    for _ in 0..3 {
        world.everything_is_final().await;
        round(&world).await;
    }
    let error: Option<String> =
        sqlx::query_scalar("SELECT error FROM funding_requests").fetch_one(world.pool()).await.unwrap();
    assert_eq!((error, withdrawn(&world).await), (None, 1));
    let about: Vec<CampaignId> = world
        .events(&[EventKind::BudgetWithdrawn])
        .await
        .into_iter()
        .filter_map(|envelope| match envelope.event {
            Event::BudgetWithdrawn(event) => Some(event.campaign),
            _ => None,
        })
        .collect();
    assert_eq!(about, [campaign]);
}

#[tokio::test]
async fn what_the_vault_refuses_is_told_and_tried_again() {
    let world = World::new().await;
    let campaign = world.campaign(7).await;
    ask(&world, campaign).await;
    // Only its owner, or its guardian, may close.
    let (node, pool, clock) = (world.node.clone(), world.pool().clone(), world.clock.clone());
    let stranger =
        Treasury::new(world.vault, Arc::new(key(3)), node, pool, clock, "one".to_owned(), MAX_FEE_PER_GAS);
    stranger.round().await.unwrap();
    let (_, error) = step(&world).await;
    assert!(error.unwrap().contains("may not do this in the vault"));
    let raised = "SELECT count(*) FROM alerts WHERE code = 'closing_failed' AND about = 'campaign:7'";
    assert_eq!(sqlx::query_scalar::<_, i64>(raised).fetch_one(world.pool()).await.unwrap(), 1);
    round(&world).await;
    assert_eq!(step(&world).await, (Some("close".to_owned()), None));
    assert_eq!(sqlx::query_scalar::<_, i64>(raised).fetch_one(world.pool()).await.unwrap(), 0);
}
