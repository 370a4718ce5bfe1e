//! CampaignStatsView: counted once, and the same when it is rebuilt.

use std::sync::Arc;

use laurel_bus::Runner;
use laurel_events::{
    Amount, BudgetReleased, CampaignId, GrantId, NewEvent, OutcomeKey, RewardDeclined,
    TokenGrantAwaitingWallet, TokenGrantCompleted, TokenGrantFailed, TokenGrantHeld, TokenGrantRequested,
    TokenGrantStarted, VoidProof,
};
use laurel_ledger::claim_cursor;
use laurel_views::{CampaignStatsStage, campaign_stats, rebuild_campaign_stats};

use crate::world::{CHAIN, World, batch_of, drain, player_of};

const CAMPAIGNS: u64 = 5;

fn replica(world: &World) -> Runner {
    world.replica(Arc::new(CampaignStatsStage))
}

async fn rows(world: &World) -> Vec<(i64, String, i64)> {
    sqlx::query_as("SELECT campaign, fact, count FROM campaign_stats ORDER BY campaign, fact COLLATE \"C\"")
        .fetch_all(world.pool())
        .await
        .unwrap()
}

/// Everything that can happen to grant `number`, as far as that goes for it.
fn story(campaign: CampaignId, number: u64) -> Vec<NewEvent> {
    let grant = GrantId { campaign, number };
    let (player, amount) = (player_of(1), Amount::from(5_u64));
    let outcome = OutcomeKey::derive(laurel_events::OrgId(1), "s", &grant.to_string());
    let decline =
        |reason: &str| RewardDeclined { campaign, outcome, player, reason: reason.to_owned() }.into();
    let requested = TokenGrantRequested {
        grant,
        outcome,
        player,
        amount,
        rule_version: 1,
        chain_id: CHAIN,
        vault: alloy_primitives::Address::ZERO,
        wallet_deadline_hours: 1,
    };
    let failed = TokenGrantFailed {
        grant,
        player,
        amount,
        reason: "wallet_deadline_passed".to_owned(),
        proof: VoidProof::NeverQueued,
    };
    let mut events: Vec<NewEvent> = vec![requested.into()];
    match number % 4 {
        0 => events.extend([
            TokenGrantStarted { grant, seq: number, word: alloy_primitives::B256::ZERO }.into(),
            TokenGrantCompleted { grant, batch: batch_of(1) }.into(),
        ]),
        1 => events.extend([
            TokenGrantAwaitingWallet { grant, player, until: chrono::DateTime::UNIX_EPOCH }.into(),
            failed.into(),
            BudgetReleased { grant, amount }.into(),
        ]),
        2 => events.extend([
            TokenGrantHeld { grant, reason: "wallet_check".to_owned() }.into(),
            decline("rule_not_met"),
        ]),
        _ => events.extend([decline("budget_exhausted"), decline("rule_not_met")]),
    }
    events
}

async fn record(world: &World, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let events: Vec<NewEvent> = (1..=CAMPAIGNS)
            .flat_map(|campaign| story(CampaignId::from(campaign), number + campaign))
            .collect();
        world.append(&events).await;
    }
}

#[tokio::test]
async fn it_counts_steps_and_reasons() {
    let world = World::new().await;
    let campaign = CampaignId::from(7_u64);
    for number in 0..8 {
        world.append(&story(campaign, number)).await;
    }
    drain(&mut replica(&world)).await;
    let mut conn = world.pool().acquire().await.unwrap();
    let stats = campaign_stats(&mut conn, campaign).await.unwrap();
    assert_eq!((stats.grants, stats.completed, stats.compensated), (8, 2, 2));
    assert_eq!((stats.awaited_wallet, stats.held), (2, 2));
    let declined: Vec<_> = stats.declined.into_iter().collect();
    assert_eq!(declined, [("budget_exhausted".to_owned(), 2), ("rule_not_met".to_owned(), 4)]);
    let none = campaign_stats(&mut conn, CampaignId::from(8_u64)).await.unwrap();
    assert_eq!((none.grants, none.declined.len()), (0, 0));
}

#[tokio::test]
async fn rebuilt_from_the_journal_it_is_the_same_row_by_row() {
    let world = World::new().await;
    let mut stage = replica(&world);
    record(&world, 0..20).await;
    drain(&mut stage).await;
    record(&world, 20..31).await;
    drain(&mut stage).await;
    let before = rows(&world).await;
    assert!(before.len() > 30, "{}", before.len());

    let mut conn = world.pool().acquire().await.unwrap();
    rebuild_campaign_stats(&mut conn).await.unwrap();
    assert!(rows(&world).await.is_empty());
    // Another replica, in other batches, with new events on top.
    drain(&mut replica(&world)).await;
    assert_eq!(rows(&world).await, before);
    record(&world, 31..40).await;
    drain(&mut stage).await;
    let live = rows(&world).await;
    rebuild_campaign_stats(&mut conn).await.unwrap();
    drain(&mut stage).await;
    assert_eq!(rows(&world).await, live);
}

#[tokio::test]
async fn replicas_that_race_count_every_event_once() {
    let world = World::new().await;
    record(&world, 0..25).await;
    let (mut one, mut two) = (replica(&world), replica(&world));
    tokio::join!(drain(&mut one), drain(&mut two));
    drain(&mut one).await;
    let raced = rows(&world).await;
    let mut conn = world.pool().acquire().await.unwrap();
    rebuild_campaign_stats(&mut conn).await.unwrap();
    drain(&mut one).await;
    assert_eq!(rows(&world).await, raced);
    assert_eq!(raced.iter().filter(|row| row.1 == "TokenGrantRequested").map(|row| row.2).sum::<i64>(), 125);
    assert!(!one.round().await.unwrap(), "handled again, it finds nothing to do");
    assert_eq!(rows(&world).await, raced);
}

#[tokio::test]
async fn a_rebuild_waits_for_whoever_is_in_the_middle_of_a_batch() {
    let world = World::new().await;
    record(&world, 0..5).await;
    drain(&mut replica(&world)).await;
    let before = rows(&world).await;
    let partition = laurel_events::Subject::new("campaign", CampaignId::from(1_u64)).partition();
    let mut busy = world.pool().begin().await.unwrap();
    claim_cursor(&mut busy, "campaign-stats", partition).await.unwrap().unwrap();
    let mut conn = world.pool().acquire().await.unwrap();
    sqlx::query("SET lock_timeout = '50ms'").execute(&mut *conn).await.unwrap();
    assert!(rebuild_campaign_stats(&mut conn).await.unwrap_err().is_infrastructure());
    assert_eq!(rows(&world).await, before, "nothing was dropped");
    busy.rollback().await.unwrap();
    rebuild_campaign_stats(&mut conn).await.unwrap();
    drain(&mut replica(&world)).await;
    assert_eq!(rows(&world).await, before);
}
