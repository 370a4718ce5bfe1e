//! Bytes are committed, then sent; whatever happens between the two, the same bytes are sent again and nothing else.

use alloy::primitives::{Bytes, keccak256};
use chrono::TimeDelta;
use laurel_grant_saga::Progress;
use tokio::time::timeout;

use crate::{
    batching::submitted,
    faulty_node::Line,
    world::{LEASE_IS_OVER, World, amount_of},
};

/// The stored bytes of every attempt.
async fn stored(world: &World) -> Vec<Bytes> {
    let raw: Vec<Vec<u8>> = sqlx::query_scalar("SELECT raw FROM attempts ORDER BY batch, number")
        .fetch_all(world.pool())
        .await
        .unwrap();
    raw.into_iter().map(Bytes::from).collect()
}

/// A grant of one player goes through a line that fails, and then a second replica takes over.
async fn second_replica_finishes(line: Line) {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let (player, wallet) = world.player_with_wallet().await;
    let grant = world.request(campaign, &[player]).await[0];
    crate::world::drain(&mut world.grants).await;
    let sent_before = world.node.sent().len();
    let mut first = world.driver(1, "first").await;
    world.node.set_line(line);
    // Whoever hangs is killed: the step is dropped in the middle of the sending.
    let step = timeout(std::time::Duration::from_secs(5), first.step()).await;
    assert_eq!(step.is_err(), line == Line::Hangs);
    let bytes = stored(&world).await;
    assert_eq!(bytes.len(), 1, "committed before anything could be known of the sending");
    drop(first);
    world.node.set_line(Line::Good);
    world.clock.advance(LEASE_IS_OVER);
    let mut second = world.driver(1, "second").await;
    assert_eq!(second.step().await.unwrap(), Progress::Idle, "there is nothing new to send");
    assert_eq!(second.step().await.unwrap(), Progress::Idle);
    world.control.mine(1).await.unwrap();
    assert_eq!(stored(&world).await, bytes, "nothing was signed anew");
    let sent = world.node.sent().split_off(sent_before);
    assert!(
        sent.len() >= 2 && sent.iter().all(|raw| *raw == bytes[0]),
        "the same bytes again, and nothing else"
    );
    assert_eq!(world.balance(wallet).await, u128::try_from(amount_of(grant).units()).unwrap());
}

#[tokio::test]
async fn what_was_swallowed_is_sent_by_the_next_replica() {
    second_replica_finishes(Line::Swallows).await;
}

#[tokio::test]
async fn what_arrived_without_an_answer_is_paid_once() {
    second_replica_finishes(Line::LosesAnswers).await;
}

#[tokio::test]
async fn what_died_between_commit_and_sending_is_sent_by_the_next_replica() {
    second_replica_finishes(Line::Hangs).await;
}

#[tokio::test]
async fn the_same_replica_sends_again_what_no_node_accepted() {
    let mut world = World::new().await;
    let (mut driver, _) = world.swallowed(1).await;
    let before = world.node.sent().len();
    driver.step().await.unwrap();
    assert_eq!(world.node.sent().len(), before, "not before the monitor's interval");
    world.clock.advance(TimeDelta::seconds(2));
    driver.step().await.unwrap();
    assert_eq!(world.node.sent().len(), before + 1);
    let hash = keccak256(&stored(&world).await[0]);
    assert_eq!(submitted(&world).await[0].tx, hash, "the journal names the hash of what was sent");
}

#[tokio::test]
async fn a_late_transaction_is_sent_again_after_the_monitors_timeout() {
    let mut world = World::new().await;
    world.control.pause_mining().await.unwrap();
    let campaign = world.campaign(7).await;
    world.queue(campaign, 1).await;
    let mut driver = world.driver(1, "a").await;
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    let before = world.node.sent().len();
    for _ in 0..29 {
        world.clock.advance(TimeDelta::seconds(2));
        driver.step().await.unwrap();
    }
    assert_eq!(world.node.sent().len(), before, "58 seconds are not late");
    world.clock.advance(TimeDelta::seconds(2));
    driver.step().await.unwrap();
    assert_eq!(world.node.sent().len(), before + 1);
}

#[tokio::test]
async fn whoever_gets_a_lane_back_sends_again_what_is_under_way() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    world.control.pause_mining().await.unwrap();
    world.queue(campaign, 1).await;
    let (mut first, mut second) = (world.driver(1, "first").await, world.driver(1, "second").await);
    let before = world.node.sent().len();
    for (is_first, sent) in [(true, 1), (false, 2), (true, 3)] {
        let driver = if is_first { &mut first } else { &mut second };
        driver.step().await.unwrap();
        assert_eq!(world.node.sent().len() - before, sent);
        world.clock.advance(LEASE_IS_OVER);
    }
}
