//! Holds never exceed what is available.

use laurel_campaign::{Definition, list_notices};
use laurel_events::{Amount, Event, EventKind, TokenGrantFailed, VoidProof};

use crate::world::{World, data, definition, fixed, outcome};

#[tokio::test]
async fn of_many_outcomes_in_a_chunk_exactly_as_many_are_granted_as_there_is_money_for() {
    let mut world = World::new().await;
    let campaign = world.campaign(&definition(), 75).await;
    let outcomes: Vec<_> = (0..20).map(|_| outcome(1)).collect();
    let verdicts = world.decide_all(&outcomes).await;
    // The first seven in the order of the journal; 5 is left and granted to nobody.
    assert!(verdicts[..7].iter().all(|verdict| verdict == "granted 10"), "{verdicts:?}");
    assert!(verdicts[7..].iter().all(|verdict| verdict == "budget_exhausted"), "{verdicts:?}");
    assert_eq!(world.money(campaign).await, (5, 70, 0));
    world.finish().await;
}

#[tokio::test]
async fn a_smaller_reward_still_fits_into_what_is_left() {
    let mut world = World::new().await;
    let per_unit = serde_json::json!({"kind": "per_unit", "field": "score", "amount": "1", "cap": "1000"});
    let reward = serde_json::from_value(per_unit).unwrap();
    world.campaign(&Definition { reward, ..definition() }, 350).await;
    let with_score = |score| {
        let mut outcome = outcome(1);
        outcome.score = score;
        outcome
    };
    let outcomes = [with_score(200), with_score(151), with_score(150), with_score(100)];
    let verdicts = world.decide_all(&outcomes).await;
    assert_eq!(verdicts, ["granted 200", "budget_exhausted", "granted 150", "budget_exhausted"]);
    world.finish().await;
}

#[tokio::test]
async fn players_of_all_partitions_share_one_budget() {
    let mut world = World::new().await;
    let campaign = world.campaign(&definition(), 333).await;
    let outcomes: Vec<_> = (0..100).map(outcome).collect();
    world.record(&outcomes).await;
    let (mut one, mut two) = (world.another_decider(), world.another_decider());
    tokio::join!(crate::world::drain(&mut one), crate::world::drain(&mut two));
    world.run_decisions().await;
    let balances = world.balances(campaign).await;
    assert_eq!((balances.grants, balances.declines), (33, 67));
    assert_eq!(world.money(campaign).await, (3, 330, 0));
    world.finish().await;
}

#[tokio::test]
async fn nothing_is_granted_before_the_money_is_there_and_everything_after() {
    let mut world = World::new().await;
    let campaign = world.draft(crate::world::ORG, &definition()).await;
    world.transition(campaign, laurel_campaign::Move::Activate).await;
    assert_eq!(world.decide(outcome(1)).await, ["budget_exhausted"]);
    world.fund(campaign, 10).await;
    assert_eq!(world.decide(outcome(1)).await, ["granted 10"]);
    assert_eq!(world.decide(outcome(1)).await, ["budget_exhausted"]);
    world.fund(campaign, 20).await;
    assert_eq!(world.decide(outcome(1)).await, ["granted 10"]);
    world.finish().await;
}

#[tokio::test]
async fn one_campaigns_chunk_never_spends_anothers_money() {
    let mut world = World::new().await;
    let poor = world.campaign(&definition(), 20).await;
    let rich = world.campaign(&Definition { reward: fixed(7), ..definition() }, 700).await;
    let outcomes: Vec<_> = (0..10).map(|_| outcome(3)).collect();
    world.decide_all(&outcomes).await;
    assert_eq!(world.money(poor).await, (0, 20, 0));
    assert_eq!(world.money(rich).await, (630, 70, 0));
    world.finish().await;
}

#[tokio::test]
async fn a_budget_that_comes_to_its_end_is_told_of_once_for_each_cap() {
    let mut world = World::new().await;
    let campaign = world.campaign(&definition(), 100).await;
    let noticed = async |world: &World| {
        data(world.events(EventKind::BudgetNoticed).await, |event| match event {
            Event::BudgetNoticed(noticed) => Some((noticed.percent, noticed.cap, noticed.granted)),
            _ => None,
        })
    };
    let of = |percent: u8, cap: u64, granted: u64| (percent, Amount::from(cap), Amount::from(granted));
    world.decide_all(&[outcome(1), outcome(1), outcome(1), outcome(1)]).await;
    assert_eq!(noticed(&world).await, []);
    world.decide(outcome(1)).await;
    assert_eq!(noticed(&world).await, [of(50, 100, 50)]);
    // Given back and granted again, it is nothing new.
    let failed = TokenGrantFailed { proof: VoidProof::NeverQueued, ..world.failure(campaign, 0).await };
    world.append(&[failed.into()]).await;
    world.keep_books().await;
    world.decide(outcome(1)).await;
    assert_eq!(noticed(&world).await.len(), 1);
    // All at once: what is passed on the way is told as well.
    world.decide_all(&[outcome(1), outcome(1), outcome(1), outcome(1), outcome(1)]).await;
    assert_eq!(noticed(&world).await, [of(50, 100, 50), of(80, 100, 100), of(100, 100, 100)]);
    // Of another cap, from the beginning.
    world.fund(campaign, 210).await;
    world.decide(outcome(1)).await;
    assert_eq!(noticed(&world).await[3..], [of(50, 210, 110)]);
    let mut conn = world.pool().acquire().await.unwrap();
    let listed: Vec<u8> =
        list_notices(&mut conn, campaign, 2).await.unwrap().iter().map(|notice| notice.percent).collect();
    assert_eq!(listed.len(), 2);
    world.finish().await;
}
