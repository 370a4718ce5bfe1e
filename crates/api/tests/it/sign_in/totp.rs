//! A second factor.

use chrono::TimeDelta;
use laurel_api::{SecretsKey, forget_totp, reseal_totp};
use laurel_events::Clock;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use totp_rs::Totp;

use super::{PASSWORD, ada, nowhere_in_the_database, sign_in, with};
use crate::{call::Call, world::World};

/// The authenticator of Ada, who has set one up.
async fn authenticator(world: &World, tokens: &Value) -> Totp {
    let begin = with(world, tokens, "POST /v1/auth/totp").json(&json!({ "password": PASSWORD }));
    let begun = begin.send().await;
    assert_eq!(begun.header("cache-control"), Some("no-store"));
    let totp = Totp::from_url(begun.ok()["uri"].as_str().unwrap()).unwrap();
    assert_eq!(confirm(world, tokens, &code(world, &totp)).send().await.status, 204);
    totp
}

fn confirm<'w>(world: &'w World, tokens: &Value, code: &str) -> Call<'w> {
    with(world, tokens, "PUT /v1/auth/totp").json(&json!({ "code": code }))
}

/// The code that an authenticator shows now.
fn code(world: &World, totp: &Totp) -> String {
    totp.generate(world.clock.now().timestamp().cast_unsigned()).to_string()
}

fn sign_in_with<'w>(world: &'w World, code: &str) -> Call<'w> {
    let body = json!({ "name": "ada", "password": PASSWORD, "totp": code });
    world.anonymous("POST /v1/auth/token").json(&body)
}

/// Does everything that somebody can change about how they come in.
pub(crate) async fn everything(world: &World) {
    let tokens = ada(world).await;
    let totp = authenticator(world, &tokens).await;
    let new = "a passphrase of my own";
    let change =
        with(world, &tokens, "PUT /v1/auth/password").json(&json!({ "current": PASSWORD, "new": new }));
    assert_eq!(change.send().await.status, 204);
    world.clock.advance(TimeDelta::seconds(30));
    let body = json!({ "name": "ada", "password": new, "totp": code(world, &totp) });
    let tokens = world.anonymous("POST /v1/auth/token").json(&body).send().await.ok();
    assert_eq!(with(world, &tokens, "POST /v1/auth/sign-out").send().await.status, 204);
}

#[tokio::test]
async fn whoever_has_one_needs_it() {
    let world = World::new().await;
    let first = ada(&world).await;
    let other = sign_in(&world, "ada", PASSWORD).send().await.ok();
    let totp = authenticator(&world, &first).await;
    with(&world, &first, "GET /v1/auth/me").send().await.ok();
    with(&world, &other, "GET /v1/auth/me").refused(401, "unauthorized", "has ended").await;
    sign_in(&world, "ada", PASSWORD).refused(401, "totp_required", "as `totp`").await;
    world.clock.advance(TimeDelta::seconds(30));
    let tokens = sign_in_with(&world, &code(&world, &totp)).send().await.ok();
    with(&world, &tokens, "GET /v1/auth/me").send().await.ok();
    nowhere_in_the_database(&world, &totp.secret().to_base32()).await;
    let hex: String = totp.secret().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    nowhere_in_the_database(&world, &hex).await;
}

#[tokio::test]
async fn a_code_is_good_once() {
    let world = World::new().await;
    let totp = authenticator(&world, &ada(&world).await).await;
    // The one that confirmed it is used up as well.
    let first = sign_in_with(&world, &code(&world, &totp)).send().await;
    first.is_problem(401, "wrong_credentials", "the code is wrong");
    world.clock.advance(TimeDelta::seconds(30));
    let code = code(&world, &totp);
    sign_in_with(&world, &code).send().await.ok();
    sign_in_with(&world, &code).send().await.is_problem(401, "wrong_credentials", "the code is wrong");
}

#[tokio::test]
async fn wrong_codes_lock_like_wrong_passwords() {
    let world = World::new().await;
    let totp = authenticator(&world, &ada(&world).await).await;
    world.clock.advance(TimeDelta::seconds(30));
    let good = code(&world, &totp);
    let wrong = if good == "000000" { "000001" } else { "000000" };
    for _ in 0..5 {
        sign_in_with(&world, wrong).send().await.is_problem(401, "wrong_credentials", "the code is wrong");
    }
    sign_in_with(&world, &good).refused(401, "wrong_credentials", "for 15 minutes").await;
}

#[tokio::test]
async fn it_counts_only_after_a_code_of_it_was_seen() {
    let world = World::new().await;
    let tokens = ada(&world).await;
    confirm(&world, &tokens, "000000").refused(409, "no_totp", "ask for a secret first").await;
    let begin = || with(&world, &tokens, "POST /v1/auth/totp").json(&json!({ "password": PASSWORD }));
    let first = Totp::from_url(begin().send().await.ok()["uri"].as_str().unwrap()).unwrap();
    sign_in(&world, "ada", PASSWORD).send().await.ok();
    begin().send().await.ok();
    let stale = confirm(&world, &tokens, &code(&world, &first));
    stale.refused(422, "wrong_code", "the secret that was given last").await;
}

#[tokio::test]
async fn it_takes_the_password_and_is_not_replaced() {
    let world = World::new().await;
    let tokens = ada(&world).await;
    let begin =
        |password: &str| with(&world, &tokens, "POST /v1/auth/totp").json(&json!({ "password": password }));
    begin("wrong").send().await.is_problem(403, "wrong_password", "not your password");
    let totp = authenticator(&world, &tokens).await;
    begin(PASSWORD).refused(409, "totp_is_on", "forget-totp").await;
    confirm(&world, &tokens, &code(&world, &totp)).refused(409, "totp_is_on", "forget-totp").await;
    forget_totp(&mut world.pool().acquire().await.unwrap(), "ada").await.unwrap();
    sign_in(&world, "ada", PASSWORD).send().await.ok();
}

/// With a new key in front of the old one nobody notices anything; after everything is sealed anew, the old one opens nothing.
#[tokio::test]
async fn the_key_of_secrets_can_be_changed() {
    let world = World::new().await;
    let totp = authenticator(&world, &ada(&world).await).await;
    let key = |text: &str| SecretsKey::from_hex(&text.repeat(32)).unwrap();
    let mut rng = StdRng::from_seed([9; 32]);
    let mut tx = world.pool().begin().await.unwrap();
    let resealed = reseal_totp(&mut tx, &mut rng, &key("5b").or(key("5a"))).await.unwrap();
    assert_eq!(resealed, 1);
    assert!(reseal_totp(&mut tx, &mut rng, &key("5a")).await.is_err(), "the old key still opens it");
    tx.rollback().await.unwrap();
    // The server's key, which was the old one all along, opens what nobody has committed anew.
    world.clock.advance(TimeDelta::seconds(30));
    sign_in_with(&world, &code(&world, &totp)).send().await.ok();
}
