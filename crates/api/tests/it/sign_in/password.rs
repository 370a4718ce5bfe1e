//! Signing in with a password.

use chrono::TimeDelta;
use laurel_api::{Role, set_disabled};
use laurel_events::Clock;
use serde_json::json;

use super::{PASSWORD, ada, hire, nowhere_in_the_database, refresh, sign_in, with};
use crate::world::World;

const WRONG: &str = "the name, the password or the code is wrong";

#[tokio::test]
async fn whoever_knows_it_comes_in_as_what_they_are() {
    let world = World::new().await;
    for (name, role) in [("ada", Role::Manager), ("bob", Role::Auditor), ("cleo", Role::Operator)] {
        hire(&world, name, role).await;
        let answer = sign_in(&world, name, PASSWORD).send().await;
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let tokens = answer.ok();
        assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(900)));
        let me = with(&world, &tokens, "GET /v1/auth/me").send().await.ok();
        assert_eq!((&me["name"], &me["role"]), (&json!(name), &json!(role)));
        assert_ne!(me["subject"], json!(name), "what is done is journaled with an id that names nobody");
    }
    nowhere_in_the_database(&world, PASSWORD).await;
}

#[tokio::test]
async fn an_access_token_is_good_for_a_quarter_of_an_hour() {
    let world = World::new().await;
    let tokens = ada(&world).await;
    world.clock.advance(TimeDelta::minutes(15));
    with(&world, &tokens, "GET /v1/campaigns").send().await.ok();
    world.clock.advance(TimeDelta::seconds(6));
    with(&world, &tokens, "GET /v1/campaigns").refused(401, "unauthorized", "get a new one").await;
}

#[tokio::test]
async fn a_wrong_name_and_a_wrong_password_sound_the_same() {
    let world = World::new().await;
    hire(&world, "ada", Role::Manager).await;
    let name = sign_in(&world, "eve", PASSWORD).refused(401, "wrong_credentials", WRONG).await;
    let password = sign_in(&world, "ada", "correct horse batterx").send().await;
    assert_eq!(password.json(), name.json());
    sign_in(&world, "ada", &"x".repeat(10_000)).refused(401, "wrong_credentials", WRONG).await;
    sign_in(&world, "a\0", PASSWORD).refused(401, "wrong_credentials", WRONG).await;
    sign_in(&world, "ada", "").send().await.is_problem(401, "wrong_credentials", WRONG);
}

#[tokio::test]
async fn after_five_wrong_ones_nobody_comes_in_for_a_quarter_of_an_hour() {
    let world = World::new().await;
    hire(&world, "ada", Role::Manager).await;
    for _ in 0..4 {
        sign_in(&world, "ada", "wrong").send().await.is_problem(401, "wrong_credentials", WRONG);
    }
    sign_in(&world, "ada", PASSWORD).send().await.ok();
    // It counts those in a row.
    for _ in 0..5 {
        sign_in(&world, "ada", "wrong").send().await.is_problem(401, "wrong_credentials", WRONG);
    }
    sign_in(&world, "ada", PASSWORD).refused(401, "wrong_credentials", "for 15 minutes").await;
    world.clock.advance(TimeDelta::minutes(15));
    sign_in(&world, "ada", PASSWORD).send().await.ok();
}

#[tokio::test]
async fn whoever_guesses_at_once_guesses_no_oftener() {
    let world = World::new().await;
    hire(&world, "ada", Role::Manager).await;
    let guesses = (0..8).map(|_| sign_in(&world, "ada", "wrong").send());
    for answer in futures::future::join_all(guesses).await {
        answer.is_problem(401, "wrong_credentials", WRONG);
    }
    let failures: i32 = sqlx::query_scalar("SELECT failures FROM staff WHERE locked_until IS NOT NULL")
        .fetch_one(world.pool())
        .await
        .unwrap();
    assert_eq!(failures, 0, "what came after the fifth was not even counted");
}

#[tokio::test]
async fn whoever_is_disabled_is_out_at_once() {
    let world = World::new().await;
    let tokens = ada(&world).await;
    let mut conn = world.pool().acquire().await.unwrap();
    set_disabled(&mut conn, world.clock.now(), "ada", true).await.unwrap();
    with(&world, &tokens, "GET /v1/campaigns").refused(401, "unauthorized", "has ended").await;
    refresh(&world, &tokens).refused(401, "invalid_refresh_token", "sign in again").await;
    sign_in(&world, "ada", PASSWORD).refused(401, "wrong_credentials", WRONG).await;
    set_disabled(&mut conn, world.clock.now(), "ada", false).await.unwrap();
    sign_in(&world, "ada", PASSWORD).send().await.ok();
}

#[tokio::test]
async fn a_changed_password_ends_what_came_of_the_old_one() {
    let world = World::new().await;
    let tokens = ada(&world).await;
    let other = sign_in(&world, "ada", PASSWORD).send().await.ok();
    let change = |current: &str, new: &str| {
        with(&world, &tokens, "PUT /v1/auth/password").json(&json!({ "current": current, "new": new }))
    };
    change(PASSWORD, "too short").refused(422, "weak_password", "12 characters").await;
    change("not mine", "a new passphrase").send().await.is_problem(
        403,
        "wrong_password",
        "not your password",
    );
    assert_eq!(change(PASSWORD, "a new passphrase").send().await.status, 204);
    for ended in [&tokens, &other] {
        with(&world, ended, "GET /v1/auth/me").refused(401, "unauthorized", "has ended").await;
        refresh(&world, ended).refused(401, "invalid_refresh_token", "sign in again").await;
    }
    sign_in(&world, "ada", PASSWORD).send().await.is_problem(401, "wrong_credentials", WRONG);
    sign_in(&world, "ada", "a new passphrase").send().await.ok();
}

#[tokio::test]
async fn a_stolen_token_does_not_help_to_guess_the_password() {
    let world = World::new().await;
    let tokens = ada(&world).await;
    let change = |current: &str| {
        let body = json!({ "current": current, "new": "a new passphrase" });
        with(&world, &tokens, "PUT /v1/auth/password").json(&body)
    };
    for _ in 0..5 {
        change("wrong").send().await.is_problem(403, "wrong_password", "not your password");
    }
    change(PASSWORD).refused(403, "wrong_password", "not your password").await;
}

#[tokio::test]
async fn whoever_guesses_many_at_once_is_not_told_of_the_right_one() {
    let world = World::new().await;
    let tokens = ada(&world).await;
    let lock = "UPDATE staff SET locked_until = '2026-01-01T00:15:00Z'";
    let change = |current: &str| {
        let body = json!({ "current": current, "new": "a new passphrase" });
        with(&world, &tokens, "PUT /v1/auth/password").json(&body)
    };
    // The row is held until it is locked: whoever has compared by then finds it so.
    let mut tx = world.pool().begin().await.unwrap();
    sqlx::query("SELECT FROM staff FOR UPDATE").execute(&mut *tx).await.unwrap();
    let guess = change(PASSWORD).send();
    let locking = async {
        sqlx::query(lock).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    };
    let (answer, ()) = futures::join!(guess, locking);
    answer.is_problem(403, "wrong_password", "not your password");
}

#[tokio::test]
async fn a_token_without_a_password_changes_none() {
    let world = World::new().await;
    let body = json!({ "current": PASSWORD, "new": "a new passphrase" });
    let minted = world.call(Role::Manager, "PUT /v1/auth/password").json(&body);
    minted.refused(409, "no_password", "sign in with one").await;
}
