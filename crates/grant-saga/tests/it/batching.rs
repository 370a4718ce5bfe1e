//! Places are given once and densely; batches close at once, by size, or by age.

use chrono::TimeDelta;
use laurel_chain::GrantWord;
use laurel_events::{BlockchainTxSubmitted, Event, EventKind};
use laurel_grant_saga::Progress;

use crate::world::{AGE_MAX, GRANTS_MAX, UNMINED_MAX, World, amount_of, drain};

pub(crate) async fn submitted(world: &World) -> Vec<BlockchainTxSubmitted> {
    let mut submitted: Vec<BlockchainTxSubmitted> = world
        .events(&[EventKind::BlockchainTxSubmitted])
        .await
        .into_iter()
        .map(|envelope| match envelope.event {
            Event::BlockchainTxSubmitted(submitted) => submitted,
            _ => panic!("not asked for"),
        })
        .collect();
    submitted.sort_by_key(|submitted| (submitted.lane, submitted.nonce));
    submitted
}

/// The first place and the size of each batch.
async fn sizes(world: &World) -> Vec<(u64, u32)> {
    submitted(world)
        .await
        .iter()
        .map(|batch| (batch.segments[0].first_seq, batch.segments[0].count))
        .collect()
}

#[tokio::test]
async fn places_are_dense_and_words_name_wallet_and_amount() {
    let mut world = World::new().await;
    let (one, two) = (world.campaign(7).await, world.campaign(8).await);
    let (player, wallet) = world.player_with_wallet().await;
    let (other, other_wallet) = world.player_with_wallet().await;
    for _ in 0..3 {
        world.request(one, &[player, other]).await;
        world.request(two, &[other]).await;
        drain(&mut world.grants).await;
    }
    let mut places = Vec::new();
    for envelope in world.events(&[EventKind::TokenGrantStarted]).await {
        let Event::TokenGrantStarted(started) = envelope.event else { panic!("not asked for") };
        let recipient = match (started.grant.campaign == one, started.grant.number % 2) {
            (true, 0) => wallet,
            _ => other_wallet,
        };
        let word = GrantWord::new(recipient, amount_of(started.grant)).unwrap().encode();
        assert_eq!(started.word, word, "{}", started.grant);
        places.push((started.grant.campaign, started.seq, started.grant.number));
    }
    places.sort_unstable();
    // Seqs are given in the order of the numbers, from 0, in each campaign of its own.
    let expected: Vec<_> = (0..6).map(|n| (one, n, n)).chain((0..3).map(|n| (two, n, n))).collect();
    assert_eq!(places, expected);
}

#[tokio::test]
async fn an_idle_lane_sends_at_once_and_a_busy_one_waits_for_size_or_age() {
    let mut world = World::new().await;
    world.control.pause_mining().await.unwrap();
    let campaign = world.campaign(7).await;
    let mut driver = world.driver(1, "a").await;
    world.queue(campaign, 1).await;
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    assert_eq!(sizes(&world).await, [(0, 1)], "one grant, and nothing to wait for");
    world.queue(campaign, 2).await;
    assert_eq!(
        driver.step().await.unwrap(),
        Progress::Idle,
        "a batch is under way, and these two can have company"
    );
    world.clock.advance(TimeDelta::from_std(AGE_MAX).unwrap());
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    assert_eq!(sizes(&world).await, [(0, 1), (1, 2)], "old enough");
    world.queue(campaign, GRANTS_MAX as usize + 1).await;
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    assert_eq!(sizes(&world).await, [(0, 1), (1, 2), (3, GRANTS_MAX)], "full");
}

#[tokio::test]
async fn no_more_batches_than_nodes_keep() {
    let mut world = World::new().await;
    world.control.pause_mining().await.unwrap();
    let campaign = world.campaign(7).await;
    let mut driver = world.driver(1, "a").await;
    world.queue(campaign, GRANTS_MAX as usize * (UNMINED_MAX + 2)).await;
    for _ in 0..UNMINED_MAX {
        assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    }
    assert_eq!(driver.step().await.unwrap(), Progress::Idle);
    let batches = submitted(&world).await;
    assert_eq!(batches.len(), UNMINED_MAX);
    let nonces: Vec<u64> = batches.iter().map(|batch| batch.nonce - batches[0].nonce).collect();
    assert_eq!(nonces, (0..UNMINED_MAX as u64).collect::<Vec<_>>(), "no nonce is left out");
}
