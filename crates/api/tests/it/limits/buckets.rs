//! Buckets of callers.

use chrono::TimeDelta;
use laurel_api::{Class, Rate, Rates, Role, class_of, openapi, sweep_buckets};
use laurel_events::Clock;
use serde_json::json;

use super::limited;
use crate::{
    call::Answer,
    world::{Setup, World, outcome},
};

async fn me(world: &World, role: Role, org: &str, subject: &str) -> Answer {
    world.anonymous("GET /v1/auth/me").by(role, org, subject).send().await
}

#[tokio::test]
async fn whoever_asked_for_too_much_waits_and_is_admitted_then() {
    let world = limited(Class::Read, 3, 60).await;
    for remaining in [2, 1, 0] {
        let answer = me(&world, Role::Manager, "default", "ada").await;
        answer.ok();
        assert_eq!(answer.header("ratelimit-policy"), Some("\"read\";q=3;w=60"));
        let told = answer.header("ratelimit").unwrap();
        assert!(told.starts_with(&format!("\"read\";r={remaining};t=")), "{told}");
        assert_eq!(answer.header("retry-after"), None);
    }
    let refused = me(&world, Role::Manager, "default", "ada").await;
    refused.is_problem(429, "rate_limited", "at most 3 in 60 s");
    assert_eq!(refused.header("retry-after"), Some("20"));
    assert_eq!(refused.header("ratelimit"), Some("\"read\";r=0;t=60"));
    world.clock.advance(TimeDelta::milliseconds(19_999));
    me(&world, Role::Manager, "default", "ada").await.is_problem(429, "rate_limited", "try again in 1 s");
    world.clock.advance(TimeDelta::milliseconds(1));
    me(&world, Role::Manager, "default", "ada").await.ok();
    me(&world, Role::Manager, "default", "ada").await.is_problem(429, "rate_limited", "try again in 20 s");
    world.clock.advance(TimeDelta::hours(1));
    let token = |answer: Answer| answer.header("ratelimit").map(str::to_owned);
    assert_eq!(
        token(me(&world, Role::Manager, "default", "ada").await).as_deref(),
        Some("\"read\";r=2;t=20")
    );
}

#[tokio::test]
async fn callers_and_classes_do_not_disturb_each_other() {
    let world = limited(Class::Read, 1, 60).await;
    me(&world, Role::Manager, "default", "ada").await.ok();
    me(&world, Role::Manager, "default", "ada").await.is_problem(429, "rate_limited", "read");
    me(&world, Role::Manager, "default", "grace").await.ok();
    me(&world, Role::Auditor, "default", "ada").await.ok();
    me(&world, Role::Manager, "other", "ada").await.ok();
    let change =
        world.anonymous("POST /v1/auth/sign-out").by(Role::Manager, "default", "ada").json(&json!({}));
    assert_ne!(change.send().await.status, 429);
}

#[tokio::test]
async fn a_refused_request_changes_nothing() {
    let world = limited(Class::Players, 1, 60).await;
    world.player("p-1").await;
    let request = world.call(Role::GameServer, "PUT /v1/players/p-2");
    request.refused(429, "rate_limited", "nothing was changed").await;
}

#[tokio::test]
async fn outcomes_are_charged_one_by_one() {
    let world = limited(Class::Outcomes, 10, 10).await;
    world.player("p-1").await;
    let report = |from: usize, count: usize| {
        let outcomes: Vec<_> =
            (from..from + count).map(|number| outcome(&format!("o-{number}"), "p-1", 12)).collect();
        world.call(Role::GameServer, "POST /v1/outcomes").json(&json!({ "outcomes": outcomes }))
    };
    let taken = report(0, 7).send().await;
    assert_eq!(taken.accepted()["accepted"], 7);
    assert!(taken.header("ratelimit").unwrap().starts_with("\"outcomes\";r=3;"));
    let refused = report(7, 4).refused(429, "rate_limited", "outcomes: at most 10 in 10 s").await;
    // One of them was charged.
    assert_eq!(refused.header("retry-after"), Some("1"));
    world.clock.advance(TimeDelta::seconds(2));
    report(7, 4).send().await.accepted();
    // More than a bucket ever holds takes all of it.
    world.clock.advance(TimeDelta::seconds(10));
    assert_eq!(report(11, 50).send().await.accepted()["accepted"], 50);
    report(61, 1).refused(429, "rate_limited", "outcomes").await;
}

#[tokio::test]
async fn without_sign_in_everybody_is_one_caller() {
    let rates = Rates::GENEROUS.with(Class::Read, Rate::new(2, 60).unwrap());
    let world = World::of(Setup { rates, sign_in: false, ..Setup::default() }).await;
    for _ in 0..2 {
        world.anonymous("GET /v1/lanes").send().await.ok();
    }
    world.anonymous("GET /v1/lanes").send().await.is_problem(429, "rate_limited", "read");
}

#[tokio::test]
async fn what_everybody_needs_is_never_limited() {
    let rate = Rate::new(1, 86_400).unwrap();
    let rates = Class::ALL.into_iter().fold(Rates::GENEROUS, |rates, class| rates.with(class, rate));
    let world = World::of(Setup { rates, ..Setup::default() }).await;
    for line in ["GET /openapi.json", "GET /docs", "GET /v1/auth/jwks"] {
        for _ in 0..3 {
            let answer = world.anonymous(line).send().await;
            assert_eq!((answer.status.as_u16(), answer.header("ratelimit")), (200, None), "{line}");
        }
    }
}

/// What the document promises of a route is what its answers have.
#[tokio::test]
async fn every_answer_of_a_limited_route_tells_how_its_caller_stands() {
    let world = World::new().await;
    let document = serde_json::to_value(openapi()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let line = format!("{} {}", method.to_uppercase(), path.replace(['{', '}'], ""));
            let answer = world.anonymous(&line).send().await;
            let limited = class_of(&method.to_uppercase(), path).is_some();
            for header in ["ratelimit", "ratelimit-policy"] {
                assert_eq!(answer.header(header).is_some(), limited, "{line}: {header}");
                let answers = operation["responses"].as_object().unwrap();
                for (status, answer) in answers {
                    assert_eq!(answer["headers"].get(header).is_some(), limited, "{line}: {status} {header}");
                }
            }
            assert_eq!(operation["responses"].get("429").is_some(), limited, "{line}");
        }
    }
}

#[tokio::test]
async fn full_buckets_are_swept() {
    let world = limited(Class::Read, 3, 60).await;
    me(&world, Role::Manager, "default", "ada").await.ok();
    let sweep = || sweep_buckets(world.pool(), world.clock.now());
    assert_eq!(sweep().await.unwrap(), 0);
    world.clock.advance(TimeDelta::seconds(61));
    assert_eq!(sweep().await.unwrap(), 1);
    me(&world, Role::Manager, "default", "ada").await.ok();
}
