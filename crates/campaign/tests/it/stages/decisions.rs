//! What a campaign makes of an outcome, and why.

use chrono::TimeDelta;
use laurel_campaign::{Caps, Move};
use laurel_events::{Event, EventKind, OrgId};
use laurel_ledger::{add_organisation, ensure_ranges};

use crate::world::{World, data, definition, outcome};

#[tokio::test]
async fn an_outcome_that_the_rule_accepts_is_granted_and_asked_to_be_paid() {
    let mut world = World::new().await;
    let campaign = world.campaign(&definition(), 100).await;
    let met = outcome(1);
    assert_eq!(world.decide(met.clone()).await, ["granted 10"]);
    assert_eq!(world.money(campaign).await, (90, 10, 0));

    let requested = data(world.events(EventKind::TokenGrantRequested).await, |event| match event {
        Event::TokenGrantRequested(requested) => Some(requested),
        _ => None,
    });
    assert_eq!(requested.len(), 1);
    assert_eq!((requested[0].outcome, requested[0].player), (met.outcome, met.player));
    assert_eq!((requested[0].grant.campaign, requested[0].grant.number), (campaign, 0));
    let reserved = data(world.events(EventKind::BudgetReserved).await, |event| match event {
        Event::BudgetReserved(reserved) => {
            Some((reserved.first, reserved.grants, reserved.amount.to_string()))
        }
        _ => None,
    });
    assert_eq!(reserved, [(0, 1, "10".to_owned())]);
    world.finish().await;
}

#[tokio::test]
async fn the_rule_says_no_or_has_no_answer() {
    let mut world = World::new().await;
    let mut definition = definition();
    definition.rule = "outcome.attributes.level >= 3 && outcome.score >= 100".to_owned();
    world.campaign(&definition, 100).await;
    let mut low = outcome(1);
    low.attributes.insert("level".to_owned(), laurel_events::Attribute::Int(2));
    assert_eq!(world.decide(low).await, ["rule_not_met"]);
    let mut text = outcome(1);
    text.attributes.insert("level".to_owned(), laurel_events::Attribute::Text("high".to_owned()));
    let verdict = world.decide(text).await;
    assert!(verdict[0].starts_with("rule_"), "{verdict:?}");
    assert_ne!(verdict, ["rule_not_met"]);
    let absent = world.decide(outcome(1)).await;
    assert!(absent[0].starts_with("rule_") && absent != ["rule_not_met"], "{absent:?}");

    let declined = data(world.events(EventKind::RewardDeclined).await, |event| match event {
        Event::RewardDeclined(declined) => Some(declined.reason),
        _ => None,
    });
    assert_eq!(declined.len(), 3);
    world.finish().await;
}

#[tokio::test]
async fn the_window_holds_to_the_millisecond_by_the_time_of_occurrence() {
    let mut world = World::new().await;
    let (start, end) = (world.now() + TimeDelta::hours(1), world.now() + TimeDelta::hours(2));
    let definition =
        laurel_campaign::Definition { starts_at: Some(start), ends_at: Some(end), ..definition() };
    world.campaign(&definition, 100).await;
    world.clock.advance(TimeDelta::hours(3));
    let ms = TimeDelta::milliseconds(1);
    for (at, expected) in [
        (start - ms, "outside_window"),
        (start, "granted 10"),
        (start + ms, "granted 10"),
        (end - ms, "granted 10"),
        (end, "outside_window"),
        (end + ms, "outside_window"),
        // Recorded now, which is after the end: only the time of occurrence decides.
        (world.now(), "outside_window"),
    ] {
        assert_eq!(world.decide_at(at, outcome(1)).await, [expected], "{at}");
    }
    world.finish().await;
}

#[tokio::test]
async fn only_an_active_campaign_grants_and_only_a_running_one_answers() {
    let mut world = World::new().await;
    let campaign = world.draft(crate::world::ORG, &definition()).await;
    world.fund(campaign, 100).await;
    assert!(world.decide(outcome(1)).await.is_empty(), "a draft");
    for (action, expected) in [
        (Move::Activate, vec!["granted 10"]),
        (Move::Pause, vec!["campaign_paused"]),
        (Move::Resume, vec!["granted 10"]),
        (Move::End, vec![]),
    ] {
        world.transition(campaign, action).await;
        assert_eq!(world.decide(outcome(1)).await, expected, "{action:?}");
    }
    world.finish().await;
}

