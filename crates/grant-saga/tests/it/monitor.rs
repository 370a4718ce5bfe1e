//! The transaction monitor: what is stuck is outbid, what costs too much waits, what can never be paid makes room.

use std::sync::atomic::Ordering;

use alloy::primitives::{Address, Bytes, keccak256};
use chrono::TimeDelta;
use laurel_chain::{ChainError, ChainNode, LaneSigner, NonceAt, Refusal, TxRequest};
use laurel_devnet::{AnvilOptions, Mining};
use laurel_events::{
    Amount, BlockchainTxMined, BlockchainTxReorged, BlockchainTxReplaced, BlockchainTxReverted,
    BlockchainTxSubmitted, BlockchainTxUndone, CampaignId, Event, EventKind, GrantId, Sighting,
};
use laurel_grant_saga::{
    LaneDriver, LaneState, OperateError, Progress, list_lanes, retire_lane, settle_lane,
};

use crate::{
    batching::submitted,
    faulty_node::{Line, is_empty},
    lanes::alerts,
    settling::{sighting, tell},
    world::{GWEI, LEASE_IS_OVER, LIFETIME, MAX_FEE_PER_GAS, MONITOR_TIMEOUT, World, amount_of, drain, key},
};

/// The monitor's interval, and a bit.
const NEXT_CHECK: TimeDelta = TimeDelta::seconds(2);

/// Longer than a batch that was refused once rests.
const RESENT: TimeDelta = TimeDelta::seconds(31);

/// A campaign with one batch that no block takes: gas has become dear after it was signed.
async fn one_batch_at_a_rising_price(world: &mut World, base_fee: u128) -> (LaneDriver, Vec<GrantId>) {
    world.control.pause_mining().await.unwrap();
    let campaign = world.campaign(7).await;
    let grants = world.queue(campaign, 2).await;
    let mut driver = world.driver(1, "a").await;
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    world.control.set_base_fee(base_fee).await.unwrap();
    (driver, grants)
}

/// Both clocks go on by the monitor's time-out, the chain's without a block that takes anything.
async fn time_out(world: &World, base_fee: u128) {
    world.control.warp(MONITOR_TIMEOUT.as_secs()).await.unwrap();
    world.control.set_base_fee(base_fee).await.unwrap();
    world.clock.advance(TimeDelta::from_std(MONITOR_TIMEOUT).unwrap());
}

/// Every transaction that was signed: number, empty or not, and what it asks for.
async fn attempts(world: &World) -> Vec<(i32, bool, TxRequest)> {
    let rows: Vec<(i32, bool, Vec<u8>)> = sqlx::query_as(
        "SELECT number, empty, raw FROM attempts a JOIN batches b ON b.id = a.batch ORDER BY nonce, number",
    )
    .fetch_all(world.pool())
    .await
    .unwrap();
    rows.into_iter().map(|(number, empty, raw)| (number, empty, TxRequest::decode(&raw).unwrap())).collect()
}

async fn replaced(world: &World) -> Vec<BlockchainTxReplaced> {
    let events = world.events(&[EventKind::BlockchainTxReplaced]).await;
    let replaced = events.into_iter().map(|envelope| match envelope.event {
        Event::BlockchainTxReplaced(replaced) => replaced,
        _ => panic!("not asked for"),
    });
    replaced.collect()
}

async fn state(world: &World) -> (LaneState, Option<String>) {
    let lane = list_lanes(&mut world.pool().acquire().await.unwrap()).await.unwrap().remove(0);
    (lane.state, lane.reason)
}

/// What the watcher tells once a final block has something that settles nothing in the place of a batch.
async fn reverted(world: &World, batch: &BlockchainTxSubmitted) -> BlockchainTxReverted {
    let sighting = sighting(world, batch, 9).await;
    BlockchainTxReverted { sighting, gas_used: 21_000, effective_gas_price: Amount::from(1_u64) }
}

