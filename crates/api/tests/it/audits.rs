//! What audits found, and who sees it.

use std::sync::{Arc, atomic::Ordering};

use alloy_primitives::U256;
use futures::future::join_all;
use laurel_api::Role;
use laurel_events::Clock;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    token_node::TokenNode,
    world::{Setup, World},
};

/// Two reconciliations: one that found something about a campaign and about a lane, and a newer one that found nothing.
async fn reconciliations(world: &World, campaign: &str) -> [Uuid; 2] {
    let ids = [1, 2].map(Uuid::from_u128);
    let now = world.clock.now();
    for id in ids {
        sqlx::query(
            "INSERT INTO reconciliations (id, started_at, finished_at, whole, campaigns, places, settlements, critical,
                                          errors, warnings)
             VALUES ($1, $2, $2, true, 1, 3, 2, 1, 1, 0)",
        )
        .bind(id)
        .bind(now)
        .execute(world.pool())
        .await
        .unwrap();
    }
    sqlx::query("INSERT INTO reconciled_chains VALUES ($1, 31337, 12, decode(repeat('0a', 32), 'hex'))")
        .bind(ids[0])
        .execute(world.pool())
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO findings (reconciliation, number, severity, code, about, detail, campaign, org)
         VALUES ($1, 0, 'critical', 'word_differs', 'grant:1-2', 'both sides', $2, 1),
                ($1, 1, 'error', 'lane_nonce_gap', 'lane:1', 'a gap', NULL, NULL)",
    )
    .bind(ids[0])
    .bind(campaign.parse::<i64>().unwrap())
    .execute(world.pool())
    .await
    .unwrap();
    ids
}

fn codes(made: &Value) -> Vec<&str> {
    let findings = made["findings"].as_array().unwrap();
    findings.iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn findings_are_seen_by_whose_campaign_it_is_and_by_operators() {
    let world = World::new().await;
    let campaign = world.campaign().await;
    let ids = reconciliations(&world, &campaign).await;
    let route = "GET /v1/audit/reconciliations";
    let all = world.call(Role::Operator, route).send().await.ok();
    let listed: Vec<&str> =
        all["items"].as_array().unwrap().iter().map(|made| made["id"].as_str().unwrap()).collect();
    assert_eq!(listed, [ids[1].to_string(), ids[0].to_string()], "the newest first");
    assert_eq!(codes(&all["items"][1]), ["word_differs", "lane_nonce_gap"]);
    insta::assert_json_snapshot!("reconciliation", all["items"][1], { ".findings[].campaign_id" => "[campaign]" });

    let ours = world.call(Role::Auditor, route).send().await.ok();
    assert_eq!(codes(&ours["items"][1]), ["word_differs"]);
    assert_eq!(ours["items"][1]["findings"][0]["campaign_id"], json!(campaign));
    let theirs = world.call(Role::Auditor, route).by(Role::Auditor, "other", "auditor").send().await.ok();
    assert_eq!(codes(&theirs["items"][1]), [] as [&str; 0]);
}

/// Others count what nodes are asked: so many at once, and again, ask no more than one.
#[tokio::test]
async fn nodes_are_asked_once_what_vaults_hold() {
    let node = Arc::new(TokenNode { returns: Some(U256::from(7)), ..TokenNode::default() });
    let world = World::of(Setup { node: node.clone(), ..Setup::default() }).await;
    world.funded_campaign(100).await;
    let ask = || world.call(Role::Auditor, "GET /v1/audit/vaults").send();
    let asked_for_campaigns = node.calls.load(Ordering::Relaxed);
    for told in join_all((0..5).map(|_| ask())).await {
        assert_eq!(told.ok()["items"][0]["balance"], "7");
        assert!(told.header("ratelimit-policy").unwrap().starts_with("\"heavy\""), "{told:?}");
    }
    // What the books say is never old.
    world.fund(&world.campaign().await, 50).await;
    assert_eq!(ask().await.ok()["items"][0]["available"], "150");
    assert_eq!(
        node.calls.load(Ordering::Relaxed) - asked_for_campaigns,
        2,
        "the balance, and what is uncommitted"
    );
}

#[tokio::test]
async fn reconciliations_are_listed_page_by_page() {
    let world = World::new().await;
    let campaign = world.campaign().await;
    let ids = reconciliations(&world, &campaign).await;
    let first = world.call(Role::Auditor, "GET /v1/audit/reconciliations?limit=1").send().await.ok();
    assert_eq!(first["next"], ids[1].to_string());
    let line = format!("GET /v1/audit/reconciliations?limit=2&cursor={}", ids[1]);
    let second = world.call(Role::Auditor, &line).send().await.ok();
    assert_eq!((&second["items"][0]["id"], &second["next"]), (&json!(ids[0].to_string()), &json!(null)));
    let bad = world.call(Role::Auditor, "GET /v1/audit/reconciliations?cursor=x");
    bad.refused(400, "invalid_cursor", "`next` of the page before").await;
}
