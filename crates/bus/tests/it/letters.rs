//! A poison message is set aside, its subject waits, the partition goes on.

use std::{sync::atomic::Ordering, time::Duration};

use chrono::TimeDelta;
use laurel_bus::{LetterState, RedriveError, drop_letter, find_letter, list_letters, redrive_letter};
use sqlx::{Postgres, Transaction};
use tokio::task::JoinHandle;

use crate::world::{Echo, World, drain, once};

fn letter(subject: &str, state: &str, attempts: i32) -> (String, String, i32) {
    (subject.to_owned(), state.to_owned(), attempts)
}

/// Thirty-two campaigns with a poison message in one: all others are handled, in one delivery.
async fn poisoned() -> World {
    let world = World::new(Echo::default()).await;
    let mut grants: Vec<(u64, u64, &str)> = (0..32).map(|campaign| (campaign, 0, "fine")).collect();
    grants[9].2 = "poison";
    world.hold(&grants).await;
    drain(&mut world.replica()).await;
    world
}

fn all_but_nine() -> Vec<(u64, u64)> {
    (0..32).filter(|campaign| *campaign != 9).map(|campaign| (campaign, 0)).collect()
}

#[tokio::test]
async fn one_bad_message_is_found_among_good_ones() {
    let world = poisoned().await;
    assert_eq!(world.handled().await, once(&all_but_nine()));
    assert_eq!(world.letters().await, [letter("campaign:9", "retrying", 1)]);
    let mut conn = world.pool().acquire().await.unwrap();
    let letters = list_letters(&mut conn, None, 0, 10).await.unwrap();
    assert!(letters[0].error.as_deref().unwrap().contains("bad grant"));
}

#[tokio::test]
async fn later_messages_of_its_subject_wait_and_others_go_on() {
    let world = poisoned().await;
    world.hold(&[(9, 1, "fine"), (10, 1, "fine"), (9, 2, "fine")]).await;
    drain(&mut world.replica()).await;
    let letters = [
        letter("campaign:9", "retrying", 1),
        letter("campaign:9", "blocked", 0),
        letter("campaign:9", "blocked", 0),
    ];
    assert_eq!(world.letters().await, letters);
    let mut handled = all_but_nine();
    handled.push((10, 1));
    assert_eq!(world.handled().await, once(&handled));
}

#[tokio::test]
async fn it_is_tried_again_with_growing_waits_and_then_dead() {
    let world = poisoned().await;
    let mut replica = world.replica();
    drain(&mut replica).await;
    assert_eq!(world.letters().await, [letter("campaign:9", "retrying", 1)]);
    world.clock.advance(TimeDelta::seconds(1));
    drain(&mut replica).await;
    assert_eq!(world.letters().await, [letter("campaign:9", "retrying", 2)]);
    drain(&mut replica).await;
    assert_eq!(world.letters().await, [letter("campaign:9", "retrying", 2)]);
    world.clock.advance(TimeDelta::seconds(2));
    drain(&mut replica).await;
    assert_eq!(world.letters().await, [letter("campaign:9", "dead", 3)]);
    world.clock.advance(TimeDelta::days(1));
    drain(&mut replica).await;
    assert_eq!(world.letters().await, [letter("campaign:9", "dead", 3)]);
}

#[tokio::test]
async fn what_becomes_possible_is_handled_once_with_all_that_waited() {
    let world = poisoned().await;
    world.hold(&[(9, 1, "fine"), (9, 2, "fine")]).await;
    let mut replica = world.replica();
    drain(&mut replica).await;
    world.echo.cured.store(true, Ordering::SeqCst);
    world.clock.advance(TimeDelta::seconds(1));
    drain(&mut replica).await;
    let mut handled = all_but_nine();
    handled.extend([(9, 0), (9, 1), (9, 2)]);
    assert_eq!(world.handled().await, once(&handled));
    assert!(world.letters().await.iter().all(|(_, state, _)| state == "redriven"));
    // The subject is free again.
    world.hold(&[(9, 3, "fine")]).await;
    drain(&mut replica).await;
    handled.push((9, 3));
    assert_eq!(world.handled().await, once(&handled));
}