pub(crate) async fn total_paid(world: &World, grants: &[GrantId]) -> u128 {
    let mut paid = 0;
    for batch in submitted(world).await {
        assert!(batch.segments[0].count as usize <= grants.len());
    }
    let words: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT words FROM runs").fetch_all(world.pool()).await.unwrap();
    for word in words.iter().flat_map(|words| words.chunks(32)) {
        paid += world.balance(Address::from_slice(&word[..20])).await;
    }
    paid
}

pub(crate) fn owed(grants: &[GrantId]) -> u128 {
    grants.iter().map(|grant| u128::try_from(amount_of(*grant).units()).unwrap()).sum()
}

#[tokio::test]
async fn what_is_stuck_below_the_base_fee_is_outbid_with_the_same_payload() {
    let mut world = World::new().await;
    let (mut driver, grants) = one_batch_at_a_rising_price(&mut world, 50 * GWEI).await;
    world.clock.advance(NEXT_CHECK);
    driver.step().await.unwrap();
    assert_eq!(attempts(&world).await.len(), 1, "a moment is not long");
    time_out(&world, 50 * GWEI).await;
    driver.step().await.unwrap();
    let [(0, false, first), (1, false, second)] = &attempts(&world).await[..] else { panic!("two attempts") };
    assert_eq!((first.nonce, &first.data, first.gas_limit), (second.nonce, &second.data, second.gas_limit));
    assert!(second.max_fee_per_gas * 8 >= first.max_fee_per_gas * 9);
    assert!(second.max_priority_fee_per_gas * 8 >= first.max_priority_fee_per_gas * 9);
    assert!(second.max_fee_per_gas > 50 * GWEI, "the market is followed, not only the old offer");
    let batch = submitted(&world).await.remove(0);
    let [replaced] = &replaced(&world).await[..] else { panic!("one replacement") };
    let sent = world.node.sent();
    assert_eq!((replaced.batch, replaced.replaces, replaced.empty), (batch.batch, batch.tx, false));
    assert_eq!(keccak256(sent.last().unwrap()), replaced.tx, "and it was sent");
    world.control.mine(1).await.unwrap();
    assert_eq!(total_paid(&world, &grants).await, owed(&grants));
}

/// As it is while the stage that would be told of the block is halted.
#[tokio::test]
async fn what_a_block_has_is_neither_outbid_nor_emptied_while_nobody_has_told() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let grants = world.queue(campaign, 2).await;
    let mut driver = world.driver(1, "a").await;
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    world.control.mine(1).await.unwrap();
    assert_eq!(total_paid(&world, &grants).await, owed(&grants));
    for _ in 0..3 {
        time_out(&world, 50 * GWEI).await;
        driver.step().await.unwrap();
    }
    world.control.warp(LIFETIME.as_secs()).await.unwrap();
    world.clock.advance(TimeDelta::from_std(LIFETIME).unwrap());
    driver.step().await.unwrap();
    assert_eq!(attempts(&world).await.len(), 1);
    assert_eq!(state(&world).await, (LaneState::Active, None));
}

#[tokio::test]
async fn only_the_lowest_nonce_is_judged() {
    let mut world = World::new().await;
    world.control.pause_mining().await.unwrap();
    let campaign = world.campaign(7).await;
    world.queue(campaign, 8).await;
    let mut driver = world.driver(1, "a").await;
    for _ in 0..2 {
        assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    }
    world.control.set_base_fee(50 * GWEI).await.unwrap();
    time_out(&world, 50 * GWEI).await;
    driver.step().await.unwrap();
    let signed: Vec<(u64, i32)> =
        attempts(&world).await.into_iter().map(|(number, _, request)| (request.nonce, number)).collect();
    let lowest = signed.iter().map(|(nonce, _)| *nonce).min().unwrap();
    assert_eq!(signed, [(lowest, 0), (lowest, 1), (lowest + 1, 0)]);
}

