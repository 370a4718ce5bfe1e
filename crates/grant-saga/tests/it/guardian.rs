//! A guardian pauses the vault of a chain that is stopped, and tells people where it cannot.

use std::sync::Arc;

use alloy::sol_types::SolCall;
use laurel_chain::RewardVault;
use laurel_events::{Event, NewEvent};
use laurel_grant_saga::Guardian;
use laurel_ledger::{Context, Stop, append, resume_payouts, stop_payouts};

use crate::{
    lanes::alerts,
    world::{World, key},
};

/// The account that may pause the vault.
const OWNER: usize = 0;

/// An account that may not.
const NOBODY: usize = 5;

/// How many failed steps nobody is told of.
const FAILURES: usize = 14;

fn guardian(world: &World, account: usize) -> Guardian {
    Guardian::new(world.vault, Arc::new(key(account)), world.node.clone(), world.pool().clone())
}

async fn tell(world: &World, events: Vec<Event>) {
    let events: Vec<NewEvent> = events.into_iter().map(NewEvent::from).collect();
    let mut conn = world.pool().acquire().await.unwrap();
    append(&mut conn, &Context::at(world.now()), &events).await.unwrap();
}

async fn stop(world: &World) {
    let mut conn = world.pool().acquire().await.unwrap();
    let (_, events) = stop_payouts(&mut conn, world.now(), Stop::All, "a test", "test").await.unwrap();
    drop(conn);
    tell(world, events).await;
}

async fn resume(world: &World) {
    let mut conn = world.pool().acquire().await.unwrap();
    let events = resume_payouts(&mut conn, Stop::All).await.unwrap().unwrap();
    drop(conn);
    tell(world, events).await;
}

async fn not_paused(world: &World) -> Vec<String> {
    let raised = alerts(world).await.into_iter();
    raised.filter(|(code, _)| code == "vault_not_paused").map(|(_, about)| about).collect()
}

#[tokio::test]
async fn a_guardian_that_cannot_pause_the_vault_tells_until_somebody_else_does() {
    let world = World::new().await;
    let mut powerless = guardian(&world, NOBODY);
    assert!(!powerless.round().await.unwrap(), "nothing is stopped");
    stop(&world).await;
    for _ in 0..FAILURES {
        powerless.round().await.unwrap_err();
    }
    assert_eq!(not_paused(&world).await, [""; 0], "another one may have been quicker");
    powerless.round().await.unwrap_err();
    let about = format!("vault:{}", world.deployed.vault);
    assert_eq!(not_paused(&world).await, [about]);
    world.owner_sends(world.deployed.vault, RewardVault::pauseCall {}.abi_encode().into()).await;
    assert!(!powerless.round().await.unwrap(), "it is paused already");
    assert_eq!(not_paused(&world).await, [""; 0]);
}

/// Whoever finds the vault paused knows better than whoever cannot ask: the alert does not come and go.
#[tokio::test]
async fn another_guardian_ends_what_one_has_told() {
    let world = World::new().await;
    let (mut powerless, mut powerful) = (guardian(&world, NOBODY), guardian(&world, OWNER));
    stop(&world).await;
    for _ in 0..=FAILURES {
        powerless.round().await.unwrap_err();
    }
    assert_eq!(not_paused(&world).await.len(), 1);
    assert!(powerful.round().await.unwrap());
    assert!(!powerful.round().await.unwrap());
    assert_eq!(not_paused(&world).await, [""; 0]);
}

#[tokio::test]
async fn when_payouts_go_on_nobody_wants_the_vault_paused() {
    let world = World::new().await;
    let mut powerless = guardian(&world, NOBODY);
    stop(&world).await;
    for _ in 0..=FAILURES {
        powerless.round().await.unwrap_err();
    }
    assert_eq!(not_paused(&world).await.len(), 1);
    resume(&world).await;
    // Also by one that was started meanwhile.
    guardian(&world, NOBODY).round().await.unwrap();
    assert_eq!(not_paused(&world).await, [""; 0]);
}