async fn dead() -> (World, i64) {
    let world = poisoned().await;
    world.hold(&[(9, 1, "fine")]).await;
    let mut replica = world.replica();
    for _ in 0..4 {
        drain(&mut replica).await;
        world.clock.advance(TimeDelta::seconds(10));
    }
    let mut conn = world.pool().acquire().await.unwrap();
    let letters = list_letters(&mut conn, Some(LetterState::Dead), 0, 10).await.unwrap();
    let id = letters[0].id;
    drop(conn);
    (world, id)
}

#[tokio::test]
async fn a_redriven_letter_is_handled_once() {
    let (world, id) = dead().await;
    world.echo.cured.store(true, Ordering::SeqCst);
    let mut conn = world.pool().acquire().await.unwrap();
    redrive_letter(&mut conn, world.now(), id).await.unwrap();
    drain(&mut world.replica()).await;
    let again = redrive_letter(&mut conn, world.now(), id).await;
    assert!(matches!(again, Err(RedriveError::WrongState { state: LetterState::Redriven, .. })), "{again:?}");
    drain(&mut world.replica()).await;
    let mut handled = all_but_nine();
    handled.extend([(9, 0), (9, 1)]);
    assert_eq!(world.handled().await, once(&handled));
}

#[tokio::test]
async fn a_dropped_letter_lets_the_next_one_go() {
    let (world, id) = dead().await;
    let mut conn = world.pool().acquire().await.unwrap();
    drop_letter(&mut conn, world.now(), id).await.unwrap();
    drain(&mut world.replica()).await;
    let mut handled = all_but_nine();
    handled.push((9, 1));
    assert_eq!(world.handled().await, once(&handled));
    assert_eq!(find_letter(&mut conn, id).await.unwrap().unwrap().state, LetterState::Dropped);
    assert!(matches!(redrive_letter(&mut conn, world.now(), 4_711).await, Err(RedriveError::Unknown(4_711))));
}

/// The alert about a stage's dead letters, where it is raised.
async fn told_of_dead(world: &World) -> Vec<String> {
    let told =
        sqlx::query_scalar("SELECT detail FROM alerts WHERE code = 'dead_letters' AND about = 'stage:echo'");
    told.fetch_all(world.pool()).await.unwrap()
}

#[tokio::test]
async fn operators_are_told_of_dead_letters_until_none_is_left() {
    let (world, id) = dead().await;
    let told = told_of_dead(&world).await;
    assert!(told.len() == 1 && told[0].ends_with("bad grant"), "{told:?}");
    world.echo.cured.store(true, Ordering::SeqCst);
    let mut conn = world.pool().acquire().await.unwrap();
    redrive_letter(&mut conn, world.now(), id).await.unwrap();
    drain(&mut world.replica()).await;
    assert!(told_of_dead(&world).await.is_empty());
}

/// What a delivery sets aside behind a subject must not be set aside behind one that is freed at that moment.
#[tokio::test]
async fn a_letter_is_not_dropped_while_its_partition_is_delivered() {
    let (world, id) = dead().await;
    let mut delivery = world.pool().begin().await.unwrap();
    let claimed = "SELECT true FROM cursors WHERE stage = 'echo' ORDER BY part FOR NO KEY UPDATE";
    sqlx::query(claimed).fetch_all(&mut *delivery).await.unwrap();
    let mut tx = world.pool().begin().await.unwrap();
    sqlx::query("SET LOCAL lock_timeout = '100ms'").execute(&mut *tx).await.unwrap();
    let error = drop_letter(&mut tx, world.now(), id).await.unwrap_err();
    assert!(matches!(error, RedriveError::Ledger(_)), "{error:?}");
    tx.rollback().await.unwrap();
    delivery.rollback().await.unwrap();
    let mut conn = world.pool().acquire().await.unwrap();
    assert_eq!(find_letter(&mut conn, id).await.unwrap().unwrap().state, LetterState::Dead);
}

/// Its stage would otherwise meet it first for ever. Nor is its kind one that this version knows.
#[tokio::test]
async fn a_letter_whose_event_is_gone_is_dead_in_the_end() {
    let world = poisoned().await;
    let moved = "UPDATE dead_letters SET position = position + 1000, kind = 'Bygone'";
    sqlx::query(moved).execute(world.pool()).await.unwrap();
    world.echo.cured.store(true, Ordering::SeqCst);
    let mut replica = world.replica();
    for _ in 0..2 {
        world.clock.advance(TimeDelta::seconds(10));
        drain(&mut replica).await;
    }
    assert_eq!(world.letters().await, [letter("campaign:9", "dead", 3)]);
    let told = told_of_dead(&world).await;
    assert!(told.len() == 1 && told[0].ends_with("in the journal"), "{told:?}");
}

