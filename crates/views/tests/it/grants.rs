//! A grant's state is where it is.

use laurel_events::GrantId;
use laurel_views::{GrantFilter, GrantView, find_grant_view, list_grant_views};

use crate::world::{Batch, CHAIN, ORG, TOKEN, WALLET, World, batch_of, player_of, tx_of};

async fn view(world: &World, grant: GrantId) -> GrantView {
    let mut conn = world.pool().acquire().await.unwrap();
    find_grant_view(&mut conn, ORG, grant).await.unwrap().unwrap()
}

async fn ids(world: &World, filter: GrantFilter<'_>, limit: i64) -> Vec<String> {
    let mut conn = world.pool().acquire().await.unwrap();
    let found = list_grant_views(&mut conn, ORG, &filter, limit).await.unwrap();
    found.grants.into_iter().map(|grant| grant.id.to_string()).collect()
}

#[tokio::test]
async fn the_plain_way_from_the_request_to_the_books() {
    let world = World::new().await;
    let campaign = world.campaign(7, ORG, TOKEN).await;
    let grant = world.grant(campaign, 1, 50).await;
    let requested = view(&world, grant).await;
    assert_eq!((requested.state.as_str(), requested.seq, requested.wallet), ("requested", None, None));
    assert_eq!((requested.chain_id, requested.token, requested.rule_version), (CHAIN, TOKEN, 3));
    assert_eq!((requested.player, requested.amount.to_string()), (player_of(1), "50".to_owned()));

    world.run(campaign, 0, &[0], true).await;
    let queued = view(&world, grant).await;
    assert_eq!((queued.state.as_str(), queued.seq, queued.wallet), ("queued", Some(0), Some(WALLET)));

    world.batch(Batch { id: 1, campaign, first_seq: 0, count: 1, state: "submitted", posted: false }).await;
    let submitted = view(&world, grant).await;
    assert_eq!((submitted.state.as_str(), submitted.block), ("submitted", None));
    assert_eq!((submitted.batch, submitted.tx), (Some(batch_of(1)), Some(tx_of(1))));

    for state in ["mined", "confirmed"] {
        sqlx::query("UPDATE batches SET state = $1, block_number = 12")
            .bind(state)
            .execute(world.pool())
            .await
            .unwrap();
        let seen = view(&world, grant).await;
        assert_eq!((seen.state.as_str(), seen.block), (state, Some(12)));
    }
    sqlx::query("UPDATE segments SET posted_at = $1").bind(world.now()).execute(world.pool()).await.unwrap();
    assert_eq!(view(&world, grant).await.state, "completed");
}

#[tokio::test]
async fn what_does_not_go_the_plain_way_says_why() {
    let world = World::new().await;
    let campaign = world.campaign(7, ORG, TOKEN).await;
    for (state, reason, seq) in [
        ("awaiting_wallet", None, None),
        ("held", Some("wallet_check"), None),
        ("failed", Some("wallet_deadline_passed"), None),
        ("compensated", Some("wallet_deadline_passed"), None),
    ] {
        let grant = world.grant(campaign, 1, 5).await;
        world.exception(grant, state, reason, seq).await;
        let seen = view(&world, grant).await;
        assert_eq!((seen.state.as_str(), seen.reason.as_deref(), seen.seq), (state, reason, None));
        assert_eq!(seen.wallet_until.is_some(), state == "awaiting_wallet");
    }
    // One that waited and then got its place.
    let late = world.grant(campaign, 1, 5).await;
    world.exception(late, "queued", None, Some(0)).await;
    world.run(campaign, 0, &[late.number.cast_signed()], false).await;
    let seen = view(&world, late).await;
    assert_eq!((seen.state.as_str(), seen.seq), ("queued", Some(0)));
    // One that a settlement refused keeps its place.
    let refused = world.grant(campaign, 1, 5).await;
    world.run(campaign, 1, &[refused.number.cast_signed()], true).await;
    world.exception(refused, "held", Some("refused"), Some(1)).await;
    let seen = view(&world, refused).await;
    assert_eq!((seen.state.as_str(), seen.reason.as_deref(), seen.seq), ("held", Some("refused"), Some(1)));
}

