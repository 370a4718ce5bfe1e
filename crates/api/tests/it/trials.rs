//! Rules are tried before they go live.

use laurel_api::Role;
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    call::Call,
    world::{World, outcome},
};

fn try_rule<'w>(world: &'w World, id: &str, body: &Value) -> Call<'w> {
    world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/rule/try")).json(body)
}

fn replay<'w>(world: &'w World, id: &str, body: &Value) -> Call<'w> {
    world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/rule/replay")).json(body)
}

#[tokio::test]
async fn an_outcome_goes_in_and_the_decision_comes_out_part_by_part() {
    let world = World::new().await;
    let id = world.campaign().await;
    let before = world.contents().await;
    let body = json!({
        "outcome": { "score": 12, "rank": 2, "attributes": { "tier": "gold" } },
        "change": {
            "rule": "outcome.score >= 10 && outcome.attributes.tier == 'gold'",
            "reward": { "kind": "by_rank", "amounts": ["50", "30"] },
        },
    });
    insta::assert_json_snapshot!("tried", try_rule(&world, &id, &body).send().await.ok());
    let declined = try_rule(&world, &id, &json!({ "outcome": { "score": 9 } })).send().await.ok();
    assert_eq!((&declined["decision"], &declined["reason"]), (&json!("declined"), &json!("rule_not_met")));
    assert_eq!(declined["explanation"]["parts"][0]["value"], "9");
    let fault = json!({ "outcome": { "score": 9 }, "change": { "rule": "outcome.rank == 1" } });
    let fault = try_rule(&world, &id, &fault).send().await.ok();
    assert_eq!(
        (&fault["reason"], &fault["explanation"]["value"]),
        (&json!("rule_rank_missing"), &json!(null))
    );
    assert_eq!(world.contents().await, before, "nothing is kept");
}

#[tokio::test]
async fn what_the_player_got_counts() {
    let world = World::new().await;
    let id = world.campaign().await;
    for (player, reason) in [
        (json!({ "grants": 1, "amount": "5" }), json!(null)),
        (json!({ "grants": 2, "amount": "10" }), json!("grants_cap_reached")),
    ] {
        let body = json!({ "outcome": { "score": 12 }, "player": player });
        assert_eq!(try_rule(&world, &id, &body).send().await.ok()["reason"], reason, "{player}");
    }
    let daily = json!({
        "outcome": { "score": 12 }, "player": { "grants_today": 3 },
        "change": { "caps": { "grants_per_player_per_day": 3 } },
    });
    assert_eq!(try_rule(&world, &id, &daily).send().await.ok()["reason"], "grants_per_day_cap_reached");
}

#[rstest]
#[case(json!({}), "invalid_body", "outcome")]
#[case(json!({ "outcome": { "score": -1 } }), "invalid_score", "a whole number")]
#[case(json!({ "outcome": { "score": 1, "rank": 0 } }), "invalid_rank", "a whole number")]
#[case(json!({ "outcome": { "score": 1, "attributes": { "": 1 } } }), "invalid_attributes", "at most 16")]
#[case(json!({ "outcome": { "score": 1 }, "change": { "rule": "outcome.scores > 1" } }), "invalid_campaign", "no field `scores`")]
#[case(json!({ "outcome": { "score": 1 }, "change": { "name": "x" } }), "invalid_body", "unknown field `name`")]
#[tokio::test]
async fn what_cannot_be_tried_is_refused(
    #[case] body: Value,
    #[case] code: &'static str,
    #[case] advice: &'static str,
) {
    let world = World::new().await;
    let id = world.campaign().await;
    try_rule(&world, &id, &body).refused(422, code, advice).await;
}