#[tokio::test]
async fn what_the_market_would_take_is_sent_again_once_before_it_is_outbid() {
    let mut world = World::new().await;
    world.control.pause_mining().await.unwrap();
    let campaign = world.campaign(7).await;
    let grants = world.queue(campaign, 1).await;
    let mut driver = world.driver(1, "a").await;
    world.node.set_line(Line::Swallows);
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    for signed in [1, 2] {
        world.control.warp(MONITOR_TIMEOUT.as_secs()).await.unwrap();
        world.clock.advance(TimeDelta::from_std(MONITOR_TIMEOUT).unwrap());
        driver.step().await.unwrap();
        assert_eq!(attempts(&world).await.len(), signed);
    }
    world.node.set_line(Line::Good);
    world.clock.advance(NEXT_CHECK);
    driver.step().await.unwrap();
    world.control.mine(1).await.unwrap();
    assert_eq!(total_paid(&world, &grants).await, owed(&grants));
}

#[tokio::test]
async fn a_chain_that_stands_still_makes_nothing_stuck() {
    let mut world = World::new().await;
    world.control.pause_mining().await.unwrap();
    let campaign = world.campaign(7).await;
    world.queue(campaign, 1).await;
    let mut driver = world.driver(1, "a").await;
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    world.clock.advance(TimeDelta::hours(1));
    driver.step().await.unwrap();
    assert_eq!(attempts(&world).await.len(), 1);
}

#[tokio::test]
async fn above_its_cap_a_lane_is_parked_and_goes_on_when_gas_is_cheaper() {
    let mut world = World::new().await;
    let spike = 2 * MAX_FEE_PER_GAS;
    let (mut driver, grants) = one_batch_at_a_rising_price(&mut world, spike).await;
    time_out(&world, spike).await;
    assert_eq!(driver.step().await.unwrap(), Progress::Idle);
    assert_eq!(attempts(&world).await.len(), 1, "nothing is signed above the cap");
    assert_eq!(state(&world).await, (LaneState::Parked, Some("fee_above_cap".to_owned())));
    assert_eq!(alerts(&world).await[0].0, "fee_above_cap");
    let more = world.queue(CampaignId::from(7), 1).await;
    world.clock.advance(NEXT_CHECK);
    assert_eq!(driver.step().await.unwrap(), Progress::Idle, "a parked lane gets no batches");
    time_out(&world, GWEI).await;
    driver.step().await.unwrap();
    assert_eq!(state(&world).await, (LaneState::Active, None));
    assert_eq!(alerts(&world).await, []);
    for _ in 0..2 {
        world.control.mine(1).await.unwrap();
        driver.step().await.unwrap();
    }
    world.control.mine(1).await.unwrap();
    let all = [grants, more].concat();
    assert_eq!(total_paid(&world, &all).await, owed(&all));
}

#[tokio::test]
async fn nothing_is_signed_while_gas_costs_more_than_the_cap() {
    let mut world = World::new().await;
    world.control.pause_mining().await.unwrap();
    let campaign = world.campaign(7).await;
    world.queue(campaign, 1).await;
    world.control.set_base_fee(2 * MAX_FEE_PER_GAS).await.unwrap();
    let mut driver = world.driver(1, "a").await;
    assert_eq!(driver.step().await.unwrap(), Progress::Idle);
    assert_eq!(submitted(&world).await, []);
    assert_eq!(state(&world).await.0, LaneState::Parked);
    world.control.set_base_fee(GWEI).await.unwrap();
    world.clock.advance(NEXT_CHECK);
    assert_eq!(driver.step().await.unwrap(), Progress::Idle, "it is unparked");
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
}

#[tokio::test]
async fn out_of_gas_money_a_lane_is_parked_until_there_is_some() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let grants = world.queue(campaign, 1).await;
    let lane = key(1).address().to_string();
    world.control.set_balance(&lane, 1).await.unwrap();
    let mut driver = world.driver(1, "a").await;
    assert_eq!(driver.step().await.unwrap(), Progress::Sent, "it is committed, and the node refuses it");
    world.clock.advance(NEXT_CHECK);
    assert_eq!(driver.step().await.unwrap(), Progress::Idle);
    assert_eq!(state(&world).await, (LaneState::Parked, Some("out_of_gas_money".to_owned())));
    let alert = alerts(&world).await.remove(0);
    assert_eq!(alert.0, "out_of_gas_money");
    world.control.set_balance(&lane, 10_u128.pow(18)).await.unwrap();
    world.clock.advance(TimeDelta::seconds(30));
    driver.step().await.unwrap();
    world.control.mine(1).await.unwrap();
    assert_eq!(state(&world).await, (LaneState::Active, None));
    assert_eq!(alerts(&world).await, []);
    assert_eq!(total_paid(&world, &grants).await, owed(&grants));
}