#[tokio::test]
async fn each_campaign_that_an_outcome_meets_decides_for_itself() {
    let mut world = World::new().await;
    world.campaign(&definition(), 100).await;
    let rich = laurel_campaign::Definition { reward: crate::world::fixed(25), ..definition() };
    world.clock.advance(TimeDelta::milliseconds(1));
    world.campaign(&rich, 100).await;
    let strict = laurel_campaign::Definition { rule: "outcome.score > 100".to_owned(), ..definition() };
    world.clock.advance(TimeDelta::milliseconds(1));
    world.campaign(&strict, 100).await;
    let other = laurel_campaign::Definition { games: vec!["battle".to_owned()], ..definition() };
    world.clock.advance(TimeDelta::milliseconds(1));
    let other = world.campaign(&other, 100).await;
    world.clock.advance(TimeDelta::milliseconds(1));
    world.campaign(&definition(), 5).await;

    let verdicts = world.decide(outcome(1)).await;
    assert_eq!(verdicts, ["granted 10", "granted 25", "rule_not_met", "budget_exhausted"]);
    assert_eq!(world.money(other).await, (100, 0, 0));
    world.finish().await;
}

#[tokio::test]
async fn an_outcome_never_meets_another_organisations_campaign() {
    let mut world = World::new().await;
    world.campaign(&definition(), 100).await;
    let other = {
        let mut conn = world.pool().acquire().await.unwrap();
        add_organisation(&mut conn, "other").await.unwrap()
    };
    let mut foreign = outcome(1);
    foreign.org = other;
    // In one chunk with an outcome that does meet it, so that the campaign is looked at.
    let own = outcome(1);
    assert_eq!(world.decide_all(&[foreign.clone(), own]).await, ["granted 10"]);
    assert!(world.verdicts(foreign.outcome).await.is_empty());
    let mut unknown = outcome(2);
    unknown.org = OrgId(77);
    assert!(world.decide(unknown).await.is_empty());
    world.finish().await;
}

#[tokio::test]
async fn two_replicas_that_race_decide_once() {
    let mut world = World::new().await;
    let caps = Caps { grants_per_player: Some(3), ..Caps::default() };
    let campaign = world.campaign(&laurel_campaign::Definition { caps, ..definition() }, 10_000).await;
    let outcomes: Vec<_> = (0..200).map(|number| outcome(number % 40)).collect();
    world.record(&outcomes).await;
    let (mut one, mut two) = (world.another_decider(), world.another_decider());
    tokio::join!(crate::world::drain(&mut one), crate::world::drain(&mut two));
    world.run_decisions().await;
    let balances = world.balances(campaign).await;
    assert_eq!((balances.grants, balances.declines), (120, 80));
    world.finish().await;
}

/// Ranges that are not there yet are the infrastructure's fault: no outcome becomes a letter for it.
#[tokio::test]
async fn a_missing_range_is_no_fault_of_the_outcomes() {
    let mut world = World::new().await;
    let campaign = world.campaign(&definition(), 1_000).await;
    // The schedule could not make ranges for a while: the journal's still suffice, those of the grants do not.
    for statement in ["UPDATE heads SET next = 70000", "UPDATE cursors SET next = 70000"] {
        sqlx::query(statement).execute(world.pool()).await.unwrap();
    }
    let outcomes: Vec<_> = (0..20).map(outcome).collect();
    world.record(&outcomes).await;
    let mut decider = world.another_decider();
    for _ in 0..40 {
        let missing = decider.round().await.unwrap_err();
        assert!(missing.chain().contains("no partition of relation"), "{}", missing.chain());
        world.clock.advance(chrono::TimeDelta::seconds(10));
    }
    assert_eq!(world.number("SELECT count(*) FROM dead_letters").await, 0);
    ensure_ranges(&mut world.pool().acquire().await.unwrap()).await.unwrap();
    world.run_decisions().await;
    assert_eq!(world.money(campaign).await, (800, 200, 0));
    world.finish().await;
}