#[tokio::test]
async fn the_last_outcomes_are_decided_once_more() {
    let world = World::new().await;
    let id = world.active_campaign(100).await;
    for player in ["p-1", "p-2", "p-3"] {
        world.player(player).await;
    }
    let scores = [("p-1", 12), ("p-1", 20), ("p-1", 30), ("p-2", 15), ("p-3", 5)];
    let told: Vec<Value> = scores
        .iter()
        .enumerate()
        .map(|(number, (player, score))| outcome(&format!("o-{number}"), player, *score))
        .collect();
    world.post_outcomes(&told).await;
    world.decide().await;
    let before = world.contents_but_reads().await;

    let same = replay(&world, &id, &json!({})).send().await.ok();
    assert_eq!((&same["outcomes"], &same["granted"], &same["amount"]), (&json!(5), &json!(3), &json!("15")));
    assert_eq!(same["declined"], json!({ "grants_cap_reached": 1, "rule_not_met": 1 }));
    assert_eq!((&same["winners"], &same["most"][0]["player_id"]), (&json!(2), &json!("p-1")));

    let richer = json!({ "change": {
        "rule": "outcome.score >= 5", "caps": {}, "reward": { "kind": "per_unit", "field": "score", "amount": "2", "cap": "50" },
    } });
    let richer = replay(&world, &id, &richer).send().await.ok();
    assert_eq!((&richer["granted"], &richer["amount"]), (&json!(5), &json!("154")));
    assert_eq!(richer["most"][0], json!({ "player_id": "p-1", "grants": 3, "amount": "114" }));
    assert_eq!(richer["most"][2], json!({ "player_id": "p-3", "grants": 1, "amount": "10" }));

    let none = replay(&world, &id, &json!({ "change": { "games": ["chess"] } })).send().await.ok();
    assert_eq!((&none["outcomes"], &none["from"]), (&json!(0), &json!(null)));
    assert_eq!(world.contents_but_reads().await, before, "nothing is kept");
}

#[tokio::test]
async fn only_as_many_as_asked_for_and_the_latest() {
    let world = World::new().await;
    let id = world.active_campaign(100).await;
    world.player("p-1").await;
    for number in 0..4 {
        world.post_outcomes(&[outcome(&format!("o-{number}"), "p-1", number)]).await;
        world.clock.advance(chrono::TimeDelta::minutes(1));
    }
    let last = json!({ "outcomes": 2, "change": { "rule": "outcome.score >= 2", "caps": {} } });
    let replayed = replay(&world, &id, &last).send().await.ok();
    assert_eq!((&replayed["outcomes"], &replayed["granted"]), (&json!(2), &json!(2)));
    assert_eq!(replayed["from"], "2026-01-01T00:02:00Z");
    for outcomes in [0, 10_001] {
        replay(&world, &id, &json!({ "outcomes": outcomes }))
            .refused(422, "invalid_body", "1 to 10000")
            .await;
    }
}

#[tokio::test]
async fn other_organisations_outcomes_are_none_of_theirs() {
    let world = World::new().await;
    world.player("p-1").await;
    world.post_outcomes(&[outcome("o-1", "p-1", 12)]).await;
    let definition = crate::world::definition();
    let made = world.anonymous("POST /v1/campaigns").json(&definition).by(Role::Manager, "other", "caller");
    let id = made.send().await.created()["id"].as_str().unwrap().to_owned();
    let line = format!("POST /v1/campaigns/{id}/rule/replay");
    let replayed =
        world.anonymous(&line).json(&json!({})).by(Role::Manager, "other", "caller").send().await.ok();
    assert_eq!(replayed["outcomes"], 0);
    // Nor do they crowd out one's own.
    let own = world.anonymous("PUT /v1/players/p-2").by(Role::GameServer, "other", "caller");
    own.send().await.created();
    let report = json!({ "outcomes": [outcome("o-1", "p-2", 12)] });
    world
        .anonymous("POST /v1/outcomes")
        .json(&report)
        .by(Role::GameServer, "other", "caller")
        .send()
        .await
        .accepted();
    world.clock.advance(chrono::TimeDelta::minutes(1));
    world.post_outcomes(&[outcome("o-2", "p-1", 12), outcome("o-3", "p-1", 12)]).await;
    let one = world.anonymous(&line).json(&json!({ "outcomes": 1 })).by(Role::Manager, "other", "caller");
    assert_eq!(one.send().await.ok()["outcomes"], 1);
}
