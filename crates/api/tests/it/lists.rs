//! Lists come page by page, each item once, and filtered.

use laurel_api::Role;
use rstest::rstest;
use serde_json::{Value, json};

use crate::world::{World, outcome};

/// All items of a list, in pages of `limit`, and how many pages that were.
async fn collect(world: &World, role: Role, path: &str, limit: usize) -> (Vec<Value>, usize) {
    let mut items = Vec::new();
    let mut cursor = String::new();
    let mark = if path.contains('?') { '&' } else { '?' };
    for pages in 1..100 {
        let line = format!("GET {path}{mark}limit={limit}{cursor}");
        let page = world.call(role, &line).send().await.ok();
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={}", next.replace('/', "%2F")),
            None => return (items, pages),
        }
    }
    panic!("{path} has no end");
}

/// Seven players with a grant each, and seven declines, of one campaign.
async fn played(world: &World) -> String {
    let campaign = world.active_campaign(1_000).await;
    let mut outcomes = Vec::new();
    for n in 0..7 {
        world.player(&format!("p-{n}")).await;
        outcomes.push(outcome(&format!("good-{n}"), &format!("p-{n}"), 12));
        outcomes.push(outcome(&format!("weak-{n}"), &format!("p-{n}"), 3));
    }
    world.post_outcomes(&outcomes).await;
    world.decide().await;
    campaign
}

#[rstest]
#[case("/v1/grants", 7)]
#[case("/v1/campaigns/{campaign}/grants", 7)]
#[case("/v1/campaigns/{campaign}/declines", 7)]
#[case("/v1/campaigns/{campaign}/ledger", 8)]
#[tokio::test]
async fn pages_hold_everything_once_and_in_order(#[case] path: &str, #[case] count: usize) {
    let world = World::new().await;
    let path = path.replace("{campaign}", &played(&world).await);
    let (whole, pages) = collect(&world, Role::Manager, &path, 500).await;
    assert_eq!((whole.len(), pages), (count, 1));
    for limit in [1, 3] {
        let (paged, pages) = collect(&world, Role::Manager, &path, limit).await;
        assert_eq!(paged, whole, "in pages of {limit}");
        assert!(pages >= count.div_ceil(limit));
    }
}

#[tokio::test]
async fn campaigns_are_paged_and_filtered_by_state() {
    let world = World::new().await;
    for _ in 0..4 {
        world.campaign().await;
    }
    let active = world.active_campaign(10).await;
    let (all, _) = collect(&world, Role::Manager, "/v1/campaigns", 2).await;
    assert_eq!(all.len(), 5);
    let (found, _) = collect(&world, Role::Manager, "/v1/campaigns?state=active", 2).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["id"], active);
    let (drafts, _) = collect(&world, Role::Manager, "/v1/campaigns?state=draft", 2).await;
    assert_eq!(drafts.len(), 4);
}

#[rstest]
#[case("/v1/grants?player_id=p-3", 1)]
#[case("/v1/grants?player_id=nobody", 0)]
#[case("/v1/grants?state=requested", 7)]
#[case("/v1/grants?state=completed", 0)]
#[case("/v1/grants?campaign_id={campaign}", 7)]
#[case("/v1/grants?campaign_id=7", 0)]
#[case("/v1/grants?campaign_id={campaign}&player_id=p-3&state=requested", 1)]
#[case("/v1/campaigns/{campaign}/grants?state=requested", 7)]
#[case("/v1/campaigns/{campaign}/grants?state=held", 0)]
#[case("/v1/players/p-3/grants", 1)]
#[case("/v1/players/p-3/grants?state=held", 0)]
#[case("/v1/campaigns/{campaign}/declines?reason=rule_not_met", 7)]
#[case("/v1/campaigns/{campaign}/declines?reason=budget_exhausted", 0)]
#[tokio::test]
async fn filters_are_named_like_the_fields(#[case] path: &str, #[case] count: usize) {
    let world = World::new().await;
    let path = path.replace("{campaign}", &played(&world).await);
    let (found, _) = collect(&world, Role::Manager, &path, 3).await;
    assert_eq!(found.len(), count, "{}", json!(found));
}
