//! Caps per player: whole life, day, amount.

use chrono::TimeDelta;
use laurel_campaign::{Caps, Definition};
use laurel_events::Amount;

use crate::world::{World, definition, outcome};

fn capped(caps: Caps) -> Definition {
    Definition { caps, ..definition() }
}

#[tokio::test]
async fn a_player_gets_no_more_grants_than_the_cap() {
    let mut world = World::new().await;
    world.campaign(&capped(Caps { grants_per_player: Some(2), ..Caps::default() }), 1_000).await;
    let verdicts = world.decide_all(&[outcome(1), outcome(1), outcome(2), outcome(1)]).await;
    assert_eq!(verdicts, ["granted 10", "granted 10", "granted 10", "grants_cap_reached"]);
    // And not with the next chunk, nor on another day.
    world.clock.advance(TimeDelta::days(40));
    assert_eq!(world.decide(outcome(1)).await, ["grants_cap_reached"]);
    assert_eq!(world.decide(outcome(2)).await, ["granted 10"]);
    world.finish().await;
}

#[tokio::test]
async fn two_outcomes_of_one_chunk_meet_a_cap_of_one() {
    let mut world = World::new().await;
    let campaign =
        world.campaign(&capped(Caps { grants_per_player: Some(1), ..Caps::default() }), 1_000).await;
    assert_eq!(world.decide_all(&[outcome(1), outcome(1)]).await, ["granted 10", "grants_cap_reached"]);
    assert_eq!(world.money(campaign).await, (990, 10, 0));
    world.finish().await;
}

#[tokio::test]
async fn a_day_is_a_utc_day_by_the_time_of_recording() {
    let mut world = World::new().await;
    world.campaign(&capped(Caps { grants_per_player_per_day: Some(1), ..Caps::default() }), 1_000).await;
    // The clock begins at midnight UTC.
    world.clock.advance(TimeDelta::hours(24) - TimeDelta::milliseconds(1));
    assert_eq!(world.decide(outcome(1)).await, ["granted 10"]);
    assert_eq!(world.decide(outcome(1)).await, ["grants_per_day_cap_reached"]);
    world.clock.advance(TimeDelta::milliseconds(1));
    // It occurred yesterday, but is recorded today.
    let yesterday = world.now() - TimeDelta::hours(3);
    assert_eq!(world.decide_at(yesterday, outcome(1)).await, ["granted 10"]);
    assert_eq!(world.decide(outcome(1)).await, ["grants_per_day_cap_reached"]);
    world.finish().await;
}

#[tokio::test]
async fn an_outcome_counts_for_the_day_it_was_recorded_on_however_late_it_is_decided() {
    let mut world = World::new().await;
    world.campaign(&capped(Caps { grants_per_player_per_day: Some(1), ..Caps::default() }), 1_000).await;
    let late = outcome(1);
    world.record(std::slice::from_ref(&late)).await;
    world.clock.advance(TimeDelta::hours(30));
    assert_eq!(world.decide(outcome(1)).await, ["granted 10"]);
    assert_eq!(world.verdicts(late.outcome).await, ["granted 10"]);
    world.finish().await;
}

#[tokio::test]
async fn a_player_gets_no_more_than_the_amount() {
    let mut world = World::new().await;
    let caps = Caps { amount_per_player: Some(Amount::from(25_u64)), ..Caps::default() };
    world.campaign(&capped(caps), 1_000).await;
    let verdicts = world.decide_all(&[outcome(1), outcome(1), outcome(1)]).await;
    assert_eq!(verdicts, ["granted 10", "granted 10", "amount_cap_reached"]);
    world.finish().await;
}

#[tokio::test]
async fn a_rule_sees_what_the_player_has_got_also_within_a_chunk() {
    let mut world = World::new().await;
    let rule = "player.grants < 2 && player.amount <= amount('10')".to_owned();
    world.campaign(&Definition { rule, ..definition() }, 1_000).await;
    let verdicts = world.decide_all(&[outcome(1), outcome(1), outcome(1), outcome(2)]).await;
    assert_eq!(verdicts, ["granted 10", "granted 10", "rule_not_met", "granted 10"]);
    world.finish().await;
}

