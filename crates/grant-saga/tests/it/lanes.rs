//! A lane belongs to one replica at a time, and stops when somebody else uses its key.

use std::{sync::atomic::Ordering, time::Duration};

use alloy::{
    primitives::{Address, Bytes},
    sol_types::SolCall,
};
use chrono::TimeDelta;
use laurel_chain::RewardVault;
use laurel_events::CampaignId;
use laurel_grant_saga::{LaneDriver, LaneState, Progress, list_lanes};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    batching::submitted,
    faulty_node::Says,
    world::{LEASE_IS_OVER, MAX_FEE_PER_GAS, World},
};

pub(crate) async fn alerts(world: &World) -> Vec<(String, String)> {
    sqlx::query_as("SELECT code, about FROM alerts ORDER BY code, about")
        .fetch_all(world.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn one_replica_drives_a_lane_until_its_lease_is_over() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    world.queue(campaign, 1).await;
    let (mut first, mut second) = (world.driver(1, "first").await, world.driver(1, "second").await);
    assert_eq!(first.step().await.unwrap(), Progress::Sent);
    world.queue(campaign, 1).await;
    world.clock.advance(TimeDelta::seconds(1));
    assert_eq!(second.step().await.unwrap(), Progress::Idle, "the lane is leased");
    assert_eq!(submitted(&world).await.len(), 1);
    world.clock.advance(TimeDelta::seconds(1));
    assert_eq!(second.step().await.unwrap(), Progress::Sent, "the lease is over");
    assert_eq!(first.step().await.unwrap(), Progress::Idle, "and now it is the other one's");
}

/// A node that answers slowly keeps a step for longer than a lease lasts.
#[tokio::test]
async fn a_slow_replica_keeps_its_lane_and_a_dead_one_loses_it() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    world.queue(campaign, 2).await;
    let (slow, mut second) = (world.driver(1, "slow").await, world.driver(1, "second").await);
    world.node.stop_next.store(true, Ordering::SeqCst);
    let slow = tokio::spawn(slow.run(CancellationToken::new()));
    world.node.stopped.notified().await;
    world.clock.advance(LEASE_IS_OVER);
    until(async || world.lease_until().await > world.now()).await;
    assert_eq!(second.step().await.unwrap(), Progress::Idle, "slow, and not dead");
    world.node.go_on.notify_one();
    until(async || submitted(&world).await.len() == 1).await;
    slow.abort();
    assert!(slow.await.unwrap_err().is_cancelled());
    world.queue(campaign, 1).await;
    world.clock.advance(LEASE_IS_OVER);
    assert_eq!(second.step().await.unwrap(), Progress::Sent);
}

/// Waits for what a task of its own does.
pub(crate) async fn until(wanted: impl AsyncFn() -> bool) {
    let waiting = async {
        while !wanted().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), waiting).await.expect("it happens in time");
}

/// The first replica is stopped after it decided to sign; when it wakes up, the lane has another holder and the grants
/// are in a batch of that one. It must find that out by itself, and write nothing.
#[tokio::test]
async fn a_zombie_signs_in_vain() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    world.queue(campaign, 2).await;
    let (mut zombie, mut second) = (world.driver(1, "zombie").await, world.driver(1, "second").await);
    world.node.stop_next.store(true, Ordering::SeqCst);
    let asleep = tokio::spawn(async move { zombie.step().await.unwrap() });
    world.node.stopped.notified().await;
    world.clock.advance(LEASE_IS_OVER);
    assert_eq!(second.step().await.unwrap(), Progress::Sent);
    world.node.go_on.notify_one();
    assert_ne!(asleep.await.unwrap(), Progress::Idle, "it knows that others took the grants");
    let batches = submitted(&world).await;
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].segments[0].count, 2);
}

/// The first replica is stopped while it asks how many transactions the chain has of the lane. When it is told, there is one
/// that it did not sign: its successor's, not a stranger's.
#[tokio::test]
async fn a_zombie_does_not_take_its_successor_for_a_stranger() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    world.queue(campaign, 2).await;
    let (mut zombie, mut second) = (world.driver(1, "zombie").await, world.driver(1, "second").await);
    world.node.stop_before_nonce();
    let asleep = tokio::spawn(async move { zombie.step().await.unwrap() });
    world.node.stopped.notified().await;
    world.clock.advance(LEASE_IS_OVER);
    assert_eq!(second.step().await.unwrap(), Progress::Sent);
    world.control.mine(1).await.unwrap();
    world.node.go_on.notify_one();
    assert_eq!(asleep.await.unwrap(), Progress::Idle);
    assert_eq!(alerts(&world).await, []);
    let lanes = list_lanes(&mut world.pool().acquire().await.unwrap()).await.unwrap();
    assert_eq!(lanes[0].state, LaneState::Active);
}

