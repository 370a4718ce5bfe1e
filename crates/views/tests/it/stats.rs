//! CampaignStatsView: counted once, and the same when it is rebuilt.

use std::sync::Arc;

use chrono::TimeDelta;
use laurel_bus::Runner;
use laurel_events::{
    Amount, BudgetPosted, BudgetReleased, BudgetUnposted, CampaignId, GrantId, NewEvent, OutcomeKey,
    RewardDeclined, TokenGrantAwaitingWallet, TokenGrantCompleted, TokenGrantFailed, TokenGrantHeld,
    TokenGrantRequested, TokenGrantStarted, VoidProof,
};
use laurel_ledger::claim_cursor;
use laurel_views::{
    CampaignStatsStage, RebuildError, Rebuilt, View, campaign_hours, campaign_stats, rebuild,
};

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

/// Tables, columns, indexes and options, so that what takes a place is what it was made for.
async fn shape(world: &World) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename LIKE 'campaign_%'
         UNION ALL
         SELECT relname || coalesce(reloptions::text, '') FROM pg_class
         WHERE relnamespace = 'public'::regnamespace AND relname LIKE 'campaign_%'
         UNION ALL
         SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
         WHERE conrelid::regclass::text LIKE 'campaign_%'
         ORDER BY 1",
    )
    .fetch_all(world.pool())
    .await
    .unwrap()
}

async fn build(world: &World) -> Rebuilt {
    let mut conn = world.pool().acquire().await.unwrap().detach();
    rebuild(&mut conn, world.now(), View::CampaignStats).await.unwrap()
}

#[tokio::test]
async fn it_knows_who_takes_part_and_what_each_hour_adds_up_to() {
    let world = World::new().await;
    let campaign = CampaignId::from(7_u64);
    let grant = |number| GrantId { campaign, number };
    let requested = |number, player| TokenGrantRequested {
        grant: grant(number),
        outcome: OutcomeKey::derive(laurel_events::OrgId(1), "s", &number.to_string()),
        player: player_of(player),
        amount: Amount::from(5_u64),
        rule_version: 1,
        chain_id: CHAIN,
        vault: alloy_primitives::Address::ZERO,
        wallet_deadline_hours: 1,
    };
    let declined = |player| RewardDeclined {
        campaign,
        outcome: OutcomeKey::derive(laurel_events::OrgId(1), "s", "declined"),
        player: player_of(player),
        reason: "rule_not_met".to_owned(),
    };
    world.append(&[requested(0, 1).into(), requested(1, 1).into(), declined(2).into()]).await;
    world.clock.advance(TimeDelta::hours(1));
    let amount = Amount::from(5_u64);
    let posted = BudgetPosted {
        campaign,
        batch: batch_of(1),
        grants: 2,
        amount: Amount::from(10_u64),
        tx: alloy_primitives::B256::ZERO,
        segments: Vec::new(),
    };
    let unposted = BudgetUnposted {
        campaign,
        batch: posted.batch,
        grants: 2,
        amount: posted.amount,
        tx: posted.tx,
        segments: Vec::new(),
    };
    world
        .append(&[
            declined(1).into(),
            requested(2, 3).into(),
            BudgetReleased { grant: grant(2), amount }.into(),
        ])
        .await;
    world.append(&[posted.clone().into(), unposted.into(), posted.into()]).await;
    drain(&mut replica(&world)).await;
    let mut conn = world.pool().acquire().await.unwrap();
    let stats = campaign_stats(&mut conn, campaign).await.unwrap();
    assert_eq!((stats.players, stats.winners), (3, 2));
    let hours = campaign_hours(&mut conn, campaign, None, None, 10).await.unwrap();
    let [second, first] = &hours[..] else { panic!("{hours:?}") };
    assert_eq!(second.hour - first.hour, TimeDelta::hours(1));
    assert_eq!((first.granted, first.declined, first.paid), (2, 1, 0));
    assert_eq!((&first.granted_amount, &first.paid_amount), (&10.into(), &0.into()));
    assert_eq!((second.granted, second.declined, second.released, second.paid), (1, 1, 1, 2));
    assert_eq!((&second.released_amount, &second.paid_amount), (&5.into(), &10.into()));
    let later = campaign_hours(&mut conn, campaign, Some(second.hour), None, 10).await.unwrap();
    assert_eq!(later, hours[..1]);
    assert_eq!(campaign_hours(&mut conn, campaign, None, Some(second.hour), 10).await.unwrap(), hours[1..]);
}