#[tokio::test]
async fn a_cap_that_comes_later_counts_what_was_granted_before() {
    let mut world = World::new().await;
    let campaign = world.campaign(&definition(), 1_000).await;
    let ones = [outcome(1), outcome(1), outcome(1)];
    world.decide_all(&ones).await;
    world.decide(outcome(2)).await;
    world.fail_grant_of(&ones[0]).await;
    assert_eq!(world.number("SELECT count(*) FROM counters").await, 0);

    world.change(campaign, |definition| definition.caps.grants_per_player = Some(2)).await;
    assert_eq!(world.decide(outcome(1)).await, ["grants_cap_reached"]);
    assert_eq!(world.decide_all(&[outcome(2), outcome(2)]).await, ["granted 10", "grants_cap_reached"]);

    // A voided grant is given back to a counter that was made after it.
    world.fail_grant_of(&ones[1]).await;
    assert_eq!(world.decide_all(&[outcome(1), outcome(1)]).await, ["granted 10", "grants_cap_reached"]);
    world.finish().await;
}

#[tokio::test]
async fn a_cap_per_day_that_comes_later_counts_the_days_grants() {
    let mut world = World::new().await;
    let campaign = world.campaign(&definition(), 1_000).await;
    let late = outcome(1);
    world.record(std::slice::from_ref(&late)).await;
    world.clock.advance(TimeDelta::hours(25));
    // Decided today, recorded yesterday: it counts for yesterday.
    world.run_decisions().await;
    world.decide_all(&[outcome(1), outcome(2), outcome(2)]).await;
    world.change(campaign, |definition| definition.caps.grants_per_player_per_day = Some(2)).await;
    let verdicts = world.decide_all(&[outcome(1), outcome(1), outcome(2)]).await;
    assert_eq!(verdicts, ["granted 10", "grants_per_day_cap_reached", "grants_per_day_cap_reached"]);
    world.finish().await;
}

#[tokio::test]
async fn a_cap_that_went_and_came_back_counts_what_was_granted_in_between() {
    let mut world = World::new().await;
    let caps = Caps { grants_per_player: Some(3), ..Caps::default() };
    let campaign = world.campaign(&capped(caps), 1_000).await;
    let twos = outcome(2);
    world.decide_all(&[outcome(1), twos.clone()]).await;
    world.change(campaign, |definition| definition.caps = Caps::default()).await;
    world.decide_all(&[outcome(1), outcome(1)]).await;
    world.fail_grant_of(&twos).await;
    world.change(campaign, |definition| definition.caps = caps).await;
    assert_eq!(world.decide(outcome(1)).await, ["grants_cap_reached"]);
    assert_eq!(world.decide(outcome(2)).await, ["granted 10"]);
    world.finish().await;
}

#[tokio::test]
async fn a_rule_that_comes_to_read_the_player_sees_what_was_granted_before() {
    let mut world = World::new().await;
    let campaign = world.campaign(&definition(), 1_000).await;
    world.decide_all(&[outcome(1), outcome(1)]).await;
    world.change(campaign, |definition| definition.rule = "player.grants < 2".to_owned()).await;
    assert_eq!(world.decide(outcome(1)).await, ["rule_not_met"]);
    assert_eq!(world.decide(outcome(2)).await, ["granted 10"]);
    world.finish().await;
}

#[tokio::test]
async fn a_cap_below_what_a_player_has_stops_the_player_and_takes_nothing_back() {
    let mut world = World::new().await;
    let campaign =
        world.campaign(&capped(Caps { grants_per_player: Some(5), ..Caps::default() }), 1_000).await;
    world.decide_all(&[outcome(1), outcome(1), outcome(1)]).await;
    world.change(campaign, |definition| definition.caps.grants_per_player = Some(1)).await;
    assert_eq!(world.decide(outcome(1)).await, ["grants_cap_reached"]);
    world.fail(campaign, 0).await;
    assert_eq!(world.decide(outcome(1)).await, ["grants_cap_reached"]);
    assert_eq!(world.money(campaign).await, (980, 20, 0));
    world.finish().await;
}