#[tokio::test]
async fn a_settlement_that_no_node_takes_makes_room_and_its_grants_go_again_with_their_places() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let grants = world.queue(campaign, 2).await;
    let mut driver = world.driver(1, "a").await;
    world.node.set_line(Line::RefusesSettlements(Refusal::GasLimit));
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    assert_eq!(alerts(&world).await[0].0, "send_gas_limit");
    world.clock.advance(NEXT_CHECK);
    driver.step().await.unwrap();
    let sent = world.node.sent();
    assert!(is_empty(sent.last().unwrap()), "an empty transaction uses the nonce");
    let [(0, false, settlement), (1, true, empty)] = &attempts(&world).await[..] else {
        panic!("two attempts")
    };
    assert_eq!((settlement.nonce, empty.to), (empty.nonce, Some(key(1).address())));
    let batch = submitted(&world).await.remove(0);
    let reverted = reverted(&world, &batch).await;
    tell(&mut world, reverted).await;
    world.node.set_line(Line::Good);
    world.clock.advance(NEXT_CHECK);
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    assert_eq!(submitted(&world).await[1].segments, batch.segments, "the same places and words");
    world.control.mine(1).await.unwrap();
    assert_eq!(total_paid(&world, &grants).await, owed(&grants));
}

#[tokio::test]
async fn a_lane_of_which_nothing_is_taken_is_halted() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    world.queue(campaign, 1).await;
    let mut driver = world.driver(1, "a").await;
    world.node.set_line(Line::Refuses(Refusal::Malformed));
    for _ in 0..3 {
        driver.step().await.unwrap();
        world.clock.advance(NEXT_CHECK);
    }
    assert_eq!(attempts(&world).await.len(), 2, "the settlement and one empty transaction");
    assert_eq!(state(&world).await, (LaneState::Halted, Some("lane_rejected".to_owned())));
}

#[tokio::test]
async fn what_the_vault_will_refuse_as_too_late_makes_room() {
    let mut world = World::new().await;
    let (mut driver, _) = one_batch_at_a_rising_price(&mut world, 50 * GWEI).await;
    world.control.warp(LIFETIME.as_secs() + 60).await.unwrap();
    world.control.set_base_fee(50 * GWEI).await.unwrap();
    world.clock.advance(NEXT_CHECK);
    driver.step().await.unwrap();
    assert_eq!(attempts(&world).await.iter().map(|(_, empty, _)| *empty).collect::<Vec<_>>(), [false, true]);
    assert!(replaced(&world).await[0].empty);
    world.control.set_base_fee(110 * GWEI).await.unwrap();
    time_out(&world, 110 * GWEI).await;
    driver.step().await.unwrap();
    let empties: Vec<bool> = attempts(&world).await.iter().map(|(_, empty, _)| *empty).collect();
    assert_eq!(empties, [false, true, true], "an empty one is outbid by an empty one");
}

#[tokio::test]
async fn a_nonce_that_a_final_block_gave_to_another_transaction_halts_the_lane() {
    let mut world = World::new().await;
    let (mut driver, _) = world.swallowed(1).await;
    world.sends(1, Address::repeat_byte(9), Bytes::new()).await;
    world.clock.advance(NEXT_CHECK);
    driver.step().await.unwrap();
    assert_eq!(state(&world).await.0, LaneState::Active, "nonce too low alone proves nothing");
    world.control.warp(MONITOR_TIMEOUT.as_secs()).await.unwrap();
    world.clock.advance(TimeDelta::from_std(MONITOR_TIMEOUT).unwrap());
    driver.step().await.unwrap();
    assert_eq!(state(&world).await.0, LaneState::Active, "no final block has it yet");
    world.everything_is_final().await;
    world.clock.advance(NEXT_CHECK);
    driver.step().await.unwrap();
    assert_eq!(state(&world).await, (LaneState::Halted, Some("nonce_used_elsewhere".to_owned())));
    assert!(attempts(&world).await.iter().all(|(_, empty, _)| !empty));
}