#[tokio::test]
async fn a_letter_that_meets_an_outage_lets_the_others_go_first() {
    let world = World::new(Echo::default()).await;
    world.hold(&[(9, 0, "poison"), (10, 0, "poison")]).await;
    let mut replica = world.replica();
    drain(&mut replica).await;
    world.echo.cured.store(true, Ordering::SeqCst);
    world.clock.advance(TimeDelta::seconds(1));
    world.echo.outages.store(1, Ordering::SeqCst);
    replica.round().await.unwrap_err();
    drain(&mut replica).await;
    assert_eq!(world.handled().await.len(), 1, "{:?}", world.letters().await);
    world.clock.advance(TimeDelta::seconds(1));
    drain(&mut replica).await;
    assert_eq!(world.handled().await, once(&[(9, 0), (10, 0)]));
    assert_eq!(
        world.letters().await,
        [letter("campaign:9", "redriven", 1), letter("campaign:10", "redriven", 1)]
    );
}

/// A dead letter of campaign 9 and one of campaign 10 that is tried again, with a transaction that has the alert's row.
async fn one_dead_one_dying() -> (World, i64, Transaction<'static, Postgres>) {
    let (world, id) = dead().await;
    world.hold(&[(10, 0, "poison")]).await;
    let mut replica = world.replica();
    drain(&mut replica).await;
    world.clock.advance(TimeDelta::seconds(10));
    drain(&mut replica).await;
    let mut holder = world.pool().begin().await.unwrap();
    let locked = "SELECT FROM alerts WHERE code = 'dead_letters' FOR UPDATE";
    sqlx::query(locked).execute(&mut *holder).await.unwrap();
    (world, id, holder)
}

/// Until `task` waits for a row, or has not waited and is done.
async fn waits(world: &World, task: &JoinHandle<()>) {
    let waiting = "SELECT EXISTS (SELECT FROM pg_stat_activity
                                  WHERE datname = current_database() AND wait_event_type = 'Lock')";
    let waits = async {
        while !task.is_finished()
            && !sqlx::query_scalar::<_, bool>(waiting).fetch_one(world.pool()).await.unwrap()
        {}
    };
    tokio::time::timeout(Duration::from_secs(30), waits).await.unwrap();
}

/// In one partition of a stage the last dead letter goes, in another one becomes dead.
#[tokio::test]
async fn what_becomes_dead_while_the_alert_ends_is_told_again() {
    let (world, _, mut ending) = one_dead_one_dying().await;
    world.clock.advance(TimeDelta::seconds(10));
    let mut replica = world.replica();
    let dying = tokio::spawn(async move { drain(&mut replica).await });
    waits(&world, &dying).await;
    sqlx::query("DELETE FROM alerts WHERE code = 'dead_letters'").execute(&mut *ending).await.unwrap();
    ending.commit().await.unwrap();
    dying.await.unwrap();
    assert_eq!(world.letters().await.iter().filter(|(_, state, _)| state == "dead").count(), 2);
    assert_eq!(told_of_dead(&world).await.len(), 1);
}

#[tokio::test]
async fn the_alert_does_not_end_while_another_letter_becomes_dead() {
    let (world, id, mut dying) = one_dead_one_dying().await;
    let (pool, now) = (world.pool().clone(), world.now());
    let dropping = tokio::spawn(async move {
        let mut tx = pool.begin().await.unwrap();
        drop_letter(&mut tx, now, id).await.unwrap();
        tx.commit().await.unwrap();
    });
    waits(&world, &dropping).await;
    let dies = "UPDATE dead_letters SET state = 'dead', due_at = NULL WHERE subject = 'campaign:10'";
    sqlx::query(dies).execute(&mut *dying).await.unwrap();
    dying.commit().await.unwrap();
    dropping.await.unwrap();
    assert_eq!(told_of_dead(&world).await.len(), 1);
}
