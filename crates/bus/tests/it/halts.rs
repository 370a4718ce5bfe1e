//! A final fact is never a letter: it is handled, or its partition stands still and operators are told.

use std::sync::atomic::Ordering;

use chrono::TimeDelta;
use laurel_bus::{Runner, StageError, drop_letter, list_letters};
use laurel_events::{EventKind, Partition};

use crate::world::{Echo, World, drain, held, once, released};

fn partition(campaign: u64) -> Partition {
    let held = held(campaign, 0, "fine");
    assert_eq!(held.event.kind(), EventKind::TokenGrantHeld);
    held.event.subject().partition()
}

/// Runs a replica until there is nothing to do but what it stands still before.
async fn halts(replica: &mut Runner) -> StageError {
    loop {
        match replica.round().await {
            Ok(true) => {}
            Ok(false) => panic!("it does not stand still"),
            Err(error) => return error,
        }
    }
}

async fn halting() -> World {
    World::new(Echo { halts: true.into(), ..Echo::default() }).await
}

#[tokio::test]
async fn a_final_fact_does_not_wait_behind_a_letter() {
    let world = World::new(Echo::default()).await;
    // In the delivery that finds the poison, and in a later one.
    world.append(&[held(9, 0, "poison"), released(9, 1), held(9, 2, "fine")]).await;
    let mut replica = world.replica();
    drain(&mut replica).await;
    assert_eq!(world.handled().await, once(&[(9, 1)]));
    world.append(&[held(9, 3, "fine"), released(9, 4)]).await;
    drain(&mut replica).await;
    assert_eq!(world.handled().await, once(&[(9, 1), (9, 4)]));
    let kinds: Vec<(String, String)> =
        sqlx::query_as("SELECT kind, state FROM dead_letters ORDER BY position, idx")
            .fetch_all(world.pool())
            .await
            .unwrap();
    let expected = ["retrying", "blocked", "blocked"].map(|state| ("TokenGrantHeld".into(), state.into()));
    assert_eq!(kinds, expected);
    world.echo.cured.store(true, Ordering::SeqCst);
    world.clock.advance(TimeDelta::seconds(1));
    drain(&mut replica).await;
    assert_eq!(world.handled().await, once(&[(9, 0), (9, 1), (9, 2), (9, 3), (9, 4)]));
}

#[tokio::test]
async fn a_halt_is_told_with_its_event_until_the_partition_goes_on() {
    let world = halting().await;
    world.hold(&[(1, 0, "fine"), (1, 1, "poison")]).await;
    let mut replica = world.replica();
    for _ in 0..3 {
        halts(&mut replica).await;
        let [(about, detail)] = world.alerts().await.try_into().unwrap();
        assert_eq!(about, format!("stage:echo/partition:{}", partition(1).number()));
        assert!(detail.starts_with(&format!("event {}/0/1 (TokenGrantHeld): ", partition(1))), "{detail}");
        assert!(detail.ends_with("bad grant"), "{detail}");
    }
    assert_eq!(world.told().await, (1, 0));
    world.echo.cured.store(true, Ordering::SeqCst);
    drain(&mut replica).await;
    assert_eq!(world.alerts().await, []);
    assert_eq!(world.told().await, (1, 1));
    // The next halt is told again.
    world.echo.cured.store(false, Ordering::SeqCst);
    world.hold(&[(1, 2, "poison")]).await;
    halts(&mut replica).await;
    assert_eq!(world.told().await, (2, 1));
}