/// The lane remembers who had its nonce, and the block that it was seen in is none any more.
#[tokio::test]
async fn whoever_has_lost_a_nonce_in_a_reorganisation_halts_nothing() {
    let mut world = World::new().await;
    let (mut driver, grants) = world.swallowed(1).await;
    world.everything_is_final().await;
    world.sends(1, Address::repeat_byte(9), Bytes::new()).await;
    world.control.warp(MONITOR_TIMEOUT.as_secs()).await.unwrap();
    world.clock.advance(TimeDelta::from_std(MONITOR_TIMEOUT).unwrap());
    driver.step().await.unwrap();
    assert_eq!(state(&world).await.0, LaneState::Active, "no final block has it yet");
    world.control.reorg(3).await.unwrap();
    assert_eq!(world.node.nonce(key(1).address(), NonceAt::Latest).await.unwrap(), 0);
    world.clock.advance(RESENT);
    driver.step().await.unwrap();
    assert_eq!(total_paid(&world, &grants).await, owed(&grants));
    world.control.warp(MONITOR_TIMEOUT.as_secs()).await.unwrap();
    world.everything_is_final().await;
    for _ in 0..3 {
        world.clock.advance(NEXT_CHECK);
        driver.step().await.unwrap();
        assert_eq!(state(&world).await.0, LaneState::Active);
    }
}

/// Its key is stolen: it gets nothing more, and what it had goes again with another lane.
#[tokio::test]
async fn a_halted_lane_is_retired_and_gives_up_what_was_displaced() {
    let mut world = World::new().await;
    let (mut driver, grants) = world.swallowed(2).await;
    for _ in 0..3 {
        world.sends(1, Address::repeat_byte(9), Bytes::new()).await;
    }
    world.everything_is_final().await;
    sqlx::query("UPDATE lanes SET state = 'halted'").execute(world.pool()).await.unwrap();
    let lane = list_lanes(&mut world.pool().acquire().await.unwrap()).await.unwrap().remove(0);
    let ended =
        settle_lane(world.pool(), &*world.node, world.now(), &world.vault, &lane, LaneState::Retired).await;
    assert_eq!(ended.unwrap(), 1);
    drain(&mut world.settlements).await;
    assert_eq!(state(&world).await.0, LaneState::Retired);
    driver.step().await.unwrap();
    assert_eq!(state(&world).await.0, LaneState::Retired, "nothing of it is amiss any more");
    let mut other = world.driver(2, "b").await;
    other.step().await.unwrap();
    world.control.mine(1).await.unwrap();
    assert_eq!(total_paid(&world, &grants).await, owed(&grants));
}