/// Here the other replica took the lane and died before it wrote anything: places and nonce are as the first one knew
/// them, and only the fence tells that the lane is not its own any more.
#[tokio::test]
async fn a_zombie_whose_lane_was_only_leased_writes_nothing() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    world.queue(campaign, 2).await;
    let (mut zombie, mut second) = (world.driver(1, "zombie").await, world.driver(1, "second").await);
    world.node.stop_next.store(true, Ordering::SeqCst);
    let asleep = tokio::spawn(async move { zombie.step().await.unwrap() });
    world.node.stopped.notified().await;
    world.clock.advance(LEASE_IS_OVER);
    world.node.stop_next.store(true, Ordering::SeqCst);
    tokio::select! {
        ended = second.step() => panic!("it was to be stopped: {ended:?}"),
        () = world.node.stopped.notified() => {}
    }
    world.node.go_on.notify_one();
    assert_eq!(asleep.await.unwrap(), Progress::Idle);
    assert_eq!(submitted(&world).await, []);
}

#[tokio::test]
async fn two_lanes_never_take_the_same_places() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    world.queue(campaign, 40).await;
    let (mut one, mut two) = (world.driver(1, "a").await, world.driver(2, "a").await);
    for _ in 0..12 {
        let (one, two) = tokio::join!(one.step(), two.step());
        one.unwrap();
        two.unwrap();
        world.control.mine(1).await.unwrap();
    }
    let mut covered = Vec::new();
    for batch in submitted(&world).await {
        for segment in &batch.segments {
            covered.extend(segment.first_seq..segment.first_seq + u64::from(segment.count));
        }
    }
    let mut once = covered.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), covered.len(), "no place is in two batches");
}

#[tokio::test]
async fn a_nonce_used_elsewhere_halts_the_lane() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let mut driver = world.driver(1, "a").await;
    world.sends(1, Address::repeat_byte(9), Bytes::new()).await;
    world.queue(campaign, 1).await;
    assert_eq!(driver.step().await.unwrap(), Progress::Idle);
    assert_eq!(submitted(&world).await, []);
    let lanes = list_lanes(&mut world.pool().acquire().await.unwrap()).await.unwrap();
    assert_eq!(lanes[0].state, LaneState::Halted);
    assert_eq!(alerts(&world).await[0].0, "nonce_used_elsewhere");
}

#[tokio::test]
async fn what_would_revert_is_not_signed() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let fine: CampaignId = world.campaign(8).await;
    world.owner_sends(world.deployed.vault, RewardVault::pauseCall {}.abi_encode().into()).await;
    world.queue(campaign, 1).await;
    let mut driver = world.driver(1, "a").await;
    assert_eq!(driver.step().await.unwrap(), Progress::Idle);
    assert_eq!(submitted(&world).await, []);
    let about = format!("campaign:{campaign}");
    assert_eq!(alerts(&world).await, [("settlement_would_revert".to_owned(), about)]);
    world.owner_sends(world.deployed.vault, RewardVault::unpauseCall {}.abi_encode().into()).await;
    world.queue(fine, 1).await;
    assert_eq!(driver.step().await.unwrap(), Progress::Sent, "the other campaigns go on");
    assert_eq!(submitted(&world).await[0].segments[0].campaign, fine);
    world.clock.advance(TimeDelta::seconds(16));
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    assert_eq!(submitted(&world).await[1].segments[0].campaign, campaign);
    assert_eq!(alerts(&world).await, [], "the alert ends with its cause");
}

/// What one campaign's settlement makes a node answer is no other campaign's trouble.
#[tokio::test]
async fn a_campaign_of_which_only_errors_are_said_rests_alone() {
    let mut world = World::new().await;
    let (campaign, fine) = (world.campaign(7).await, world.campaign(8).await);
    world.queue(campaign, 1).await;
    world.queue(fine, 1).await;
    let mut driver = world.driver(1, "a").await;
    world.node.set_says(Says::ErrorAbout(campaign));
    assert_eq!(driver.step().await.unwrap(), Progress::Idle);
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    assert_eq!(submitted(&world).await[0].segments[0].campaign, fine);
    assert_eq!(alerts(&world).await, [], "once is nothing");
    world.clock.advance(TimeDelta::seconds(16));
    assert_eq!(driver.step().await.unwrap(), Progress::Idle);
    let about = format!("campaign:{campaign}");
    assert_eq!(alerts(&world).await, [("settlement_would_revert".to_owned(), about)]);
    world.node.set_says(Says::True);
    world.clock.advance(TimeDelta::seconds(16));
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    assert_eq!(submitted(&world).await[1].segments[0].campaign, campaign);
    assert_eq!(alerts(&world).await, []);
}

/// Takes two steps in every second, for so many.
async fn fail_for(world: &World, driver: &mut LaneDriver, seconds: usize) {
    for _ in 0..2 * seconds {
        driver.round().await.unwrap_err();
        world.clock.advance(TimeDelta::milliseconds(500));
    }
}

