//! A void gives back the hold and the counters, once.

use chrono::TimeDelta;
use laurel_campaign::{Caps, Definition};
use laurel_events::{Amount, Event, EventKind};

use crate::world::{World, data, definition, outcome};

fn capped() -> Definition {
    let caps = Caps {
        grants_per_player: Some(1),
        grants_per_player_per_day: Some(1),
        amount_per_player: Some(Amount::from(10_u64)),
        amount_per_player_per_day: Some(Amount::from(10_u64)),
    };
    Definition { caps, ..definition() }
}

#[tokio::test]
async fn it_gives_back_the_hold_and_the_counters() {
    let mut world = World::new().await;
    let campaign = world.campaign(&capped(), 10).await;
    assert_eq!(world.decide_all(&[outcome(1), outcome(1)]).await, ["granted 10", "grants_cap_reached"]);
    world.fail(campaign, 0).await;
    assert_eq!(world.money(campaign).await, (10, 0, 0));
    assert_eq!(world.decide_all(&[outcome(1), outcome(1)]).await, ["granted 10", "grants_cap_reached"]);
    let released = data(world.events(EventKind::BudgetReleased).await, |event| match event {
        Event::BudgetReleased(released) => Some((released.grant.number, released.amount.to_string())),
        _ => None,
    });
    assert_eq!(released, [(0, "10".to_owned())]);
    world.finish().await;
}

#[tokio::test]
async fn it_gives_back_to_the_day_on_which_the_outcome_was_recorded() {
    let mut world = World::new().await;
    let caps = Caps { grants_per_player_per_day: Some(1), ..Caps::default() };
    let campaign = world.campaign(&Definition { caps, ..definition() }, 100).await;
    world.decide(outcome(1)).await;
    world.clock.advance(TimeDelta::days(1));
    world.decide(outcome(1)).await;
    world.fail(campaign, 0).await;
    // Yesterday's place is free, today's is not.
    assert_eq!(world.decide(outcome(1)).await, ["grants_per_day_cap_reached"]);
    world.finish().await;
}

#[tokio::test]
async fn twice_it_is_nothing() {
    let mut world = World::new().await;
    let campaign = world.campaign(&capped(), 100).await;
    world.decide(outcome(1)).await;
    let failed = world.failure(campaign, 0).await;
    world.append(&[failed.clone().into(), failed.clone().into()]).await;
    world.keep_books().await;
    let before = world.fingerprint().await;
    world.rewind_books().await;
    world.keep_books().await;
    assert_eq!(world.fingerprint().await, before);
    assert_eq!(world.money(campaign).await, (100, 0, 0));
    world.finish().await;
}

#[tokio::test]
async fn another_amount_than_was_held_is_refused_and_seen() {
    let mut world = World::new().await;
    let campaign = world.campaign(&capped(), 100).await;
    world.decide(outcome(1)).await;
    let mut failed = world.failure(campaign, 0).await;
    failed.amount = Amount::from(9_u64);
    world.append(&[failed.into()]).await;
    world.keep_books().await;
    assert_eq!(world.money(campaign).await, (90, 10, 0));
    assert_eq!(world.number("SELECT count(*) FROM dead_letters").await, 1);
    world.audit().await;
}

#[tokio::test]
async fn a_counter_that_does_not_hold_what_is_given_back_is_refused_and_seen() {
    for damage in
        ["DELETE FROM counters WHERE period = '1970-01-01'", "UPDATE counters SET grants = 0, amount = 0"]
    {
        let mut world = World::new().await;
        let campaign = world.campaign(&capped(), 100).await;
        world.decide(outcome(1)).await;
        sqlx::query(damage).execute(world.pool()).await.unwrap();
        world.fail(campaign, 0).await;
        assert_eq!(world.money(campaign).await, (90, 10, 0), "{damage}");
        assert_eq!(world.number("SELECT count(*) FROM voids").await, 0, "{damage}");
        let error: String =
            sqlx::query_scalar("SELECT error FROM dead_letters").fetch_one(world.pool()).await.unwrap();
        assert!(error.contains("counters"), "{error}");
    }
}
