//! Who may do what.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use laurel_api::{EVERY_ROLE, MATRIX, Role, TokenKey, Who, openapi};
use laurel_events::Clock;
use serde_json::{Value, json};

use crate::{
    call::Call,
    world::{CHAIN, Setup, World, address, definition, outcome, token_key},
};

/// Every route of the document with its row in the table.
fn routes() -> Vec<(String, Who)> {
    let document = serde_json::to_value(openapi()).unwrap();
    let mut rows: BTreeMap<String, Who> =
        MATRIX.iter().map(|right| (format!("{} {}", right.method, right.path), right.who)).collect();
    assert_eq!(rows.len(), MATRIX.len(), "a route has two rows");
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let route = format!("{} {path}", method.to_uppercase());
            let who = rows.remove(&route).unwrap_or_else(|| panic!("the table does not know {route}"));
            routes.push((route, who));
        }
    }
    assert!(rows.is_empty(), "nothing answers at {rows:?}");
    routes
}

/// Those that ask who is calling.
fn guarded() -> impl Iterator<Item = (String, Who)> {
    routes().into_iter().filter(|(_, who)| *who != Who::Everybody)
}

/// The route with ids that exist.
fn line(route: &str, campaign: &str) -> String {
    route
        .replace("{outcome_id}", "o-1")
        .replace("{player_id}", "caller")
        .replace("{campaign_id}", campaign)
        .replace("{grant_id}", &format!("{campaign}-0"))
        .replace("{hash}", &format!("0x{}", "77".repeat(32)))
        .replace("{letter_id}", "1")
        .replace("{partition}/{offset}/{index}", "0/0/0")
        .replace("{key_id}", "01890000-0000-7000-8000-000000000000")
}

/// A body that the route understands.
fn body(route: &str) -> Value {
    match route {
        route if route.ends_with("/rule/try") => json!({ "outcome": { "score": 12 } }),
        "POST /v1/api-keys" => json!({ "subject": "arena" }),
        "PUT /v1/auth/password" => json!({ "current": "correct horse", "new": "battery staple" }),
        "POST /v1/auth/totp" => json!({ "password": "correct horse" }),
        "PUT /v1/auth/totp" => json!({ "code": "123456" }),
        "POST /v1/outcomes" => json!({ "outcomes": [outcome("o-1", "caller", 12)] }),
        "POST /v1/campaigns" => definition(),
        route if route.ends_with("/fund") => json!({ "cap": "100" }),
        route if route.ends_with("/challenge") => {
            json!({ "address": address("wallet"), "chain_id": CHAIN })
        }
        route if route.ends_with("/wallet") => json!({ "message": "no challenge", "signature": "0x" }),
        _ => json!({}),
    }
}

fn call<'w>(call: Call<'w>, route: &str) -> Call<'w> {
    let bodiless =
        route.starts_with("GET") || route.starts_with("DELETE") || route == "PUT /v1/players/{player_id}";
    if bodiless { call } else { call.json(&body(route)) }
}

#[tokio::test]
async fn every_route_lets_its_roles_pass_and_no_others() {
    let world = World::new().await;
    world.player("caller").await;
    let campaign = world.campaign().await;
    for (route, who) in guarded() {
        for role in EVERY_ROLE.iter().copied() {
            let line = line(&route, &campaign);
            let request = call(world.call(role, &line), &route);
            if who.roles().any(|allowed| allowed == role) {
                let status = request.send().await.status.as_u16();
                assert!(![401, 403].contains(&status), "{route} refuses {role}: {status}");
            } else {
                request.refused(403, "wrong_role", "use a token of role").await;
            }
        }
    }
}

#[tokio::test]
async fn no_route_answers_without_a_token() {
    let world = World::new().await;
    let campaign = world.campaign().await;
    for (route, _) in guarded() {
        let line = line(&route, &campaign);
        call(world.anonymous(&line), &route).refused(401, "unauthorized", "send an access token").await;
    }
}

/// A token of a manager, spoiled.
fn spoiled(world: &World, how: &str) -> String {
    let now = world.clock.now();
    let minutes = TimeDelta::minutes(15);
    let other = TokenKey::from_hex(&"11".repeat(32)).unwrap();
    let mint = |key: &TokenKey, now| key.mint(now, minutes, Role::Manager, "default", "caller").unwrap();
    let good = mint(&token_key(), now);
    let (_, payload) = good.split_once('.').unwrap();
    let (payload, signature) = payload.split_once('.').unwrap();
    match how {
        "over" => mint(&token_key(), now - TimeDelta::minutes(16)),
        "of another key" => mint(&other, now),
        // {"alg":"none"} and {"alg":"none","typ":"JWT"}
        "unsigned" => format!("eyJhbGciOiJub25lIn0.{payload}."),
        "said to be unsigned" => format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.{signature}"),
        // {"alg":"HS256"}
        "of another algorithm" => format!("eyJhbGciOiJIUzI1NiJ9.{payload}.{signature}"),
        "cut short" => good[..good.len() - 2].to_owned(),
        "of an unknown organisation" => {
            token_key().mint(now, minutes, Role::Manager, "nobody", "caller").unwrap()
        }
        how => how.to_owned(),
    }
}