/// An operator has looked and has the lane go on: what can never be mined any more goes again, in another batch.
#[tokio::test]
async fn a_resumed_lane_gives_up_what_was_displaced_and_takes_the_next_free_nonce() {
    let mut world = World::new().await;
    let (mut driver, grants) = world.swallowed(2).await;
    for _ in 0..3 {
        world.sends(1, Address::repeat_byte(9), Bytes::new()).await;
    }
    let resume = async |world: &World| {
        let lane = list_lanes(&mut world.pool().acquire().await.unwrap()).await.unwrap().remove(0);
        settle_lane(world.pool(), &*world.node, world.now(), &world.vault, &lane, LaneState::Active).await
    };
    sqlx::query("UPDATE lanes SET state = 'halted'").execute(world.pool()).await.unwrap();
    let error = resume(&world).await.unwrap_err();
    assert!(matches!(error, OperateError::NotFinal { .. }), "{error}");
    assert_eq!(state(&world).await.0, LaneState::Halted);
    world.everything_is_final().await;
    assert_eq!(resume(&world).await.unwrap(), 1);
    assert_eq!(resume(&world).await.unwrap(), 1, "told twice, nothing more comes of it");
    world.control.warp(MONITOR_TIMEOUT.as_secs()).await.unwrap();
    world.clock.advance(TimeDelta::from_std(MONITOR_TIMEOUT).unwrap());
    driver.step().await.unwrap();
    assert_eq!(state(&world).await.0, LaneState::Active, "what was told does not halt it again");
    drain(&mut world.settlements).await;
    assert_eq!(resume(&world).await.unwrap(), 0);
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    world.control.mine(1).await.unwrap();
    let batches = submitted(&world).await;
    assert_eq!(batches.iter().map(|batch| batch.nonce).collect::<Vec<_>>(), [0, 3]);
    assert_eq!(batches[1].segments, batches[0].segments, "the same places and words");
    assert_eq!(total_paid(&world, &grants).await, owed(&grants));
}

/// A rebase takes back that it ended: whoever has its nonce now is to be told of again.
#[tokio::test]
async fn who_displaced_a_batch_is_told_of_again_once_that_is_undone() {
    let mut world = World::new().await;
    let (mut driver, _) = world.swallowed(1).await;
    world.sends(1, Address::repeat_byte(9), Bytes::new()).await;
    world.everything_is_final().await;
    sqlx::query("UPDATE lanes SET state = 'halted'").execute(world.pool()).await.unwrap();
    let lane = list_lanes(&mut world.pool().acquire().await.unwrap()).await.unwrap().remove(0);
    let ended =
        settle_lane(world.pool(), &*world.node, world.now(), &world.vault, &lane, LaneState::Active).await;
    assert_eq!(ended.unwrap(), 1);
    drain(&mut world.settlements).await;
    let told = world.events(&[EventKind::BlockchainTxReverted]).await.remove(0).event;
    let Event::BlockchainTxReverted(told) = told else { panic!("not asked for") };
    let sighting = Sighting { transition: told.sighting.transition + 1, ..told.sighting };
    tell(&mut world, BlockchainTxUndone { sighting, segments: Vec::new() }).await;
    world.control.warp(MONITOR_TIMEOUT.as_secs()).await.unwrap();
    world.clock.advance(TimeDelta::from_std(MONITOR_TIMEOUT).unwrap());
    driver.step().await.unwrap();
    assert_eq!(state(&world).await, (LaneState::Halted, Some("nonce_used_elsewhere".to_owned())));
}

/// A node that prunes keeps 128 states; an operator comes after an hour.
#[tokio::test]
async fn a_lane_is_resumed_where_no_node_keeps_the_states_of_its_nonces() {
    let mut options = AnvilOptions::new(Mining::EachTransaction);
    options.states_kept = Some(128);
    let mut world = World::on(options).await;
    let (mut driver, grants) = world.swallowed(2).await;
    for _ in 0..3 {
        world.sends(1, Address::repeat_byte(9), Bytes::new()).await;
    }
    world.everything_is_final().await;
    world.control.mine(300).await.unwrap();
    world.everything_is_final().await;
    let oldest = world.node.nonce(key(1).address(), NonceAt::Block(10)).await;
    assert!(oldest.is_err(), "the node keeps the state of block 10: {oldest:?}");
    world.control.warp(MONITOR_TIMEOUT.as_secs()).await.unwrap();
    world.clock.advance(TimeDelta::from_std(MONITOR_TIMEOUT).unwrap());
    driver.step().await.unwrap();
    assert_eq!(state(&world).await, (LaneState::Halted, Some("nonce_used_elsewhere".to_owned())));
    let lane = list_lanes(&mut world.pool().acquire().await.unwrap()).await.unwrap().remove(0);
    let given_up =
        settle_lane(world.pool(), &*world.node, world.now(), &world.vault, &lane, LaneState::Active).await;
    assert_eq!(given_up.unwrap(), 1);
    drain(&mut world.settlements).await;
    driver.step().await.unwrap();
    world.control.mine(1).await.unwrap();
    assert_eq!(total_paid(&world, &grants).await, owed(&grants));
}

