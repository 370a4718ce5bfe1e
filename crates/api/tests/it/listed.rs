//! Players whom a campaign treats apart.

use laurel_api::Role;
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    call::Call,
    world::{World, outcome},
};

fn change<'w>(world: &'w World, id: &str, body: &Value) -> Call<'w> {
    world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/players")).json(body)
}

/// What becomes of an outcome of each player: a reason, or none.
async fn decisions(world: &World, round: &str, players: &[&str]) -> Vec<Value> {
    let told: Vec<Value> =
        players.iter().map(|player| outcome(&format!("{round}-{player}"), player, 12)).collect();
    world.post_outcomes(&told).await;
    world.decide().await;
    let mut reasons = Vec::new();
    for player in players {
        let line = format!("GET /v1/outcomes/{round}-{player}");
        let found = world.call(Role::GameServer, &line).send().await.ok();
        reasons.push(found["declines"][0]["reason"].clone());
    }
    reasons
}

#[tokio::test]
async fn who_may_not_earns_nothing_and_where_not_everybody_may_only_who_may() {
    let world = World::new().await;
    for player in ["p-1", "p-2", "p-3"] {
        world.player(player).await;
    }
    let id = world.active_campaign(1_000).await;
    let all = ["p-1", "p-2", "p-3"];
    let changed = change(&world, &id, &json!({ "allow": ["p-1"], "deny": ["p-2"] })).send().await.ok();
    assert_eq!(changed, json!({ "allowed": 1, "denied": 1, "removed": 0 }));
    assert_eq!(decisions(&world, "one", &all).await, [json!(null), json!("player_denied"), json!(null)]);

    let only = world.call(Role::Manager, &format!("PATCH /v1/campaigns/{id}"));
    assert_eq!(only.json(&json!({ "only_allowed": true })).send().await.ok()["only_allowed"], true);
    let denied = [json!(null), json!("player_denied"), json!("player_not_allowed")];
    assert_eq!(decisions(&world, "two", &all).await, denied);

    change(&world, &id, &json!({ "allow": ["p-2"], "remove": ["p-1"] })).send().await.ok();
    let turned = [json!("player_not_allowed"), json!(null), json!("player_not_allowed")];
    assert_eq!(decisions(&world, "three", &all).await, turned);

    let listed = world.call(Role::Auditor, &format!("GET /v1/campaigns/{id}/players")).send().await.ok();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&listed["items"][0]["player_id"], &listed["items"][0]["list"]),
        (&json!("p-2"), &json!("allow"))
    );
    let line = format!("GET /v1/campaigns/{id}/players?list=deny");
    assert_eq!(world.call(Role::Auditor, &line).send().await.ok()["items"], json!([]));

    let tried = json!({ "outcome": { "score": 12 }, "player": { "list": "deny" } });
    let tried = world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/rule/try")).json(&tried);
    assert_eq!(tried.send().await.ok()["reason"], "player_denied");
    let replayed = world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/rule/replay"));
    let replayed = replayed.json(&json!({ "change": { "caps": {} } })).send().await.ok();
    assert_eq!((&replayed["granted"], &replayed["most"][0]["player_id"]), (&json!(3), &json!("p-2")));
    assert_eq!(replayed["declined"], json!({ "player_not_allowed": 6 }));
}

#[rstest]
#[case(json!({}), "name 1 to 1000")]
#[case(json!({ "allow": vec!["p"; 1_001] }), "name 1 to 1000")]
#[case(json!({ "allow": ["p-1"], "deny": ["p-1"] }), "is named twice")]
#[case(json!({ "allow": ["p-1", "nobody"] }), "there is no player \"nobody\"")]
#[case(json!({ "allow": ["a\u{0}"] }), "holds no NUL")]
#[tokio::test]
async fn what_cannot_be_is_refused(#[case] body: Value, #[case] advice: &'static str) {
    let world = World::new().await;
    world.player("p-1").await;
    let id = world.campaign().await;
    change(&world, &id, &body).refused(422, "invalid_players", advice).await;
}

#[tokio::test]
async fn players_of_another_organisation_are_nobody() {
    let world = World::new().await;
    let id = world.campaign().await;
    let theirs = world.anonymous("PUT /v1/players/p-9").by(Role::GameServer, "other", "caller");
    theirs.send().await.created();
    change(&world, &id, &json!({ "allow": ["p-9"] })).refused(422, "invalid_players", "no player").await;
}

#[tokio::test]
async fn a_player_gets_no_more_than_so_much_a_day() {
    let world = World::new().await;
    world.player("p-1").await;
    let id = world.active_campaign(1_000).await;
    let change = world.call(Role::Manager, &format!("PATCH /v1/campaigns/{id}"));
    let caps = json!({ "caps": { "amount_per_player_per_day": "12" } });
    assert_eq!(change.json(&caps).send().await.ok()["caps"], caps["caps"]);
    let mut reasons = Vec::new();
    for round in ["one", "two", "three"] {
        reasons.extend(decisions(&world, round, &["p-1"]).await);
    }
    assert_eq!(reasons, [json!(null), json!(null), json!("amount_per_day_cap_reached")]);
    world.clock.advance(chrono::TimeDelta::days(1));
    assert_eq!(decisions(&world, "four", &["p-1"]).await, [json!(null)]);
}
