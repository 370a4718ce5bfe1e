//! Refresh tokens are good once.

use chrono::TimeDelta;
use laurel_api::Role;
use serde_json::json;

use super::{ada, nowhere_in_the_database, refresh, with};
use crate::world::World;

#[tokio::test]
async fn each_gives_the_next() {
    let world = World::new().await;
    let mut tokens = ada(&world).await;
    for _ in 0..3 {
        world.clock.advance(TimeDelta::days(6));
        let answer = refresh(&world, &tokens).send().await;
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let next = answer.ok();
        assert_ne!(next["refresh_token"], tokens["refresh_token"]);
        with(&world, &next, "GET /v1/campaigns").send().await.ok();
        tokens = next;
    }
    nowhere_in_the_database(&world, tokens["refresh_token"].as_str().unwrap()).await;
}

#[tokio::test]
async fn one_that_comes_again_ends_all_that_came_of_the_sign_in() {
    let world = World::new().await;
    let first = ada(&world).await;
    let second = refresh(&world, &first).send().await.ok();
    refresh(&world, &first).send().await.is_problem(401, "refresh_token_reused", "sign in again");
    for tokens in [&first, &second] {
        with(&world, tokens, "GET /v1/auth/me").refused(401, "unauthorized", "has ended").await;
        refresh(&world, tokens).refused(401, "invalid_refresh_token", "sign in again").await;
    }
}

#[tokio::test]
async fn of_two_at_once_one_gets_the_next_and_loses_it() {
    let world = World::new().await;
    let tokens = ada(&world).await;
    let (one, other) = futures::join!(refresh(&world, &tokens).send(), refresh(&world, &tokens).send());
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401]);
    let next = if one.status == 200 { one.ok() } else { other.ok() };
    refresh(&world, &next).refused(401, "invalid_refresh_token", "sign in again").await;
}

#[tokio::test]
async fn one_is_good_for_seven_days() {
    let world = World::new().await;
    let tokens = ada(&world).await;
    world.clock.advance(TimeDelta::days(7));
    refresh(&world, &tokens).refused(401, "invalid_refresh_token", "sign in again").await;
}

#[tokio::test]
async fn a_sign_in_lasts_ninety_days() {
    let world = World::new().await;
    let mut tokens = ada(&world).await;
    for _ in 0..15 {
        world.clock.advance(TimeDelta::days(6));
        let answer = refresh(&world, &tokens).send().await;
        if answer.status == 401 {
            return answer.is_problem(401, "invalid_refresh_token", "sign in again");
        }
        tokens = answer.ok();
    }
    panic!("it never ends");
}

#[tokio::test]
async fn a_new_role_counts_from_the_next_tokens_on() {
    let world = World::new().await;
    let tokens = ada(&world).await;
    sqlx::query("UPDATE staff SET role = 'auditor'").execute(world.pool()).await.unwrap();
    let next = refresh(&world, &tokens).send().await.ok();
    let me = with(&world, &next, "GET /v1/auth/me").send().await.ok();
    assert_eq!(me["role"], "auditor");
}

#[tokio::test]
async fn nonsense_is_none() {
    let world = World::new().await;
    for text in
        ["", "lrr_", "nonsense", &format!("lrr_{}", "0".repeat(64)), &format!("lrk_{}", "0".repeat(64))]
    {
        let tokens = json!({ "refresh_token": text });
        refresh(&world, &tokens).refused(401, "invalid_refresh_token", "sign in again").await;
    }
}

#[tokio::test]
async fn signing_out_ends_it_at_once() {
    let world = World::new().await;
    let tokens = ada(&world).await;
    assert_eq!(with(&world, &tokens, "POST /v1/auth/sign-out").send().await.status, 204);
    with(&world, &tokens, "GET /v1/auth/me").refused(401, "unauthorized", "has ended").await;
    refresh(&world, &tokens).refused(401, "invalid_refresh_token", "sign in again").await;
    let minted = world.call(Role::Manager, "POST /v1/auth/sign-out");
    minted.refused(409, "no_session", "ends by itself").await;
}

#[tokio::test]
async fn what_is_over_is_swept_out() {
    let world = World::new().await;
    ada(&world).await;
    world.clock.advance(TimeDelta::days(8));
    super::sign_in(&world, "ada", super::PASSWORD).send().await.ok();
    assert_eq!((world.rows("sessions").await, world.rows("refresh_tokens").await), (1, 1));
}
