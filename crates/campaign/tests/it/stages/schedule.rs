//! Campaigns begin and end by themselves.

use chrono::{DateTime, TimeDelta, Utc};
use laurel_bus::{Wakes, fire_timers};
use laurel_campaign::{
    By, CampaignError, CampaignState, Definition, Move, REPORTED_WITHIN, Windows, change_campaign,
    find_campaign, list_versions, move_campaign,
};
use laurel_events::{CampaignId, Clock};

use crate::world::{ORG, World, definition, outcome};

/// A campaign whose window begins in an hour and lasts for two.
fn tonight(now: DateTime<Utc>) -> Definition {
    Definition {
        starts_at: Some(now + TimeDelta::hours(1)),
        ends_at: Some(now + TimeDelta::hours(3)),
        ..definition()
    }
}

async fn scheduled(world: &mut World) -> CampaignId {
    let id = world.draft(ORG, &tonight(world.clock.now())).await;
    world.fund(id, 1_000).await;
    world.transition(id, Move::Schedule).await;
    id
}

async fn state(world: &World, id: CampaignId) -> CampaignState {
    find_campaign(&mut world.pool().acquire().await.unwrap(), id).await.unwrap().unwrap().state
}

/// Fires what is due and lets the stage handle it.
async fn tick(world: &mut World) {
    let (wakes, _) = Wakes::new();
    fire_timers(world.pool(), &wakes, world.clock.now()).await.unwrap();
    world.run_decisions().await;
}

async fn refused(world: &World, id: CampaignId, action: Move) -> CampaignError {
    let mut tx = world.pool().begin().await.unwrap();
    move_campaign(&mut tx, &world.context(), ORG, id, action, By::somebody("manager")).await.unwrap_err()
}

#[tokio::test]
async fn it_begins_and_ends_when_its_window_does() {
    let mut world = World::new().await;
    let id = scheduled(&mut world).await;
    tick(&mut world).await;
    assert_eq!(state(&world, id).await, CampaignState::Scheduled);
    world.clock.advance(TimeDelta::hours(1));
    tick(&mut world).await;
    assert_eq!(state(&world, id).await, CampaignState::Active);
    assert_eq!(world.decide(outcome(1)).await, ["granted 10"]);
    world.clock.advance(TimeDelta::hours(2) + REPORTED_WITHIN);
    tick(&mut world).await;
    assert_eq!(state(&world, id).await, CampaignState::Ended);
    let versions = list_versions(&mut world.pool().acquire().await.unwrap(), id, None, 10).await.unwrap();
    let told: Vec<_> =
        versions.iter().rev().map(|v| (v.state.as_str(), v.by.as_str(), v.state_reason.as_deref())).collect();
    assert_eq!(
        told,
        [
            ("draft", "manager", None),
            ("scheduled", "manager", None),
            ("active", "laurel", Some("window_begun")),
            ("ended", "laurel", Some("window_ended")),
        ]
    );
    world.finish().await;
}

#[tokio::test]
async fn an_outcome_may_be_sooner_than_the_timer() {
    let mut world = World::new().await;
    let id = scheduled(&mut world).await;
    assert_eq!(world.decide(outcome(1)).await, Vec::<String>::new(), "it meets nothing yet");
    world.clock.advance(TimeDelta::hours(1));
    assert_eq!(world.decide(outcome(1)).await, ["granted 10"]);
    assert_eq!(state(&world, id).await, CampaignState::Active);
    tick(&mut world).await;
    assert_eq!(state(&world, id).await, CampaignState::Active);
    world.finish().await;
}

#[tokio::test]
async fn what_occurred_in_time_counts_for_a_day_more() {
    let mut world = World::new().await;
    scheduled(&mut world).await;
    world.clock.advance(TimeDelta::hours(1));
    tick(&mut world).await;
    let inside = world.clock.now() + TimeDelta::hours(1);
    world.clock.advance(TimeDelta::hours(2) + REPORTED_WITHIN - TimeDelta::seconds(1));
    tick(&mut world).await;
    assert_eq!(world.decide_at(inside, outcome(1)).await, ["granted 10"]);
    assert_eq!(world.decide(outcome(1)).await, ["outside_window"]);
    world.clock.advance(TimeDelta::seconds(1));
    tick(&mut world).await;
    assert_eq!(world.decide_at(inside, outcome(1)).await, Vec::<String>::new());
    world.finish().await;
}

#[tokio::test]
async fn another_window_moves_what_was_to_come() {
    let mut world = World::new().await;
    let id = scheduled(&mut world).await;
    let now = world.clock.now();
    world
        .change(id, |definition| {
            definition.starts_at = Some(now + TimeDelta::hours(2));
            definition.ends_at = None;
        })
        .await;
    world.clock.advance(TimeDelta::hours(1));
    tick(&mut world).await;
    assert_eq!(state(&world, id).await, CampaignState::Scheduled);
    world.clock.advance(TimeDelta::hours(1));
    tick(&mut world).await;
    assert_eq!(state(&world, id).await, CampaignState::Active);
    world.clock.advance(TimeDelta::days(30));
    tick(&mut world).await;
    assert_eq!(state(&world, id).await, CampaignState::Active);
    assert_eq!(world.number("SELECT count(*) FROM timers").await, 0);
    world.finish().await;
}