/// Only the chunk that has the event waits with it, and what comes after.
#[tokio::test]
async fn what_stands_before_a_halt_does_not_wait() {
    let world = halting().await;
    for number in 0..6 {
        world.hold(&[(1, number, if number == 4 { "poison" } else { "fine" })]).await;
    }
    let mut replica = world.replica();
    assert!(replica.round().await.unwrap());
    assert_eq!(world.handled().await, once(&[(1, 0), (1, 1), (1, 2), (1, 3)]));
    halts(&mut replica).await;
    assert_eq!(world.alerts().await.len(), 1);
    world.echo.cured.store(true, Ordering::SeqCst);
    drain(&mut replica).await;
    assert_eq!(world.handled().await, once(&[(1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (1, 5)]));
}

/// One that always has something to do is no quieter about it.
#[tokio::test]
async fn a_halt_is_told_while_other_partitions_go_on() {
    let world = halting().await;
    assert_ne!(partition(1), partition(2));
    world.hold(&[(1, 0, "poison"), (2, 0, "fine")]).await;
    assert!(world.replica().round().await.unwrap(), "there may be more");
    assert_eq!(world.alerts().await.len(), 1);
    assert_eq!(world.handled().await, once(&[(2, 0)]));
}

/// Another replica, one of a version that can handle the event, goes on and clears what the first one raised.
#[tokio::test]
async fn any_replica_clears_the_alert() {
    let world = halting().await;
    world.hold(&[(1, 0, "poison")]).await;
    halts(&mut world.replica()).await;
    world.echo.cured.store(true, Ordering::SeqCst);
    drain(&mut world.replica()).await;
    assert_eq!((world.alerts().await, world.told().await), (Vec::new(), (1, 1)));
}

/// A letter from before its kind became one that halts.
async fn old_letter() -> (World, i64) {
    let world = World::new(Echo::default()).await;
    world.hold(&[(9, 0, "poison")]).await;
    drain(&mut world.replica()).await;
    world.echo.halts.store(true, Ordering::SeqCst);
    let mut conn = world.pool().acquire().await.unwrap();
    let letters = list_letters(&mut conn, None, 0, 10).await.unwrap();
    let id = letters[0].id;
    drop(conn);
    (world, id)
}

#[tokio::test]
async fn a_letter_whose_kind_halts_is_never_dead() {
    let (world, id) = old_letter().await;
    let mut replica = world.replica();
    for number in 1..=6 {
        world.clock.advance(TimeDelta::seconds(10));
        world.hold(&[(9, number, "fine")]).await;
        while !matches!(replica.round().await, Ok(false)) {}
        let [(about, _)] = world.alerts().await.try_into().unwrap();
        assert_eq!(about, format!("stage:echo/letter:{id}"));
    }
    assert_eq!(world.letters().await, [("campaign:9".to_owned(), "retrying".to_owned(), 7)]);
    // What came after it did not wait.
    let mut handled: Vec<_> = (1..=6).map(|number| (9, number)).collect();
    assert_eq!(world.handled().await, once(&handled));
    world.echo.cured.store(true, Ordering::SeqCst);
    world.clock.advance(TimeDelta::seconds(10));
    drain(&mut replica).await;
    handled.push((9, 0));
    assert_eq!(world.handled().await, once(&handled));
    assert_eq!((world.alerts().await, world.told().await), (Vec::new(), (1, 1)));
}

#[tokio::test]
async fn an_operator_who_drops_such_a_letter_ends_its_alert() {
    let (world, id) = old_letter().await;
    world.clock.advance(TimeDelta::seconds(1));
    drain(&mut world.replica()).await;
    assert_eq!(world.alerts().await.len(), 1);
    let mut tx = world.pool().begin().await.unwrap();
    drop_letter(&mut tx, world.now(), id).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((world.alerts().await, world.told().await), (Vec::new(), (1, 1)));
}

/// What one partition needs is away for long; the others have what they need.
#[tokio::test]
async fn a_partition_that_fails_does_not_keep_the_others_from_going_on() {
    let world = World::new(Echo::default()).await;
    let mut campaigns: Vec<u64> = (1..=40).collect();
    campaigns.sort_by_key(|campaign| partition(*campaign).number());
    let (first, last) = (campaigns[0], campaigns[39]);
    assert!(partition(first).number() < partition(last).number());
    world.hold(&[(first, 0, "down"), (last, 0, "fine")]).await;
    let mut replica = world.replica();
    let error = halts(&mut replica).await;
    assert!(matches!(error, StageError::Infrastructure(_)), "{error:?}");
    assert_eq!(world.handled().await, once(&[(last, 0)]));
}