#[tokio::test]
async fn a_place_is_found_also_in_the_middle_of_another_run() {
    let world = World::new().await;
    let campaign = world.campaign(7, ORG, TOKEN).await;
    for _ in 0..5 {
        world.grant(campaign, 1, 5).await;
    }
    // Number 2 was set aside, and queued when it was tried again.
    world.run(campaign, 0, &[0, 1, 3, 4], true).await;
    world.run(campaign, 4, &[2], true).await;
    let mut seqs = Vec::new();
    for number in 0..5 {
        let seen = view(&world, GrantId { campaign, number }).await;
        assert_eq!(seen.state, "queued", "{number}");
        seqs.push(seen.seq.unwrap());
    }
    assert_eq!(seqs, [0, 1, 4, 2, 3]);
}

#[tokio::test]
async fn a_grant_that_was_settled_again_is_where_its_last_batch_is() {
    let world = World::new().await;
    let campaign = world.campaign(7, ORG, TOKEN).await;
    let grant = world.grant(campaign, 1, 5).await;
    world.run(campaign, 0, &[0], true).await;
    world.batch(Batch { id: 1, campaign, first_seq: 0, count: 1, state: "reverted", posted: false }).await;
    assert_eq!(view(&world, grant).await.state, "queued");
    world.pass();
    world.batch(Batch { id: 2, campaign, first_seq: 0, count: 1, state: "submitted", posted: false }).await;
    let seen = view(&world, grant).await;
    assert_eq!((seen.state.as_str(), seen.batch), ("submitted", Some(batch_of(2))));
}

#[tokio::test]
async fn a_batch_that_came_back_hides_none_whatever_clocks_said() {
    let world = World::new().await;
    let campaign = world.campaign(7, ORG, TOKEN).await;
    let grant = world.grant(campaign, 1, 5).await;
    world.run(campaign, 0, &[0], true).await;
    let now = world.now();
    world.pass();
    world.batch(Batch { id: 1, campaign, first_seq: 0, count: 1, state: "reverted", posted: false }).await;
    world.clock.advance(now - world.now());
    world.batch(Batch { id: 2, campaign, first_seq: 0, count: 1, state: "submitted", posted: false }).await;
    let seen = view(&world, grant).await;
    assert_eq!((seen.state.as_str(), seen.batch), ("submitted", Some(batch_of(2))));
}

#[tokio::test]
async fn lists_go_on_where_they_ended_and_show_one_organisation_only() {
    let world = World::new().await;
    let one = world.campaign(7, ORG, TOKEN).await;
    let two = world.campaign(8, ORG, TOKEN).await;
    let foreign = world.campaign(9, world.other, TOKEN).await;
    for (campaign, player) in [(one, 1), (two, 1), (one, 2), (foreign, 1), (two, 2)] {
        world.grant(campaign, player, 5).await;
    }
    let all = ids(&world, GrantFilter::default(), 10).await;
    assert_eq!(all, ["7-0", "7-1", "8-0", "8-1"]);
    let mut paged = Vec::new();
    loop {
        let after = paged.last().map(|id: &String| id.parse().unwrap());
        let page = ids(&world, GrantFilter { after, ..GrantFilter::default() }, 3).await;
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all);
    let of_player = GrantFilter { players: Some(&[player_of(1)]), ..GrantFilter::default() };
    assert_eq!(ids(&world, of_player, 10).await, ["7-0", "8-0"]);
    let of_campaign = GrantFilter { campaign: Some(two), ..GrantFilter::default() };
    assert_eq!(ids(&world, of_campaign, 10).await, ["8-0", "8-1"]);
    world.run(one, 0, &[1], true).await;
    let in_state = GrantFilter { state: Some("queued"), ..GrantFilter::default() };
    assert_eq!(ids(&world, in_state, 10).await, ["7-1"]);
    let mut conn = world.pool().acquire().await.unwrap();
    let hidden = GrantId { campaign: foreign, number: 0 };
    assert!(find_grant_view(&mut conn, ORG, hidden).await.unwrap().is_none());
    assert!(find_grant_view(&mut conn, world.other, hidden).await.unwrap().is_some());
    let unknown = GrantId { campaign: one, number: 2 };
    assert!(find_grant_view(&mut conn, ORG, unknown).await.unwrap().is_none());
}