#[tokio::test]
async fn a_nonce_whose_user_nobody_can_tell_any_more_is_told_of() {
    let mut options = AnvilOptions::new(Mining::EachTransaction);
    options.states_kept = Some(128);
    let mut world = World::on(options).await;
    let (mut driver, _) = world.swallowed(1).await;
    world.sends(1, Address::repeat_byte(9), Bytes::new()).await;
    world.control.mine(600).await.unwrap();
    world.everything_is_final().await;
    world.control.warp(MONITOR_TIMEOUT.as_secs()).await.unwrap();
    world.clock.advance(TimeDelta::from_std(MONITOR_TIMEOUT).unwrap());
    driver.step().await.unwrap();
    assert_eq!(state(&world).await, (LaneState::Active, None));
    let raised = [("nonce_user_unknown".to_owned(), "lane:1".to_owned())];
    assert_eq!(alerts(&world).await, raised);
    world.clock.advance(NEXT_CHECK);
    driver.step().await.unwrap();
    assert_eq!(alerts(&world).await, raised, "once, while it lasts");
    // Whoever watches the chain has found it after all.
    sqlx::query("UPDATE batches SET state = 'mined'").execute(world.pool()).await.unwrap();
    world.clock.advance(NEXT_CHECK);
    driver.step().await.unwrap();
    assert_eq!(alerts(&world).await, []);
}

#[tokio::test]
async fn a_retired_lane_sees_to_what_it_has_and_gets_no_more() {
    let mut world = World::new().await;
    let (mut driver, grants) = world.swallowed(1).await;
    let mut conn = world.pool().acquire().await.unwrap();
    let lane = list_lanes(&mut conn).await.unwrap()[0].id;
    assert!(retire_lane(&mut conn, lane).await.unwrap());
    assert!(!retire_lane(&mut conn, lane).await.unwrap());
    drop(conn);
    world.queue(grants[0].campaign, 1).await;
    world.clock.advance(NEXT_CHECK);
    assert_eq!(driver.step().await.unwrap(), Progress::Idle);
    world.control.mine(1).await.unwrap();
    assert_eq!(submitted(&world).await.len(), 1);
    assert_eq!(total_paid(&world, &grants).await, owed(&grants));
}

/// The first replica is stopped while it decides what to offer; when it wakes up, the lane is another one's.
#[tokio::test]
async fn a_zombie_outbids_in_vain() {
    let mut world = World::new().await;
    let (mut zombie, _) = one_batch_at_a_rising_price(&mut world, 50 * GWEI).await;
    time_out(&world, 50 * GWEI).await;
    world.node.stop_next.store(true, Ordering::SeqCst);
    let asleep = tokio::spawn(async move { zombie.step().await.unwrap() });
    world.node.stopped.notified().await;
    world.clock.advance(LEASE_IS_OVER);
    let mut second = world.driver(1, "second").await;
    second.step().await.unwrap();
    assert_eq!(attempts(&world).await.len(), 2, "the new holder has outbid it");
    world.node.go_on.notify_one();
    asleep.await.unwrap();
    assert_eq!(attempts(&world).await.len(), 2);
    assert_eq!(replaced(&world).await.len(), 1);
}

#[tokio::test]
async fn a_gap_has_the_nonces_before_it_sent_again() {
    let mut world = World::new().await;
    world.control.pause_mining().await.unwrap();
    let campaign = world.campaign(7).await;
    world.queue(campaign, 8).await;
    let mut driver = world.driver(1, "a").await;
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    let first = submitted(&world).await.remove(0);
    world.control.forget(&first.tx.to_string()).await.unwrap();
    world.node.set_line(Line::Refuses(Refusal::NonceGap));
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    world.node.set_line(Line::Good);
    let before = world.node.sent().len();
    driver.step().await.unwrap();
    let sent: Vec<_> = world.node.sent().split_off(before).iter().map(keccak256).collect();
    assert_eq!(sent, [first.tx], "at once, without waiting for the monitor");
}