#[tokio::test]
async fn a_lane_whose_every_step_fails_is_told_of_until_one_succeeds() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    world.queue(campaign, 1).await;
    let mut driver = world.driver(1, "a").await;
    world.node.silent.store(true, Ordering::SeqCst);
    fail_for(&world, &mut driver, 59).await;
    world.node.silent.store(false, Ordering::SeqCst);
    assert_eq!(driver.round().await.unwrap(), Progress::Sent, "nodes are restarted");
    // Now it has something to see to, every second, and nothing to sign.
    world.clock.advance(TimeDelta::seconds(1));
    world.node.silent.store(true, Ordering::SeqCst);
    fail_for(&world, &mut driver, 60).await;
    assert_eq!(alerts(&world).await, []);
    fail_for(&world, &mut driver, 1).await;
    assert_eq!(alerts(&world).await, [("lane_failing".to_owned(), "lane:1".to_owned())]);
    world.node.silent.store(false, Ordering::SeqCst);
    // Whoever takes the lane over did not raise it.
    world.clock.advance(LEASE_IS_OVER);
    world.driver(1, "b").await.round().await.unwrap();
    assert_eq!(alerts(&world).await, []);
}

/// As it is when a pooler leads somewhere else since the connection was made.
#[tokio::test]
async fn on_another_database_nothing_is_signed_no_place_is_given_and_a_quarantine_begins() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    world.queue(campaign, 2).await;
    let mut driver = world.driver(1, "one").await;
    sqlx::query(
        "INSERT INTO identity (epoch, database_id, timeline, noted_at)
         SELECT gen_random_uuid(), database_id, timeline + 1, now() FROM present_identity()",
    )
    .execute(world.pool())
    .await
    .unwrap();
    // Also before anybody has noticed.
    let (player, _) = world.player_with_wallet().await;
    world.request(campaign, &[player]).await;
    while world.grants.round().await.is_ok_and(|more| more) {}
    assert!(world.grants.round().await.is_err(), "its stage waits");
    assert_eq!(driver.step().await.unwrap(), Progress::Idle);
    assert_eq!(driver.step().await.unwrap(), Progress::Idle);
    assert_eq!(submitted(&world).await.len(), 0);
    let raised = alerts(&world).await;
    let about = |code: &str, about: &str| (code.to_owned(), about.to_owned());
    assert_eq!(raised, [about("payouts_stopped", "all"), about("quarantine", "database")]);
    // The stop alone is not what keeps it: whoever lifts that by mistake has lifted nothing.
    sqlx::query("DELETE FROM stops").execute(world.pool()).await.unwrap();
    assert_eq!(driver.step().await.unwrap(), Progress::Idle);
    assert_eq!(submitted(&world).await.len(), 0);
    while world.grants.round().await.is_ok_and(|more| more) {}
    assert!(world.grants.round().await.is_err(), "its stage waits as before");
    let places: i64 =
        sqlx::query_scalar("SELECT next_seq FROM queues").fetch_one(world.pool()).await.unwrap();
    assert_eq!(places, 2);
}

/// A key that is gone: what the lane has signed waits for it, and only another lane can say so.
#[tokio::test]
async fn a_lane_that_nobody_drives_is_told_of_until_somebody_does() {
    let mut world = World::new().await;
    let (mut driver, _) = world.swallowed(2).await;
    let mut other = world.driver(2, "a").await;
    world.clock.advance(TimeDelta::minutes(5));
    other.step().await.unwrap();
    world.clock.advance(TimeDelta::minutes(1));
    other.step().await.unwrap();
    assert_eq!(alerts(&world).await, [], "a minute before it was leased until two seconds later");
    world.clock.advance(TimeDelta::minutes(1));
    other.step().await.unwrap();
    assert_eq!(alerts(&world).await, [("lane_abandoned".to_owned(), "lane:1".to_owned())]);
    world.clock.advance(TimeDelta::seconds(1));
    other.step().await.unwrap();
    assert_eq!(alerts(&world).await.len(), 1);
    // Also while gas costs too much for it to go on.
    world.control.set_base_fee(MAX_FEE_PER_GAS + 1).await.unwrap();
    driver.step().await.unwrap();
    let codes: Vec<String> = alerts(&world).await.into_iter().map(|(code, _)| code).collect();
    assert!(!codes.contains(&"lane_abandoned".to_owned()), "{codes:?}");
}

/// Nobody could renew a lease without the database: whoever is back first does not tell of the others.
#[tokio::test]
async fn a_lane_whose_holder_comes_back_with_the_database_is_not_told_of() {
    let mut world = World::new().await;
    let (mut driver, _) = world.swallowed(2).await;
    let mut other = world.driver(2, "a").await;
    other.step().await.unwrap();
    world.clock.advance(TimeDelta::minutes(10));
    other.step().await.unwrap();
    assert_eq!(alerts(&world).await, []);
    driver.step().await.unwrap();
    world.clock.advance(TimeDelta::minutes(1));
    other.step().await.unwrap();
    assert_eq!(alerts(&world).await, []);
}

#[tokio::test]
async fn a_lane_without_batches_may_be_left_alone() {
    let world = World::new().await;
    world.driver(1, "a").await.step().await.unwrap();
    let mut other = world.driver(2, "a").await;
    for _ in 0..10 {
        world.clock.advance(TimeDelta::minutes(1));
        other.step().await.unwrap();
    }
    assert_eq!(alerts(&world).await, []);
}