const SPOILED: [&str; 8] = [
    "over",
    "of another key",
    "unsigned",
    "said to be unsigned",
    "of another algorithm",
    "cut short",
    "of an unknown organisation",
    "nonsense",
];

#[tokio::test]
async fn no_route_takes_a_bad_token() {
    let world = World::new().await;
    let campaign = world.campaign().await;
    for how in SPOILED {
        let value = format!("Bearer {}", spoiled(&world, how));
        for (route, _) in guarded() {
            let line = line(&route, &campaign);
            let request = world.anonymous(&line).header("authorization", &value);
            let answer = call(request, &route).send().await;
            assert_eq!(answer.status, 401, "{route} takes a token that is {how}");
            answer.is_problem(401, "unauthorized", "get a");
        }
    }
    let request = world.anonymous("POST /v1/campaigns");
    let value = format!("Bearer {}", spoiled(&world, "over"));
    request.header("authorization", &value).json(&definition()).refused(401, "unauthorized", "get a").await;
}

#[tokio::test]
async fn basic_credentials_are_no_token() {
    let world = World::new().await;
    let request = world.anonymous("GET /v1/campaigns").header("authorization", "Basic YTpi");
    request.refused(401, "unauthorized", "authorization: Bearer").await;
}

#[tokio::test]
async fn the_scheme_may_be_spelled_in_any_case() {
    let world = World::new().await;
    let token = token_key().mint(world.clock.now(), TimeDelta::minutes(1), Role::Manager, "default", "x");
    let value = format!("bearer {}", token.unwrap());
    world.anonymous("GET /v1/campaigns").header("authorization", &value).send().await.ok();
}

#[tokio::test]
async fn what_belongs_to_another_organisation_does_not_exist() {
    let world = World::new().await;
    world.player("caller").await;
    let campaign = world.active_campaign(100).await;
    world.post_outcomes(&[outcome("o-1", "caller", 12)]).await;
    world.decide().await;
    for (route, who) in routes() {
        // What is registered here belongs to the caller, and letters to nobody.
        if route == "PUT /v1/players/{player_id}" || !route.contains('{') || route.contains("{letter_id}") {
            continue;
        }
        for role in who.roles() {
            let issuer = if route.contains("{outcome_id}") { "?issuer=caller" } else { "" };
            let line = line(&route, &campaign) + issuer;
            let foreign = call(world.anonymous(&line).by(role, "other", "caller"), &route);
            foreign.refused(404, "not_found", "there is no such").await;
        }
    }
    for line in ["GET /v1/campaigns", "GET /v1/grants", "GET /v1/transactions"] {
        let foreign = world.anonymous(line).by(Role::Auditor, "other", "caller").send().await.ok();
        assert_eq!(foreign["items"], json!([]), "{line}");
    }
}

#[tokio::test]
async fn a_player_sees_and_changes_nobody_else() {
    let world = World::new().await;
    world.player("p-1").await;
    for line in ["GET /v1/players/p-1", "GET /v1/players/p-1/grants", "GET /v1/players/p-1/tokens"] {
        world.anonymous(line).by(Role::Player, "default", "p-1").send().await.ok();
        let other = world.anonymous(line).by(Role::Player, "default", "p-2");
        other.refused(403, "wrong_role", "use a token").await;
    }
    let ask = json!({ "address": address("wallet"), "chain_id": CHAIN });
    let other = world.anonymous("POST /v1/players/p-1/wallet/challenge").json(&ask);
    other.by(Role::Player, "default", "p-2").refused(403, "wrong_role", "use a token").await;
}

#[tokio::test]
async fn without_sign_in_everybody_is_the_default_organisation() {
    let world = World::of(Setup { sign_in: false, ..Setup::default() }).await;
    let made = world.anonymous("POST /v1/campaigns").json(&definition()).send().await.created();
    let all = world.anonymous("GET /v1/campaigns").send().await.ok();
    assert_eq!(all["items"][0]["id"], made["id"]);
    world.anonymous("GET /v1/lanes").send().await.ok();
}

#[tokio::test]
async fn whoever_may_get_something_may_ask_for_its_head_and_other_methods_are_none() {
    let world = World::new().await;
    let id = world.campaign().await;
    let head = |role: Role| world.call(role, &format!("HEAD /v1/campaigns/{id}")).send();
    let answer = head(Role::Manager).await;
    assert_eq!((answer.status.as_u16(), answer.header("etag")), (200, Some("\"1\"")));
    assert_eq!(head(Role::Player).await.status, 403);
    let put = world.call(Role::Manager, &format!("PUT /v1/campaigns/{id}"));
    put.refused(405, "method_not_allowed", "other methods").await;
}
