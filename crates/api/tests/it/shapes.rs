//! A body is an object whose fields are named, each once; who may not send it is told so before it is read.

use laurel_api::Role;
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    call::Call,
    world::{CHAIN, World, address, definition, outcome},
};

/// Every route that takes a body, with its role, a good body, and where a list of the same fields would be taken for it.
fn bodies(campaign: &str) -> Vec<(String, Role, Value)> {
    vec![
        (
            "POST /v1/outcomes".to_owned(),
            Role::GameServer,
            json!({ "outcomes": [outcome("o-1", "p-1", 12)] }),
        ),
        ("POST /v1/campaigns".to_owned(), Role::Manager, definition()),
        (format!("PATCH /v1/campaigns/{campaign}"), Role::Manager, json!({ "name": "other" })),
        (format!("POST /v1/campaigns/{campaign}/fund"), Role::Manager, json!({ "cap": "100" })),
        (
            "POST /v1/players/p-1/wallet/challenge".to_owned(),
            Role::GameServer,
            json!({ "address": address("wallet"), "chain_id": CHAIN }),
        ),
        (
            "PUT /v1/players/p-1/wallet".to_owned(),
            Role::GameServer,
            json!({ "message": "no challenge", "signature": "0x" }),
        ),
    ]
}

async fn world() -> (World, Vec<(String, Role, Value)>) {
    let world = World::new().await;
    world.player("p-1").await;
    let campaign = world.campaign().await;
    (world, bodies(&campaign))
}

#[tokio::test]
async fn a_list_is_no_object() {
    let (world, bodies) = world().await;
    for (line, role, body) in bodies {
        let values: Vec<&Value> = body.as_object().unwrap().values().collect();
        let list = serde_json::to_value(values).unwrap();
        world.call(role, &line).json(&list).refused(422, "invalid_body", "a list stands where").await;
    }
}

#[tokio::test]
async fn no_field_is_there_twice() {
    let (world, bodies) = world().await;
    for (line, role, body) in bodies {
        let text = body.to_string();
        let (name, value) = body.as_object().unwrap().iter().next().unwrap();
        let twice = format!("{},\"{name}\":{value}}}", text.strip_suffix('}').unwrap());
        world.call(role, &line).text(&twice).refused(422, "invalid_body", "is there twice").await;
    }
}

#[rstest]
#[case::reward(json!({ "reward": ["fixed", "5"] }))]
#[case::caps(json!({ "caps": [1, 2] }))]
#[case::nested_games(json!({ "games": [["quiz"]] }))]
#[tokio::test]
async fn what_is_inside_a_campaign_is_no_list_either(#[case] fields: Value) {
    let world = World::new().await;
    let mut body = definition();
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    let request = world.call(Role::Manager, "POST /v1/campaigns").json(&body);
    request.refused(422, "invalid_body", "a list stands where").await;
    let id = world.campaign().await;
    let request = world.call(Role::Manager, &format!("PATCH /v1/campaigns/{id}")).json(&fields);
    request.refused(422, "invalid_body", "a list stands where").await;
}

#[tokio::test]
async fn an_outcome_that_is_a_list_or_says_a_thing_twice_is_rejected_alone() {
    let world = World::new().await;
    world.player("p-1").await;
    let good = outcome("o-1", "p-1", 12).to_string();
    let twice = outcome("o-2", "p-1", 12).to_string();
    let twice = twice.replacen('{', "{\"attributes\":{\"a\":1,\"a\":2},", 1);
    let list = "[\"o-3\",\"quiz\",\"p-1\",12,null,{},\"2026-01-01T00:00:00Z\"]";
    let body = format!("{{\"outcomes\":[{list},{twice},{good}]}}");
    let answer = world.call(Role::GameServer, "POST /v1/outcomes").text(&body).send().await.accepted();
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(1), &json!(2)));
    assert_eq!(answer["results"][0]["code"], "invalid_outcome");
    assert_eq!(answer["results"][1]["code"], "invalid_outcome");
}

#[tokio::test]
async fn null_is_as_good_as_absent() {
    let world = World::new().await;
    let mut body = definition();
    for name in ["caps", "starts_at", "ends_at"] {
        body[name] = Value::Null;
    }
    let made = world.call(Role::Manager, "POST /v1/campaigns").json(&body).send().await.created();
    assert_eq!(made["caps"], json!({}));
}

#[tokio::test]
async fn the_wrong_role_is_told_before_the_body_is_read() {
    let (world, bodies) = world().await;
    for (line, _, _) in bodies {
        let call: Call<'_> = world.call(Role::Auditor, &line);
        call.text("{").without("idempotency-key").refused(403, "wrong_role", "use a token of role").await;
    }
}

#[tokio::test]
async fn messages_are_in_our_words() {
    let (world, bodies) = world().await;
    for (line, role, _) in bodies {
        for body in ["{", "{\"colour\":1}"] {
            let answer = world.call(role, &line).text(body).send().await;
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(!detail.contains("deserialize") && !detail.contains("Failed"), "{line}: {detail}");
        }
    }
    let answer = world.call(Role::Auditor, "GET /v1/grants?colour=red").send().await;
    answer.is_problem(400, "invalid_query", "no parameter \"colour\"");
    assert!(!answer.json()["detail"].as_str().unwrap().contains("deserialize"));
}