#[tokio::test]
async fn a_timer_that_fired_before_the_change_does_nothing() {
    let mut world = World::new().await;
    let id = scheduled(&mut world).await;
    let now = world.clock.now();
    world.clock.advance(TimeDelta::hours(1));
    // It is in the journal, and nobody has handled it yet.
    fire_timers(world.pool(), &Wakes::new().0, world.clock.now()).await.unwrap();
    world.change(id, |definition| definition.starts_at = Some(now + TimeDelta::hours(2))).await;
    world.run_decisions().await;
    assert_eq!(state(&world, id).await, CampaignState::Scheduled);
    world.finish().await;
}

#[tokio::test]
async fn what_is_taken_from_the_schedule_stays_a_draft() {
    let mut world = World::new().await;
    let id = scheduled(&mut world).await;
    world.transition(id, Move::Unschedule).await;
    assert_eq!(world.number("SELECT count(*) FROM timers").await, 0);
    world.clock.advance(TimeDelta::hours(1));
    tick(&mut world).await;
    assert_eq!(state(&world, id).await, CampaignState::Draft);
    assert_eq!(world.decide(outcome(1)).await, Vec::<String>::new());
    world.finish().await;
}

#[tokio::test]
async fn what_is_over_or_has_begun_cannot_be_scheduled() {
    let world = World::new().await;
    let now = world.clock.now();
    let draft = world.draft(ORG, &definition()).await;
    assert!(matches!(refused(&world, draft, Move::Schedule).await, CampaignError::NotToCome));
    let begun = world.draft(ORG, &Definition { starts_at: Some(now), ..definition() }).await;
    assert!(matches!(refused(&world, begun, Move::Schedule).await, CampaignError::NotToCome));
    let tonight = world.draft(ORG, &tonight(now)).await;
    world.clock.advance(TimeDelta::hours(3));
    for action in [Move::Schedule, Move::Activate] {
        assert!(matches!(refused(&world, tonight, action).await, CampaignError::Over(_)), "{action}");
    }
    world.finish().await;
}

#[tokio::test]
async fn only_what_occurs_in_an_open_window_counts() {
    let mut world = World::new().await;
    let windows =
        Windows { cron: "0 18 * * *".to_owned(), time_zone: "Europe/Berlin".to_owned(), minutes: 60 };
    world.campaign(&Definition { windows: Some(windows), ..definition() }, 1_000).await;
    // Midnight in Greenwich is one o'clock in Berlin.
    assert_eq!(world.decide(outcome(1)).await, ["outside_window"]);
    world.clock.advance(TimeDelta::hours(17));
    assert_eq!(world.decide(outcome(1)).await, ["granted 10"]);
    let inside = world.clock.now();
    world.clock.advance(TimeDelta::hours(1));
    assert_eq!(world.decide(outcome(1)).await, ["outside_window"]);
    assert_eq!(world.decide_at(inside, outcome(1)).await, ["granted 10"], "late is as good");
    world.finish().await;
}

#[tokio::test]
async fn a_clock_that_is_ahead_loses_nothing() {
    let mut world = World::new().await;
    let id = scheduled(&mut world).await;
    world.clock.advance(TimeDelta::minutes(58));
    let begins = world.now() + TimeDelta::minutes(2);
    assert_eq!(world.decide_at(begins, outcome(1)).await, ["granted 10"]);
    assert_eq!(state(&world, id).await, CampaignState::Active);
    assert_eq!(world.decide(outcome(1)).await, ["outside_window"]);
    world.finish().await;
}

#[tokio::test]
async fn the_end_waits_for_what_was_recorded_before() {
    let mut world = World::new().await;
    let id = scheduled(&mut world).await;
    world.clock.advance(TimeDelta::hours(2));
    tick(&mut world).await;
    // Of several players, so that some are in other partitions than the campaign.
    let waiting: Vec<_> = (0..40).map(outcome).collect();
    world.record(&waiting).await;
    world.clock.advance(TimeDelta::hours(1) + REPORTED_WITHIN);
    tick(&mut world).await;
    let mut verdicts = Vec::new();
    for outcome in &waiting {
        verdicts.extend(world.verdicts(outcome.outcome).await);
    }
    assert_eq!(verdicts, vec!["granted 10"; 40]);
    world.clock.advance(TimeDelta::minutes(2));
    tick(&mut world).await;
    assert_eq!(state(&world, id).await, CampaignState::Ended);
    world.finish().await;
}

#[tokio::test]
async fn what_is_scheduled_keeps_a_beginning() {
    let mut world = World::new().await;
    let id = scheduled(&mut world).await;
    for starts_at in [None, Some(world.now())] {
        let mut tx = world.pool().begin().await.unwrap();
        let by = By::somebody("manager");
        let change = |definition: &mut Definition| definition.starts_at = starts_at;
        let refused = change_campaign(&mut tx, &world.context(), ORG, id, None, by, change).await;
        assert!(matches!(refused, Err(CampaignError::NotToCome)), "{refused:?}");
    }
    world.finish().await;
}