#[tokio::test]
async fn built_anew_beside_the_one_in_use_it_is_the_same_row_by_row() {
    let world = World::new().await;
    let mut stage = replica(&world);
    record(&world, 0..20).await;
    drain(&mut stage).await;
    record(&world, 20..31).await;
    drain(&mut stage).await;
    let (before, shaped) = (rows(&world).await, shape(&world).await);
    assert!(before.len() > 30, "{}", before.len());
    let built = build(&world).await;
    assert_eq!((built.different, rows(&world).await), (0, before.clone()));
    assert!(built.events > 300 && built.rows > before.len() as u64, "{built:?}");
    assert_eq!(shape(&world).await, shaped);
    // The stage goes on where it was, and what it has not read yet is not in the new one either.
    record(&world, 31..40).await;
    assert_eq!(build(&world).await.different, 0);
    assert_eq!(rows(&world).await, before);
    drain(&mut stage).await;
    let live = rows(&world).await;
    assert_ne!(live, before);
    assert_eq!(build(&world).await.different, 0);
    assert_eq!(rows(&world).await, live);
}

#[tokio::test]
async fn what_was_wrong_is_counted_and_mended() {
    let world = World::new().await;
    record(&world, 0..8).await;
    drain(&mut replica(&world)).await;
    let right = rows(&world).await;
    for spoil in [
        "UPDATE campaign_stats SET count = count + 1 WHERE campaign = 2 AND fact = 'TokenGrantRequested'",
        "DELETE FROM campaign_met WHERE campaign = 3",
        "UPDATE campaign_hours SET paid = paid + 1 WHERE campaign = 1",
    ] {
        sqlx::query(spoil).execute(world.pool()).await.unwrap();
        assert!(build(&world).await.different > 0, "{spoil}");
        assert_eq!(build(&world).await.different, 0, "{spoil}");
        assert_eq!(rows(&world).await, right);
    }
}

#[tokio::test]
async fn replicas_that_race_count_every_event_once_also_while_it_is_built_anew() {
    let world = World::new().await;
    record(&world, 0..25).await;
    let (mut one, mut two) = (replica(&world), replica(&world));
    let (.., built) = tokio::join!(drain(&mut one), drain(&mut two), build(&world));
    assert_eq!(built.different, 0);
    drain(&mut one).await;
    let raced = rows(&world).await;
    assert_eq!(build(&world).await.different, 0);
    assert_eq!(rows(&world).await, raced);
    assert_eq!(raced.iter().filter(|row| row.1 == "TokenGrantRequested").map(|row| row.2).sum::<i64>(), 125);
    assert!(!one.round().await.unwrap(), "handled again, it finds nothing to do");
    assert_eq!(rows(&world).await, raced);
}

#[tokio::test]
async fn it_changes_places_when_nobody_is_in_the_middle_of_a_batch_and_once_at_a_time() {
    let world = World::new().await;
    record(&world, 0..5).await;
    drain(&mut replica(&world)).await;
    let before = rows(&world).await;
    let partition = laurel_events::Subject::new("campaign", CampaignId::from(1_u64)).partition();
    let mut busy = world.pool().begin().await.unwrap();
    claim_cursor(&mut busy, "campaign-stats", partition).await.unwrap().unwrap();
    let (pool, now) = (world.pool().clone(), world.now());
    let waiting = tokio::spawn(async move {
        let mut conn = pool.acquire().await.unwrap().detach();
        rebuild(&mut conn, now, View::CampaignStats).await
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(waits).fetch_one(world.pool()).await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    let mut another = world.pool().acquire().await.unwrap().detach();
    let refused = rebuild(&mut another, world.now(), View::TransactionHistory).await;
    assert!(matches!(refused, Err(RebuildError::Busy)), "{refused:?}");
    busy.rollback().await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().different, 0);
    assert_eq!(rows(&world).await, before);
}
