//! Rewards as they reach the books: exact, never wrapped.

use laurel_campaign::{Definition, reward::Reward};
use laurel_events::{Amount, Attribute};
use serde_json::json;

use crate::world::{World, definition, outcome};

fn with(reward: serde_json::Value) -> Definition {
    Definition { reward: serde_json::from_value(reward).unwrap(), ..definition() }
}

#[tokio::test]
async fn per_unit_pays_each_unit_up_to_the_cap() {
    let mut world = World::new().await;
    world
        .campaign(
            &with(json!({"kind": "per_unit", "field": "attributes.coins", "amount": "3", "cap": "20"})),
            1_000,
        )
        .await;
    for (coins, expected) in [
        (1, "granted 3"),
        (6, "granted 18"),
        (7, "granted 20"),
        ((1 << 53) - 1, "granted 20"),
        (0, "zero_reward"),
        (-4, "zero_reward"),
    ] {
        let mut outcome = outcome(1);
        outcome.attributes.insert("coins".to_owned(), Attribute::Int(coins));
        assert_eq!(world.decide(outcome).await, [expected], "{coins} coins");
    }
    assert_eq!(world.decide(outcome(1)).await, ["reward_field_missing"]);
    let mut text = outcome(1);
    text.attributes.insert("coins".to_owned(), Attribute::Text("many".to_owned()));
    assert_eq!(world.decide(text).await, ["reward_field_type"]);
    world.finish().await;
}

#[tokio::test]
async fn by_rank_pays_the_ranks_of_the_table() {
    let mut world = World::new().await;
    world.campaign(&with(json!({"kind": "by_rank", "amounts": ["50", "30", "10"]})), 1_000).await;
    for (rank, expected) in [
        (Some(1), "granted 50"),
        (Some(3), "granted 10"),
        (Some(4), "no_reward_for_rank"),
        (Some(0), "no_reward_for_rank"),
        (None, "reward_field_missing"),
    ] {
        let mut outcome = outcome(1);
        outcome.rank = rank;
        assert_eq!(world.decide(outcome).await, [expected], "{rank:?}");
    }
    world.finish().await;
}

#[tokio::test]
async fn the_largest_amounts_are_paid_exactly_and_never_wrap() {
    let max = Amount::GRANT_MAX.to_string();
    let mut world = World::new().await;
    let campaign = world
        .draft(
            crate::world::ORG,
            &with(json!({"kind": "per_unit", "field": "score", "amount": max, "cap": max})),
        )
        .await;
    world.transition(campaign, laurel_campaign::Move::Activate).await;
    let mut funded = crate::world::funding(campaign, 1);
    funded.cap = Amount::GRANT_MAX;
    world.append(&[funded.into()]).await;
    world.keep_books().await;
    let mut huge = outcome(1);
    huge.score = (1 << 53) - 1;
    assert_eq!(world.decide(huge).await, [format!("granted {max}")]);
    assert_eq!(world.decide(outcome(1)).await, ["budget_exhausted"]);
    let balances = world.balances(campaign).await;
    assert_eq!((balances.available, balances.reserved), (Amount::ZERO, Amount::GRANT_MAX));
    world.finish().await;
}

#[tokio::test]
async fn a_cap_on_the_amount_holds_at_the_end_of_the_range() {
    let max = Amount::GRANT_MAX.to_string();
    let mut world = World::new().await;
    let mut definition = with(json!({"kind": "fixed", "amount": max}));
    definition.caps.amount_per_player = Some(Amount::new(alloy_primitives::U256::MAX));
    let campaign = world.draft(crate::world::ORG, &definition).await;
    world.transition(campaign, laurel_campaign::Move::Activate).await;
    for times in 1..=2_u64 {
        let mut funded = crate::world::funding(campaign, 1);
        funded.cap = Amount::GRANT_MAX.times(times).unwrap();
        world.append(&[funded.into()]).await;
        world.keep_books().await;
        assert_eq!(world.decide(outcome(1)).await, [format!("granted {max}")]);
    }
    world.finish().await;
}

#[test]
fn more_than_a_grant_can_carry_is_no_reward() {
    let too_large = Amount::GRANT_MAX.plus(Amount::from(1_u64)).unwrap().to_string();
    for reward in [
        json!({"kind": "fixed", "amount": too_large}),
        json!({"kind": "per_unit", "field": "score", "amount": "1", "cap": too_large}),
        json!({"kind": "by_rank", "amounts": ["1", too_large]}),
        json!({"kind": "fixed", "amount": "1.5"}),
        json!({"kind": "fixed", "amount": 5}),
        json!({"kind": "fixed", "amount": "0"}),
    ] {
        assert!(serde_json::from_value::<Reward>(reward.clone()).is_err(), "{reward}");
    }
}
