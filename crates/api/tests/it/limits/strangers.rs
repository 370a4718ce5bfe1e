//! Those who have not said who they are, or not rightly.

use axum::http::StatusCode;
use laurel_api::{Class, Role};
use rstest::rstest;
use serde_json::json;

use super::limited;
use crate::{
    call::Answer,
    sign_in::hire,
    world::{CHAIN, World, address},
};

const ONE: &str = "198.51.100.1";
const OTHER: &str = "203.0.113.5";

async fn sign_in(world: &World, from: &str, name: &str, password: &str) -> Answer {
    let body = json!({ "name": name, "password": password });
    world.anonymous("POST /v1/auth/token").header("x-forwarded-for", from).json(&body).send().await
}

#[tokio::test]
async fn a_storm_of_sign_ins_from_one_address_locks_nobody_else() {
    let world = limited(Class::SignIn, 4, 60).await;
    hire(&world, "ada", Role::Manager).await;
    for attempt in 0..4 {
        let answer = sign_in(&world, ONE, &format!("nobody-{attempt}"), "wrong horse battery").await;
        answer.is_problem(401, "wrong_credentials", "wrong");
    }
    // Also with the right password, which nobody gets to try.
    let refused = sign_in(&world, ONE, "ada", "correct horse battery").await;
    refused.is_problem(429, "rate_limited", "sign-in: at most 4");
    assert_eq!(refused.header("retry-after"), Some("15"));
    sign_in(&world, OTHER, "ada", "correct horse battery").await.ok();
}

#[tokio::test]
async fn guesses_of_one_name_are_counted_wherever_they_come_from() {
    let world = limited(Class::Login, 3, 60).await;
    hire(&world, "ada", Role::Manager).await;
    for attempt in 0..3 {
        let from = format!("192.0.2.{attempt}");
        sign_in(&world, &from, "grace", "wrong horse battery").await.is_problem(401, "wrong_credentials", "");
    }
    let refused = sign_in(&world, OTHER, "grace", "wrong horse battery").await;
    refused.is_problem(429, "rate_limited", "login: at most 3");
    let policy = refused.header("ratelimit-policy").unwrap();
    assert!(policy.starts_with("\"sign-in\";") && policy.contains(", \"login\";q=3;w=60"), "{policy}");
    sign_in(&world, OTHER, "ada", "correct horse battery").await.ok();
}

/// Whoever asks in a player's name takes nothing from them.
#[tokio::test]
async fn challenges_of_a_player_are_counted_by_where_they_are_asked_from() {
    let world = limited(Class::Login, 3, 60).await;
    let body = json!({
        "org": "default", "player_id": "p-1", "chain_id": CHAIN, "address": address("p-1").to_checksum(None),
    });
    let ask = |from: &str| {
        world.anonymous("POST /v1/auth/wallet/challenge").header("x-forwarded-for", from).json(&body).send()
    };
    for _ in 0..3 {
        ask(ONE).await.ok();
    }
    ask(ONE).await.is_problem(429, "rate_limited", "login: at most 3");
    ask(OTHER).await.ok();
}

/// A key that nobody has is no caller: it costs neither a bucket nor a turn.
#[tokio::test]
async fn whoever_makes_keys_up_is_charged_for_none_of_them() {
    let world = limited(Class::Failures, 3, 60).await;
    let with_key = |number: usize| {
        let key = format!("Bearer lrk_{}", format!("{number:02x}").repeat(32));
        world
            .anonymous("GET /v1/campaigns")
            .header("x-forwarded-for", ONE)
            .header("authorization", &key)
            .send()
    };
    for number in 0..3 {
        with_key(number).await.is_problem(401, "unauthorized", "");
    }
    let buckets =
        || sqlx::query_scalar::<_, i64>("SELECT count(*) FROM rate_buckets").fetch_one(world.pool());
    let leases = world.state.limits.metrics.leases_total.with_label_values(&["leased"]);
    let before = (buckets().await.unwrap(), leases.get());
    for number in 3..10 {
        with_key(number).await.is_problem(429, "rate_limited", "failures: at most 3");
    }
    assert_eq!((buckets().await.unwrap(), leases.get()), before);
}

#[rstest]
#[case::nothing(None)]
#[case::nonsense(Some("Bearer nonsense".to_owned()))]
#[case::a_key(Some(format!("Bearer lrk_{}", "a1".repeat(32))))]
#[tokio::test]
async fn whoever_has_no_good_token_may_try_only_so_often(#[case] value: Option<String>) {
    let world = limited(Class::Failures, 3, 60).await;
    let request = |from: &str| {
        let request = world.anonymous("GET /v1/campaigns").header("x-forwarded-for", from);
        match &value {
            Some(value) => request.header("authorization", value),
            None => request,
        }
    };
    for _ in 0..3 {
        request(ONE).send().await.is_problem(401, "unauthorized", "");
    }
    request(ONE).send().await.is_problem(429, "rate_limited", "failures: at most 3");
    request(OTHER).send().await.is_problem(401, "unauthorized", "");
    // Whoever has a good one is not counted by where they are.
    let good = world.call(Role::Manager, "GET /v1/campaigns").header("x-forwarded-for", ONE);
    assert_eq!(good.send().await.status, StatusCode::OK);
}
