//! Every event has exactly one effect.

use crate::world::{Echo, World, drain, once};

#[tokio::test]
async fn two_replicas_handle_every_event_once() {
    let world = World::new(Echo::default()).await;
    let mut all = Vec::new();
    for round in 0..20 {
        let grants: Vec<(u64, u64, &str)> = (0..30).map(|campaign| (campaign, round, "fine")).collect();
        world.hold(&grants).await;
        all.extend(grants.iter().map(|(campaign, number, _)| (*campaign, *number)));
    }
    let (mut one, mut two) = (world.replica(), world.replica());
    tokio::join!(drain(&mut one), drain(&mut two));
    // Either may have ended while the other one held the last partition.
    drain(&mut one).await;
    assert_eq!(world.handled().await, once(&all));
}

#[tokio::test]
async fn events_of_a_subject_keep_their_order() {
    let world = World::new(Echo::default()).await;
    for number in 0..120 {
        world.hold(&[(7, number, "fine")]).await;
    }
    drain(&mut world.replica()).await;
    let seen: Vec<u64> = world.echo.seen.lock().unwrap().iter().map(|grant| grant.number).collect();
    assert_eq!(seen, (0..120).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_outage_is_no_attempt() {
    let world = World::new(Echo { outages: 25.into(), ..Echo::default() }).await;
    world.hold(&[(7, 0, "fine"), (8, 0, "fine")]).await;
    let mut replica = world.replica();
    let mut errors = 0;
    while world.handled().await.len() < 2 {
        if replica.round().await.is_err() {
            errors += 1;
        }
    }
    // Two of a round, one for each partition, end it.
    assert!(errors >= 12, "{errors}");
    assert_eq!(world.echo.outages.load(std::sync::atomic::Ordering::SeqCst), 0);
    assert_eq!(world.letters().await, []);
    assert_eq!(world.handled().await, once(&[(7, 0), (8, 0)]));
}

#[tokio::test]
async fn poison_that_must_not_be_passed_over_halts_its_partition_only() {
    let world = World::new(Echo { halts: true.into(), ..Echo::default() }).await;
    // Campaigns 1 and 2 are filed in different partitions.
    world.hold(&[(1, 0, "poison"), (1, 1, "fine"), (2, 0, "fine")]).await;
    let mut replica = world.replica();
    let mut halted = None;
    for _ in 0..5 {
        if let Err(error) = replica.round().await {
            halted = Some(error);
        }
    }
    assert!(halted.unwrap().chain().contains("bad grant"));
    assert_eq!(world.handled().await, once(&[(2, 0)]));
    assert_eq!(world.letters().await, []);
    world.echo.cured.store(true, std::sync::atomic::Ordering::SeqCst);
    drain(&mut replica).await;
    assert_eq!(world.handled().await, once(&[(1, 0), (1, 1), (2, 0)]));
}
