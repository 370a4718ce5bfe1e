//! What a campaign's books said at a moment.

use std::sync::Arc;

use alloy_primitives::{Address, B256};
use bigdecimal::BigDecimal;
use chrono::{DateTime, TimeDelta, Utc};
use laurel_events::{
    Amount, BudgetFunded, BudgetPosted, BudgetReclaimed, BudgetReheld, BudgetReleased, BudgetReturned,
    BudgetUnfunded, BudgetUnposted, CampaignId, GrantId, NewEvent, OutcomeKey, TokenGrantRequested,
};
use laurel_ledger::Balances;
use laurel_views::{
    Account, CampaignStatsStage, DayBalance, PastBooks, View, books_at, day_balances, rebuild,
};

use crate::world::{CHAIN, ORG, TOKEN, World, batch_of, player_of, tx_of};

const TX: B256 = B256::ZERO;

fn units(amount: u64) -> Amount {
    Amount::from(amount)
}

fn funded(campaign: CampaignId, amount: u64) -> NewEvent {
    BudgetFunded {
        campaign,
        amount: units(amount),
        cap: units(amount),
        tx: TX,
        block_number: 1,
        log_index: 0,
    }
    .into()
}

fn unfunded(campaign: CampaignId, amount: u64) -> NewEvent {
    BudgetUnfunded { campaign, amount: units(amount), tx: TX, block_number: 1, log_index: 0 }.into()
}

fn requested(campaign: CampaignId, number: u64, amount: u64) -> NewEvent {
    let event = TokenGrantRequested {
        grant: GrantId { campaign, number },
        outcome: OutcomeKey::derive(ORG, "s", "o"),
        player: player_of(1),
        amount: units(amount),
        rule_version: 3,
        chain_id: CHAIN,
        vault: Address::ZERO,
        wallet_deadline_hours: 1,
    };
    event.into()
}

fn posted(campaign: CampaignId, batch: u128, grants: u32, amount: u64) -> NewEvent {
    let (batch, amount, tx) = (batch_of(batch), units(amount), tx_of(batch));
    BudgetPosted { campaign, batch, grants, amount, tx, segments: Vec::new() }.into()
}

fn unposted(campaign: CampaignId, batch: u128, grants: u32, amount: u64) -> NewEvent {
    let (batch, amount, tx) = (batch_of(batch), units(amount), tx_of(batch));
    BudgetUnposted { campaign, batch, grants, amount, tx, segments: Vec::new() }.into()
}

async fn at(world: &World, campaign: CampaignId, as_of: DateTime<Utc>) -> Option<PastBooks> {
    let mut conn = world.pool().acquire().await.unwrap();
    books_at(&mut conn, campaign, as_of).await.unwrap()
}

/// funded, available, reserved, paid, returned, overdrawn.
async fn balances(world: &World, campaign: CampaignId, as_of: DateTime<Utc>) -> [u64; 6] {
    let Balances { funded, available, reserved, paid, returned, overdrawn, .. } =
        at(world, campaign, as_of).await.unwrap().balances;
    [funded, available, reserved, paid, returned, overdrawn].map(|amount| amount.to_string().parse().unwrap())
}

#[tokio::test]
async fn every_movement_is_in_them_from_its_moment_on() {
    let world = World::new().await;
    let campaign = world.campaign(7, ORG, TOKEN).await;
    let other = world.campaign(8, ORG, TOKEN).await;
    let grant = |number| GrantId { campaign, number };
    let steps: Vec<(Vec<NewEvent>, [u64; 6])> = vec![
        (vec![funded(campaign, 100)], [100, 100, 0, 0, 0, 0]),
        // A chunk has those of several campaigns.
        (
            vec![requested(campaign, 0, 30), requested(other, 0, 1), requested(campaign, 1, 20)],
            [100, 50, 50, 0, 0, 0],
        ),
        (vec![posted(campaign, 1, 1, 30)], [100, 50, 20, 30, 0, 0]),
        (vec![BudgetReleased { grant: grant(1), amount: units(20) }.into()], [100, 70, 0, 30, 0, 0]),
        (vec![BudgetReturned { campaign, amount: units(70), tx: TX }.into()], [100, 0, 0, 30, 70, 0]),
        (vec![BudgetReclaimed { campaign, amount: units(70), tx: TX }.into()], [100, 70, 0, 30, 0, 0]),
        (vec![BudgetReheld { grant: grant(1), amount: units(20) }.into()], [100, 50, 20, 30, 0, 0]),
        (vec![unposted(campaign, 1, 1, 30), posted(campaign, 2, 1, 30)], [100, 50, 20, 30, 0, 0]),
        // What grants stand on is counted, and told.
        (vec![unfunded(campaign, 100)], [50, 0, 20, 30, 0, 50]),
        (vec![funded(campaign, 100)], [100, 50, 20, 30, 0, 0]),
    ];
    let before = world.now();
    let mut moments = Vec::new();
    for (events, expected) in steps {
        moments.push((world.pass(), expected));
        world.append(&events).await;
    }
    world.drain(Arc::new(CampaignStatsStage)).await;
    assert_eq!(at(&world, campaign, before).await, None);
    for (moment, expected) in moments {
        assert_eq!(balances(&world, campaign, moment).await, expected);
        assert_eq!(balances(&world, campaign, moment + TimeDelta::milliseconds(999)).await, expected);
    }
    let last = at(&world, campaign, world.now()).await.unwrap();
    assert_eq!((last.balances.grants, last.paid, last.released), (2, 1, 0));
}

