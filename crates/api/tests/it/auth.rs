//! Who may do what.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use laurel_api::{Role, TokenKey, openapi};
use laurel_events::Clock;
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    call::Call,
    world::{CHAIN, Setup, World, address, definition, outcome, token_key},
};

const ROLES: [(char, Role); 5] = [
    ('p', Role::Player),
    ('m', Role::Manager),
    ('a', Role::Auditor),
    ('o', Role::Operator),
    ('g', Role::GameServer),
];

/// Every route, and the roles that may use it; a player (p) only for themselves.
const ROUTES: [(&str, &str); 28] = [
    ("POST /v1/outcomes", "g"),
    ("GET /v1/outcomes/{outcome_id}", "gma"),
    ("PUT /v1/players/{player_id}", "g"),
    ("GET /v1/players/{player_id}", "pgma"),
    ("GET /v1/players/{player_id}/grants", "pgma"),
    ("GET /v1/players/{player_id}/tokens", "pgma"),
    ("POST /v1/players/{player_id}/wallet/challenge", "pg"),
    ("PUT /v1/players/{player_id}/wallet", "pg"),
    ("POST /v1/campaigns", "m"),
    ("GET /v1/campaigns", "ma"),
    ("GET /v1/campaigns/{campaign_id}", "ma"),
    ("PATCH /v1/campaigns/{campaign_id}", "m"),
    ("POST /v1/campaigns/{campaign_id}/fund", "m"),
    ("POST /v1/campaigns/{campaign_id}/activate", "m"),
    ("POST /v1/campaigns/{campaign_id}/pause", "m"),
    ("POST /v1/campaigns/{campaign_id}/resume", "m"),
    ("POST /v1/campaigns/{campaign_id}/end", "m"),
    ("GET /v1/campaigns/{campaign_id}/statistics", "ma"),
    ("GET /v1/campaigns/{campaign_id}/ledger", "ma"),
    ("GET /v1/campaigns/{campaign_id}/grants", "ma"),
    ("GET /v1/campaigns/{campaign_id}/declines", "ma"),
    ("GET /v1/grants", "ma"),
    ("GET /v1/grants/{grant_id}", "gma"),
    ("GET /v1/transactions", "ma"),
    ("GET /v1/transactions/{hash}", "ma"),
    ("GET /v1/dead-letters", "o"),
    ("GET /v1/dead-letters/{letter_id}", "o"),
    ("POST /v1/dead-letters/{letter_id}/redrive", "o"),
];

/// Routes without anything in the path or the body that a test could vary.
const LISTS: [(&str, &str); 3] =
    [("GET /v1/lanes", "o"), ("GET /v1/alerts", "o"), ("GET /v1/audit/reconciliations", "ao")];

fn routes() -> impl Iterator<Item = (&'static str, &'static str)> {
    ROUTES.into_iter().chain(LISTS)
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
}

/// A body that the route understands.
fn body(route: &str) -> Value {
    match route {
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
    let bodiless = route.starts_with("GET") || route == "PUT /v1/players/{player_id}";
    if bodiless { call } else { call.json(&body(route)) }
}

#[tokio::test]
async fn every_route_lets_its_roles_pass_and_no_others() {
    let world = World::new().await;
    world.player("caller").await;
    let campaign = world.campaign().await;
    for (route, allowed) in routes() {
        for (letter, role) in ROLES {
            let line = line(route, &campaign);
            let request = call(world.call(role, &line), route);
            if allowed.contains(letter) {
                let status = request.send().await.status.as_u16();
                assert!(![401, 403].contains(&status), "{route} refuses {role}: {status}");
            } else {
                request.refused(403, "wrong_role", "use a token of role").await;
            }
        }
    }
}

#[test]
fn the_table_of_roles_knows_every_route_of_the_document() {
    let listed: BTreeSet<String> = routes().map(|(route, _)| route.to_owned()).collect();
    let document = serde_json::to_value(openapi()).unwrap();
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            documented.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    assert_eq!(listed, documented);
}

#[tokio::test]
async fn no_route_answers_without_a_token() {
    let world = World::new().await;
    let campaign = world.campaign().await;
    for (route, _) in routes() {
        let line = line(route, &campaign);
        call(world.anonymous(&line), route).refused(401, "unauthorized", "send an access token").await;
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

#[rstest]
#[case("over")]
#[case("of another key")]
#[case("unsigned")]
#[case("said to be unsigned")]
#[case("of another algorithm")]
#[case("cut short")]
#[case("of an unknown organisation")]
#[case("nonsense")]
#[tokio::test]
async fn a_bad_token_is_none(#[case] how: &str) {
    let world = World::new().await;
    let value = format!("Bearer {}", spoiled(&world, how));
    let request = world.anonymous("POST /v1/campaigns").header("authorization", &value);
    request.json(&definition()).refused(401, "unauthorized", "get a").await;
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
    world.player("p-1").await;
    let campaign = world.active_campaign(100).await;
    world.post_outcomes(&[outcome("o-1", "p-1", 12)]).await;
    world.decide().await;
    for (role, line) in [
        (Role::Manager, format!("GET /v1/campaigns/{campaign}")),
        (Role::Manager, format!("GET /v1/campaigns/{campaign}/statistics")),
        (Role::Manager, format!("GET /v1/campaigns/{campaign}/ledger")),
        (Role::Manager, format!("GET /v1/campaigns/{campaign}/grants")),
        (Role::Manager, format!("GET /v1/campaigns/{campaign}/declines")),
        (Role::Manager, format!("POST /v1/campaigns/{campaign}/pause")),
        (Role::Auditor, format!("GET /v1/grants/{campaign}-0")),
        (Role::Auditor, "GET /v1/outcomes/o-1?issuer=caller".to_owned()),
        (Role::GameServer, "GET /v1/players/p-1".to_owned()),
        (Role::GameServer, "GET /v1/players/p-1/grants".to_owned()),
        (Role::GameServer, "GET /v1/players/p-1/tokens".to_owned()),
    ] {
        let foreign = world.anonymous(&line).by(role, "other", "caller");
        foreign.refused(404, "not_found", "there is no such").await;
    }
    let change = world.anonymous(&format!("PATCH /v1/campaigns/{campaign}")).json(&json!({ "name": "Mine" }));
    change.by(Role::Manager, "other", "caller").refused(404, "not_found", "campaign").await;
    let fund = world.anonymous(&format!("POST /v1/campaigns/{campaign}/fund")).json(&json!({ "cap": "500" }));
    fund.by(Role::Manager, "other", "caller").refused(404, "not_found", "campaign").await;
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
