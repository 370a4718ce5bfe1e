//! Who may spend the treasury, for what, and what is told of it.

use laurel_api::Role;
use rstest::rstest;
use serde_json::{Value, json};

use crate::world::{NO_NODE, Setup, World, address, definition};

#[tokio::test]
async fn an_ended_campaign_is_not_funded_and_forgets_what_was_asked() {
    let world = World::new().await;
    let id = world.active_campaign(100).await;
    let fund = |cap: &str| {
        let request = world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/fund"));
        request.json(&json!({ "cap": cap }))
    };
    fund("200").send().await.accepted();
    assert_eq!(world.rows("funding_requests").await, 1);
    world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/end")).send().await.ok();
    assert_eq!(world.rows("funding_requests").await, 0);
    fund("300").refused(409, "wrong_state", "nothing could be paid from it any more").await;
}

#[tokio::test]
async fn a_cap_that_is_not_on_the_chain_is_shown_with_its_error() {
    let world = World::new().await;
    let id = world.campaign().await;
    let path = format!("GET /v1/campaigns/{id}");
    let show = || async { world.call(Role::Manager, &path).send().await.ok() };
    assert_eq!(show().await.get("funding"), None);
    let request = world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/fund"));
    request.json(&json!({ "cap": "100" })).send().await.accepted();
    let pending = show().await["funding"].clone();
    assert_eq!((&pending["cap"], &pending["error"]), (&json!("100"), &Value::Null));
    assert!(pending["requested_at"].is_string());
    sqlx::query("UPDATE funding_requests SET failures = 1, error = 'too little', retry_at = requested_at")
        .execute(world.pool())
        .await
        .unwrap();
    assert_eq!(show().await["funding"]["error"], "too little");
    // What failed can be mended by asking for less.
    let request = world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/fund"));
    request.json(&json!({ "cap": "50" })).send().await.accepted();
    let pending = show().await["funding"].clone();
    assert_eq!((&pending["cap"], &pending["error"]), (&json!("50"), &Value::Null));
}

#[rstest]
#[case::no_code("nobody", "there is no contract at this address")]
#[case::the_vault("vault", "this is a vault or a lane of Laurel")]
#[case::a_lane("lane", "this is a vault or a lane of Laurel")]
#[tokio::test]
async fn a_token_that_is_none_makes_no_campaign(#[case] name: &str, #[case] advice: &'static str) {
    let world = World::new().await;
    let mut body = definition();
    body["token"] = json!(address(name).to_checksum(None));
    let request = world.call(Role::Manager, "POST /v1/campaigns").json(&body);
    request.refused(422, "invalid_token", advice).await;
}

#[tokio::test]
async fn without_its_chain_no_campaign_is_made() {
    let world = World::of(Setup { rpc_url: Some(NO_NODE.to_owned()), ..Setup::default() }).await;
    let request = world.call(Role::Manager, "POST /v1/campaigns").json(&definition());
    request.refused(503, "unavailable", "try again in a moment").await;
}