#[tokio::test]
async fn what_was_recorded_late_is_in_them_with_what_came_before_it() {
    let world = World::new().await;
    let campaign = world.campaign(7, ORG, TOKEN).await;
    let early = world.now();
    let late = world.pass();
    world.append(&[funded(campaign, 100)]).await;
    // By a replica whose clock is behind.
    world.append_at(early, &[requested(campaign, 0, 30)]).await;
    world.drain(Arc::new(CampaignStatsStage)).await;
    assert_eq!(at(&world, campaign, early).await, None, "it cannot have been held before there was anything");
    assert_eq!(balances(&world, campaign, late).await, [100, 70, 30, 0, 0, 0]);
}

#[tokio::test]
async fn rebuilt_they_are_the_same() {
    let world = World::new().await;
    let campaign = world.campaign(7, ORG, TOKEN).await;
    for number in 0..3 {
        world.pass();
        world.append(&[funded(campaign, 100), requested(campaign, number, 30)]).await;
    }
    world.drain(Arc::new(CampaignStatsStage)).await;
    let before = at(&world, campaign, world.now()).await;
    let mut conn = world.pool().acquire().await.unwrap().detach();
    let built = rebuild(&mut conn, world.now(), View::CampaignStats).await.unwrap();
    assert_eq!(built.different, 0, "{built:?}");
    sqlx::query("UPDATE campaign_journal SET granted = 9").execute(world.pool()).await.unwrap();
    let built = rebuild(&mut conn, world.now(), View::CampaignStats).await.unwrap();
    assert!(built.different > 0, "{built:?}");
    assert_eq!(at(&world, campaign, world.now()).await, before);
}

#[tokio::test]
async fn day_by_day_every_account_ties() {
    let world = World::new().await;
    let campaign = world.campaign(7, ORG, TOKEN).await;
    let other = world.campaign(8, ORG, Address::repeat_byte(8)).await;
    let foreign = world.campaign(9, world.other, TOKEN).await;
    let first = world.now().date_naive();
    let tomorrow = || {
        world.clock.advance(TimeDelta::days(1));
        world.now()
    };
    let before_midnight = world.now() + TimeDelta::hours(23);
    world.append(&[funded(campaign, 100), funded(other, 7), funded(foreign, 1_000)]).await;
    world.append_at(before_midnight, &[requested(campaign, 0, 30), requested(foreign, 0, 30)]).await;
    tomorrow();
    world.append(&[posted(campaign, 1, 1, 30)]).await;
    // A clock that is behind: what it records belongs to the day in which it was committed.
    world.append_at(before_midnight, &[requested(campaign, 1, 20)]).await;
    tomorrow();
    tomorrow();
    world.append(&[unposted(campaign, 1, 1, 30), posted(campaign, 2, 1, 30), unfunded(campaign, 100)]).await;
    world.drain(Arc::new(CampaignStatsStage)).await;

    let mut conn = world.pool().acquire().await.unwrap();
    let days = |at| first + chrono::Days::new(at);
    let all = day_balances(&mut conn, ORG, first, days(4)).await.unwrap();
    assert_eq!(all.len(), 4 * 2 * 5, "days, tokens, accounts");
    for tokens_day in all.chunks(5) {
        let sum: BigDecimal = tokens_day.iter().map(|balance| &balance.closing).sum();
        assert_eq!(sum, BigDecimal::default(), "{tokens_day:?}");
    }
    let told = |at: u64, account| {
        let found = all
            .iter()
            .find(|found| found.day == days(at) && found.token == TOKEN && found.account == account);
        let DayBalance { opening, debits, credits, closing, .. } = found.unwrap();
        [opening, debits, credits, closing].map(|amount| amount.to_string().parse::<i64>().unwrap())
    };
    assert_eq!(told(0, Account::Chain), [0, 100, 0, -100]);
    assert_eq!(told(0, Account::Available), [0, 30, 100, 70]);
    assert_eq!(told(0, Account::Reserved), [0, 0, 30, 30]);
    assert_eq!(told(1, Account::Reserved), [30, 30, 20, 20]);
    assert_eq!(told(1, Account::Paid), [0, 0, 30, 30]);
    assert_eq!(told(2, Account::Paid), [30, 0, 0, 30]);
    assert_eq!(told(3, Account::Paid), [30, 30, 30, 30]);
    assert_eq!(told(3, Account::Available), [50, 100, 0, -50]);
    // Whoever begins later finds what was held by then.
    assert_eq!(day_balances(&mut conn, ORG, days(3), days(4)).await.unwrap(), all[30..]);
}