/// A block had it and is gone, between two looks of the monitor or not: the same bytes go out at once.
#[tokio::test]
async fn what_a_reorganisation_took_out_of_its_block_is_sent_again() {
    let mut world = World::new().await;
    world.control.pause_mining().await.unwrap();
    let campaign = world.campaign(7).await;
    world.queue(campaign, 2).await;
    let mut driver = world.driver(1, "a").await;
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    let batch = submitted(&world).await.remove(0);
    let seen = sighting(&world, &batch, 0).await;
    let at = |transition| Sighting { transition, ..seen.clone() };
    let sends = |world: &World| world.node.sent().iter().filter(|raw| keccak256(raw) == batch.tx).count();
    for (transition, looks) in [(1, true), (3, false)] {
        world.clock.advance(NEXT_CHECK);
        driver.step().await.unwrap();
        let before = sends(&world);
        tell(&mut world, BlockchainTxMined { sighting: at(transition) }).await;
        if looks {
            world.clock.advance(NEXT_CHECK);
            driver.step().await.unwrap();
            assert_eq!(sends(&world), before, "a block has it");
        }
        tell(&mut world, BlockchainTxReorged { sighting: at(transition + 1) }).await;
        world.clock.advance(NEXT_CHECK);
        driver.step().await.unwrap();
        assert_eq!(sends(&world), before + 1);
    }
    assert_eq!(attempts(&world).await.len(), 1, "nothing was signed anew");
}

/// Some clients say so of what they have just thrown away.
#[tokio::test]
async fn what_is_already_known_and_cannot_be_found_is_sent_again() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let grants = world.queue(campaign, 1).await;
    let mut driver = world.driver(1, "a").await;
    world.node.set_line(Line::Refuses(Refusal::AlreadyKnown));
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    let accepted: Option<chrono::DateTime<chrono::Utc>> =
        sqlx::query_scalar("SELECT accepted_at FROM batches").fetch_one(world.pool()).await.unwrap();
    assert_eq!(accepted, None);
    world.node.set_line(Line::Good);
    world.clock.advance(NEXT_CHECK);
    driver.step().await.unwrap();
    world.control.mine(1).await.unwrap();
    assert_eq!(total_paid(&world, &grants).await, owed(&grants));
}

/// A stranger's transaction may be gone tomorrow, and nobody would fill its nonce if ours began behind it.
#[tokio::test]
async fn a_lane_is_not_resumed_behind_a_nonce_whose_use_is_not_final() {
    let world = World::new().await;
    world.driver(1, "a").await.step().await.unwrap();
    world.sends(1, Address::repeat_byte(9), Bytes::new()).await;
    let resume = async || {
        let lane = list_lanes(&mut world.pool().acquire().await.unwrap()).await.unwrap().remove(0);
        settle_lane(world.pool(), &*world.node, world.now(), &world.vault, &lane, LaneState::Active).await
    };
    let error = resume().await.unwrap_err();
    assert!(matches!(error, OperateError::NotFinal { nonce: 0, .. }), "{error}");
    // It can be retired all the same: it passes over nothing then, and whoever has its key may go on for ever.
    let lane = list_lanes(&mut world.pool().acquire().await.unwrap()).await.unwrap().remove(0);
    let retired =
        settle_lane(world.pool(), &*world.node, world.now(), &world.vault, &lane, LaneState::Retired).await;
    assert_eq!(retired.unwrap(), 0);
    // A node that does not have that block yet proves nothing.
    world.node.behind.store(2, Ordering::SeqCst);
    let error = resume().await.unwrap_err();
    assert!(matches!(error, OperateError::Chain(ChainError::Untrue(_))), "{error}");
    world.node.behind.store(0, Ordering::SeqCst);
    world.everything_is_final().await;
    assert_eq!(resume().await.unwrap(), 0);
    let lane = list_lanes(&mut world.pool().acquire().await.unwrap()).await.unwrap().remove(0);
    assert_eq!(lane.next_nonce, 1);
}
