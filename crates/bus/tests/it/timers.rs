//! Timers fire once, at their time, whoever looks.

use chrono::TimeDelta;
use laurel_bus::{Wakes, cancel_timers, fire_timers, schedule_timers};
use laurel_events::{CampaignId, Event, EventKind, GrantId, WalletDeadlinePassed};

use crate::world::{Echo, World};

fn deadline(number: u64) -> Event {
    WalletDeadlinePassed { grant: GrantId { campaign: CampaignId::from(7_u64), number } }.into()
}

async fn fired(world: &World) -> i64 {
    sqlx::query_scalar("SELECT coalesce(sum(entries), 0) FROM journal WHERE kind = 'WalletDeadlinePassed'")
        .fetch_one(world.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_timer_fires_at_its_time_and_once() {
    let world = World::new(Echo::default()).await;
    let (wakes, _announced) = Wakes::new();
    let mut conn = world.pool().acquire().await.unwrap();
    let at = world.now() + TimeDelta::seconds(10);
    let timers: Vec<_> = (0..40).map(|number| (at, deadline(number))).collect();
    schedule_timers(&mut conn, &timers).await.unwrap();
    // Scheduling the same again changes nothing.
    schedule_timers(&mut conn, &[(world.now(), deadline(3))]).await.unwrap();
    assert_eq!(fire_timers(world.pool(), &wakes, world.now()).await.unwrap(), 0);
    world.clock.advance(TimeDelta::seconds(10));
    let (one, two) = tokio::join!(
        fire_timers(world.pool(), &wakes, world.now()),
        fire_timers(world.pool(), &wakes, world.now()),
    );
    assert_eq!(one.unwrap() + two.unwrap(), 40);
    assert_eq!(fire_timers(world.pool(), &wakes, world.now()).await.unwrap(), 0);
    assert_eq!(fired(&world).await, 40);
}

#[tokio::test]
async fn a_timer_that_was_taken_back_does_not_fire() {
    let world = World::new(Echo::default()).await;
    let (wakes, _announced) = Wakes::new();
    let mut conn = world.pool().acquire().await.unwrap();
    schedule_timers(&mut conn, &[(world.now(), deadline(1)), (world.now(), deadline(2))]).await.unwrap();
    let keys = ["7-1".to_owned(), "7-9".to_owned()];
    cancel_timers(&mut conn, EventKind::WalletDeadlinePassed, &keys).await.unwrap();
    assert_eq!(fire_timers(world.pool(), &wakes, world.now()).await.unwrap(), 1);
}
