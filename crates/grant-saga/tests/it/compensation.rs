//! Grants that cannot be paid: seen before anything is signed, tried again with their places, and burned on the chain before
//! their holds go.

use std::collections::BTreeMap;

use alloy::{
    primitives::{Address, B256, U256, keccak256},
    sol_types::SolCall,
};
use chrono::TimeDelta;
use laurel_bus::{Stage, Wakes, fire_timers};
use laurel_chain::{ChainNode, PaidMask, RewardVault};
use laurel_events::{
    Amount, BlockchainTxConfirmed, BlockchainTxReverted, BlockchainTxSubmitted, BudgetReleased, CampaignId,
    CampaignReleased, Envelope, Event, EventKind, GrantId, GrantsCancelled, SettledSegment, Sighting,
    TokenGrantFailed, VoidProof,
};
use laurel_grant_saga::{LaneDriver, Progress, Recovery, SettlementStage};
use laurel_ledger::{Context, append, lock_quarantine};

use crate::{
    batching::submitted,
    faulty_node::Line,
    lanes::{alerts, until},
    monitor::{owed, total_paid},
    settling::{confirmed, sighting, tell},
    world::{GIVE_UP_REFUSED, MONITOR_TIMEOUT, World, amount_of, drain},
};

#[allow(missing_docs, reason = "generated from a contract that is documented there")]
mod fussy_token {
    alloy::sol!(
        #[sol(all_derives)]
        FussyToken,
        "../../contracts/artifacts/FussyToken.json"
    );
}
use fussy_token::FussyToken;

/// The longest rest of a place that was set back, and a bit.
pub(crate) const RESTED: TimeDelta = TimeDelta::minutes(11);

/// Grants of a campaign, in the order of their places; those of `refused` go to a recipient that the token refuses.
pub(crate) async fn queue_with_refused(
    world: &mut World,
    campaign: CampaignId,
    refused: &[bool],
) -> Vec<GrantId> {
    // The books know another token, so that the token's own address passes for a recipient: the chain refuses it.
    sqlx::query("UPDATE campaigns SET token = decode(repeat('99', 20), 'hex')")
        .execute(world.pool())
        .await
        .unwrap();
    let mut players = Vec::new();
    for refused in refused {
        let (player, _) = world.player_with_wallet().await;
        if *refused {
            sqlx::query("UPDATE wallets SET address = $2 WHERE player = $1")
                .bind(player.uuid())
                .bind(world.deployed.token.as_slice())
                .execute(world.pool())
                .await
                .unwrap();
        }
        players.push(player);
    }
    let grants = world.request(campaign, &players).await;
    drain(&mut world.grants).await;
    grants
}

pub(crate) async fn failed(world: &World) -> Vec<TokenGrantFailed> {
    let events = world.events(&[EventKind::TokenGrantFailed]).await;
    let failed = events.into_iter().map(|envelope| match envelope.event {
        Event::TokenGrantFailed(failed) => failed,
        _ => panic!("not asked for"),
    });
    failed.collect()
}

async fn held(world: &World) -> Vec<(GrantId, String)> {
    let events = world.events(&[EventKind::TokenGrantHeld]).await;
    let held = events.into_iter().map(|envelope| match envelope.event {
        Event::TokenGrantHeld(held) => (held.grant, held.reason),
        _ => panic!("not asked for"),
    });
    held.collect()
}

async fn burned(world: &World, campaign: CampaignId) -> U256 {
    let question = RewardVault::burnedCall { campaign: campaign.on_chain(), word: 0 };
    let (from, to) = (world.deployed.vault, world.deployed.vault);
    let call = laurel_chain::Call { from, to, data: question.abi_encode().into(), gas: None };
    RewardVault::burnedCall::abi_decode_returns(&world.node.call(call).await.unwrap()).unwrap()
}

/// What the watcher tells of a burned place.
async fn tell_cancelled(world: &mut World, campaign: CampaignId, mask: u64) -> GrantsCancelled {
    let batch = submitted(world).await.pop().unwrap();
    let sighting = sighting(world, &batch, 7).await;
    let cancelled = GrantsCancelled {
        campaign,
        chain_id: sighting.chain_id,
        vault: sighting.vault,
        word: 0,
        mask: U256::from(mask),
        tx: batch.tx,
        block_number: sighting.block_number,
        log_index: 0,
    };
    tell(world, cancelled.clone()).await;
    cancelled
}

async fn step_until_sent(world: &World, driver: &mut LaneDriver) {
    for _ in 0..8 {
        if driver.step().await.unwrap() == Progress::Sent {
            return;
        }
        world.clock.advance(TimeDelta::seconds(1));
    }
    panic!("nothing was sent");
}

/// The vault's word that places were burned, by nobody of ours.
pub(crate) fn burned_by_owner(world: &World, campaign: CampaignId, word: u64, mask: u64) -> GrantsCancelled {
    GrantsCancelled {
        campaign,
        chain_id: world.deployed.chain_id,
        vault: world.deployed.vault,
        word,
        mask: U256::from(mask),
        tx: alloy::primitives::B256::repeat_byte(7),
        block_number: 9,
        log_index: 0,
    }
}

/// The vault's word that a campaign was released.
pub(crate) fn release_of(world: &World, campaign: CampaignId) -> CampaignReleased {
    CampaignReleased {
        campaign,
        chain_id: world.deployed.chain_id,
        vault: world.deployed.vault,
        spent: Amount::ZERO,
        released: Amount::from(1_u64),
        tx: alloy::primitives::B256::repeat_byte(7),
        block_number: 9,
        log_index: 0,
    }
}

/// Of two grants the first one's recipient refuses; the other is sent.
async fn one_of_two_refused() -> (World, LaneDriver, Vec<GrantId>) {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let grants = queue_with_refused(&mut world, campaign, &[true, false]).await;
    let mut driver = world.driver(1, "a").await;
    step_until_sent(&world, &mut driver).await;
    (world, driver, grants)
}

#[tokio::test]
async fn who_refuses_is_seen_before_anything_is_signed_and_keeps_nobody_waiting() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let grants = queue_with_refused(&mut world, campaign, &[false, true, false, true]).await;
    let mut driver = world.driver(1, "a").await;
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    let batch = submitted(&world).await.remove(0);
    let segment = &batch.segments[0];
    assert_eq!(
        (segment.first_seq, segment.count, &segment.holes[..]),
        (0, 4, &[1, 3][..]),
        "one batch, with holes"
    );
    assert_eq!(segment.total, amount_of(grants[0]).plus(amount_of(grants[2])).unwrap());
    let refused = |grant: usize| (grants[grant], "refused".to_owned());
    assert_eq!(held(&world).await, [refused(1), refused(3)]);
    let confirmed = confirmed(&world, &batch, 1).await;
    assert_eq!(confirmed.segments[0].count, 2);
    tell(&mut world, confirmed).await;
    assert_eq!(held(&world).await.len(), 2, "a hole was not refused by the chain");
    // They are asked again, each alone, and are held once.
    world.clock.advance(TimeDelta::seconds(15));
    for _ in 0..3 {
        assert_eq!(driver.step().await.unwrap(), Progress::Idle);
    }
    assert_eq!(held(&world).await.len(), 2);
    assert_eq!(submitted(&world).await.len(), 1, "asking costs nothing");
    assert_eq!(alerts(&world).await, [], "a recipient that refuses is no alert");
}

#[tokio::test]
async fn who_refuses_for_too_long_is_burned_on_the_chain_and_only_then_fails() {
    let (mut world, mut driver, grants) = one_of_two_refused().await;
    let campaign = grants[0].campaign;
    world.clock.advance(TimeDelta::from_std(GIVE_UP_REFUSED).unwrap() - RESTED);
    driver.step().await.unwrap();
    assert_eq!(submitted(&world).await.len(), 1, "it is tried for a day");
    world.clock.advance(RESTED + RESTED);
    step_until_sent(&world, &mut driver).await;
    let cancelling = submitted(&world).await.remove(1);
    let cancels = cancelling.cancels.expect("it burns the place");
    assert_eq!((cancels.campaign, cancels.seq, cancelling.segments.len()), (campaign, 0, 0));
    world.control.mine(1).await.unwrap();
    assert_eq!(burned(&world, campaign).await, U256::from(0b11), "one is paid, one burned");
    assert_eq!(failed(&world).await, [], "not before the block is final");
    let cancelled = tell_cancelled(&mut world, campaign, 0b01).await;
    let failures = failed(&world).await;
    assert_eq!((failures[0].grant, failures[0].reason.as_str()), (grants[0], "refused"));
    assert_eq!(failures[0].proof, VoidProof::Cancelled { seq: 0, tx: cancelling.tx });
    tell(&mut world, cancelled).await;
    let confirmed = confirmed(&world, &cancelling, 9).await;
    tell(&mut world, confirmed).await;
    assert_eq!(failed(&world).await.len(), 1, "once");
    world.clock.advance(RESTED);
    assert_eq!(driver.step().await.unwrap(), Progress::Idle, "there is nothing to try again");
}

/// Whoever is told first of a burned place, there is one failure, and the place never goes again.
#[tokio::test]
async fn a_burned_place_fails_also_when_its_transaction_is_told_first() {
    let (mut world, mut driver, grants) = one_of_two_refused().await;
    let campaign = grants[0].campaign;
    world.clock.advance(TimeDelta::from_std(GIVE_UP_REFUSED).unwrap() + RESTED);
    step_until_sent(&world, &mut driver).await;
    world.control.mine(1).await.unwrap();
    let cancelling = submitted(&world).await.remove(1);
    let confirmed = confirmed(&world, &cancelling, 9).await;
    tell(&mut world, confirmed).await;
    assert_eq!(failed(&world).await, [], "the transaction alone is no proof");
    tell_cancelled(&mut world, campaign, 0b01).await;
    assert_eq!(failed(&world).await.len(), 1);
    let requeued: i64 =
        sqlx::query_scalar("SELECT count(*) FROM requeues").fetch_one(world.pool()).await.unwrap();
    assert_eq!(requeued, 0);
}

#[tokio::test]
async fn a_cancellation_that_came_to_nothing_is_tried_again() {
    let (mut world, mut driver, _) = one_of_two_refused().await;
    world.clock.advance(TimeDelta::from_std(GIVE_UP_REFUSED).unwrap() + RESTED);
    world.control.pause_mining().await.unwrap();
    step_until_sent(&world, &mut driver).await;
    let cancelling = submitted(&world).await.remove(1);
    let sighting = sighting(&world, &cancelling, 3).await;
    let reverted = BlockchainTxReverted { sighting, gas_used: 1, effective_gas_price: Amount::from(1_u64) };
    tell(&mut world, reverted).await;
    world.clock.advance(RESTED);
    step_until_sent(&world, &mut driver).await;
    assert_eq!(submitted(&world).await[2].cancels, cancelling.cancels);
}

/// Has the token refuse an account, or no more.
async fn refuse(world: &World, account: Address, refused: bool) {
    let call = FussyToken::refuseCall { account, refused };
    world.owner_sends(world.deployed.token, call.abi_encode().into()).await;
}

/// A world whose token refuses whom it is told to, and grants of three players with these wallets.
async fn fussy() -> (World, CampaignId, Vec<GrantId>, Vec<Address>) {
    let mut world = World::new().await;
    // It keeps balances where the other one does.
    let (token, code) = (world.deployed.token.to_string(), FussyToken::DEPLOYED_BYTECODE.to_string());
    world.control.set_code(&token, &code).await.unwrap();
    let campaign = world.campaign(7).await;
    let (mut players, mut wallets) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let (player, wallet) = world.player_with_wallet().await;
        players.push(player);
        wallets.push(wallet);
    }
    let grants = world.request(campaign, &players).await;
    drain(&mut world.grants).await;
    (world, campaign, grants, wallets)
}

async fn paid(world: &World, wallet: Address, grant: GrantId) -> bool {
    U256::from(world.balance(wallet).await) == amount_of(grant).units()
}

#[tokio::test]
async fn who_does_not_refuse_any_more_is_paid_with_the_same_place() {
    let (world, _, grants, wallets) = fussy().await;
    refuse(&world, wallets[1], true).await;
    let mut driver = world.driver(1, "a").await;
    step_until_sent(&world, &mut driver).await;
    assert_eq!(held(&world).await, [(grants[1], "refused".to_owned())]);
    assert_eq!(submitted(&world).await[0].segments[0].holes, [1], "it is seen before anything is signed");
    refuse(&world, wallets[1], false).await;
    world.clock.advance(TimeDelta::seconds(20));
    step_until_sent(&world, &mut driver).await;
    world.control.mine(1).await.unwrap();
    let again = submitted(&world).await.remove(1);
    assert_eq!((again.segments[0].first_seq, again.segments[0].count), (1, 1));
    assert!(paid(&world, wallets[1], grants[1]).await);
}

async fn vault_has(world: &World, units: u8) {
    // Where the token keeps the vault's balance.
    let slot = keccak256([world.deployed.vault.as_slice(), &[0; 8], &[0x87, 0xa2, 0x11, 0xa2]].concat());
    let units = B256::with_last_byte(units).to_string();
    world.control.set_storage(&world.deployed.token.to_string(), &slot.to_string(), &units).await.unwrap();
}

/// An issuer has taken tokens out of the vault: that is nobody's refusal, and no place is burned for it.
#[tokio::test]
async fn a_vault_that_has_too_little_is_told_of_and_burns_nothing() {
    let (world, .., wallets) = fussy().await;
    vault_has(&world, 2).await;
    let mut driver = world.driver(1, "a").await;
    step_until_sent(&world, &mut driver).await;
    // A node that mines what it is sent does so when it has answered.
    world.control.mine(1).await.unwrap();
    assert_eq!(world.balance(world.deployed.vault).await, 1, "the first one is paid, the others need more");
    assert_eq!(submitted(&world).await[0].segments[0].holes, [1, 2]);
    world.clock.advance(TimeDelta::from_std(GIVE_UP_REFUSED).unwrap() + RESTED);
    for _ in 0..8 {
        assert_eq!(driver.step().await.unwrap(), Progress::Idle);
        world.clock.advance(TimeDelta::seconds(20));
    }
    let told: Vec<String> = alerts(&world).await.into_iter().map(|(code, _)| code).collect();
    assert_eq!(told, ["places_set_back", "places_set_back"]);
    // What was short for a day was no refusal: whoever refuses now has the whole time.
    vault_has(&world, 200).await;
    refuse(&world, wallets[1], true).await;
    refuse(&world, wallets[2], true).await;
    for _ in 0..4 {
        world.clock.advance(RESTED);
        assert_eq!(driver.step().await.unwrap(), Progress::Idle);
    }
    refuse(&world, wallets[2], false).await;
    world.clock.advance(RESTED);
    step_until_sent(&world, &mut driver).await;
    assert_eq!(submitted(&world).await[1].segments[0].first_seq, 2);
}

/// Three places of a campaign were paid in a final block by somebody else.
fn stolen(world: &World, campaign: CampaignId, first_seq: u64, vault: Address) -> BlockchainTxConfirmed {
    let sighting = Sighting {
        chain_id: world.deployed.chain_id,
        vault,
        transition: 1,
        tx: B256::repeat_byte(7),
        batch: None,
        block_number: 9,
        block_hash: B256::repeat_byte(8),
    };
    let settled = SettledSegment {
        log_index: 0,
        campaign,
        first_seq,
        count: 3,
        total: Amount::from(3_u64),
        words_hash: B256::repeat_byte(9),
        paid: PaidMask::run(first_seq, 3).into_words(),
    };
    let (gas_used, effective_gas_price) = (1, Amount::from(1_u64));
    BlockchainTxConfirmed { sighting, gas_used, effective_gas_price, segments: vec![settled] }
}

/// What waited before and behind the six places after the second goes in two batches around them.
async fn assert_passed_over(world: &World) {
    let mut driver = world.driver(1, "a").await;
    step_until_sent(world, &mut driver).await;
    step_until_sent(world, &mut driver).await;
    let sent = submitted(world).await;
    let segments: Vec<_> =
        sent.iter().map(|batch| (batch.segments[0].first_seq, batch.segments[0].count)).collect();
    assert_eq!(segments, [(0, 2), (8, 2)]);
}

/// The recovery may have compared the payments by then.
#[tokio::test]
async fn what_somebody_else_has_paid_in_quarantine_is_passed_over_at_its_end() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    world.queue(campaign, 2).await;
    let recovery = Recovery::new(world.pool().clone(), Vec::new());
    recovery.begin(world.now(), uuid::Uuid::from_u128(1), "it was restored").await.unwrap();
    let confirmed = stolen(&world, campaign, 5, world.deployed.vault);
    tell(&mut world, confirmed).await;
    conclude(&world).await;
    world.queue(campaign, 2).await;
    assert_passed_over(&world).await;
}

/// Ends the quarantine, as `laurel recover` does.
pub(crate) async fn conclude(world: &World) {
    let mut tx = world.pool().begin().await.unwrap();
    let quarantine = lock_quarantine(&mut tx).await.unwrap().expect("it is in quarantine");
    let (_, events) = Recovery::conclude(&mut tx, world.now(), &quarantine, &[]).await.unwrap();
    append(&mut tx, &Context::at(world.now()), &events).await.unwrap();
    tx.commit().await.unwrap();
}

/// A settlement that is none of ours has used up places: those that it paid are given to nobody, and those that waited before them go.
#[tokio::test]
async fn places_that_somebody_else_has_paid_are_given_to_nobody() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    world.queue(campaign, 2).await;
    let told = [
        stolen(&world, campaign, 5, world.deployed.vault),
        stolen(&world, campaign, 900, Address::repeat_byte(3)),
        stolen(&world, campaign, 1 << 40, world.deployed.vault),
    ];
    for confirmed in told {
        tell(&mut world, confirmed).await;
    }
    world.queue(campaign, 2).await;
    assert_passed_over(&world).await;
}

/// What the chain would have done when it was asked is not what it does: the token's list has changed by then.
#[tokio::test]
async fn who_is_refused_in_the_block_rests_and_is_paid_later_with_the_same_place() {
    let (mut world, _, grants, wallets) = fussy().await;
    let mut driver = world.driver(1, "a").await;
    world.node.set_line(Line::Swallows);
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    world.node.set_line(Line::Good);
    refuse(&world, wallets[1], true).await;
    world.clock.advance(TimeDelta::from_std(MONITOR_TIMEOUT).unwrap());
    driver.step().await.unwrap();
    let first = submitted(&world).await.remove(0);
    assert_eq!((first.segments[0].count, first.segments[0].holes.len()), (3, 0), "all were to be paid");
    let settled = confirmed(&world, &first, 1).await;
    assert_eq!(settled.segments[0].paid, [U256::from(0b101)], "the chain says whom it did not pay");
    tell(&mut world, settled).await;
    assert_eq!(held(&world).await, [(grants[1], "refused".to_owned())]);
    assert!(!paid(&world, wallets[1], grants[1]).await);

    refuse(&world, wallets[1], false).await;
    world.clock.advance(TimeDelta::minutes(9));
    assert_eq!(driver.step().await.unwrap(), Progress::Idle, "it rests");
    world.clock.advance(TimeDelta::minutes(1));
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    let again = submitted(&world).await.remove(1);
    assert_eq!(
        (again.segments[0].first_seq, again.segments[0].count),
        (1, 1),
        "its place, and nobody else's"
    );
    for (wallet, grant) in wallets.iter().zip(&grants) {
        assert!(paid(&world, *wallet, *grant).await);
    }
}

/// A token that knows its balances and transfers nothing to anybody, as one that its owner has paused.
const PAUSED_TOKEN: &str = "0x5f3560e01c6370a08231146011575f5ffd5b63ffffffff5f5260205ff3";

#[tokio::test]
async fn a_paused_token_is_an_alert_and_no_refusal() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    world.queue(campaign, 4).await;
    let token = world.deployed.token;
    let code = world.node.code(token).await.unwrap().to_string();
    world.control.set_code(&token.to_string(), PAUSED_TOKEN).await.unwrap();
    let mut driver = world.driver(1, "a").await;
    for _ in 0..3 {
        assert_eq!(driver.step().await.unwrap(), Progress::Idle);
        world.clock.advance(TimeDelta::seconds(16));
    }
    assert_eq!(submitted(&world).await, []);
    assert_eq!(held(&world).await, []);
    let about = format!("campaign:{campaign}");
    assert_eq!(alerts(&world).await, [("settlement_would_revert".to_owned(), about)]);
    world.control.set_code(&token.to_string(), &code).await.unwrap();
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    assert_eq!(alerts(&world).await, []);
    assert_eq!(submitted(&world).await[0].segments[0].count, 4);
}

#[tokio::test]
async fn what_a_released_campaign_has_under_way_fails_once_no_batch_can_pay_it() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    world.control.pause_mining().await.unwrap();
    // Four in a batch that will not be mined, one in the queue, one that awaits a wallet.
    let grants = world.queue(campaign, 5).await;
    let late = world.player().await;
    let waiting = world.request(campaign, &[late]).await[0];
    drain(&mut world.grants).await;
    let mut driver = world.driver(1, "a").await;
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    let batch = submitted(&world).await.remove(0);
    let sighting = sighting(&world, &batch, 3).await;
    let released = release_of(&world, campaign);
    tell(&mut world, released.clone()).await;
    assert_eq!(failed(&world).await, [], "the batch may yet be found in an earlier block");
    let reverted = BlockchainTxReverted { sighting, gas_used: 1, effective_gas_price: Amount::from(1_u64) };
    tell(&mut world, reverted).await;
    let failures = failed(&world).await;
    let mut named: Vec<GrantId> = failures.iter().map(|failed| failed.grant).collect();
    named.sort_unstable();
    assert_eq!(named[..5], grants);
    assert_eq!(named[5..], [waiting], "what awaits a wallet waits for nothing any more");
    for failed in &failures {
        let proof = match failed.grant {
            grant if grant == waiting => VoidProof::NeverQueued,
            grant => VoidProof::Released { seq: grant.number, tx: released.tx },
        };
        assert_eq!((failed.reason.as_str(), &failed.proof), ("campaign_released", &proof));
    }
    // A wallet that comes later changes nothing, and who is granted something later is told so at once.
    world.link(late).await;
    let poor = world.player().await;
    let (rich, _) = world.player_with_wallet().await;
    let later = world.request(campaign, &[poor, rich]).await;
    drain(&mut world.grants).await;
    let told = failed(&world).await.split_off(6);
    let proofs: BTreeMap<GrantId, VoidProof> =
        told.into_iter().map(|failed| (failed.grant, failed.proof)).collect();
    let placed = VoidProof::Released { seq: 5, tx: released.tx };
    assert_eq!(proofs, BTreeMap::from([(later[0], VoidProof::NeverQueued), (later[1], placed)]));
    world.clock.advance(RESTED);
    assert_eq!(driver.step().await.unwrap(), Progress::Idle, "nothing is left to send");
}

/// The last two batches of a released campaign end in two transactions that do not see each other.
#[tokio::test]
async fn of_two_last_batches_that_end_at_once_the_second_fails_what_is_left() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    world.control.pause_mining().await.unwrap();
    let grants = world.queue(campaign, 8).await;
    for account in [1, 2] {
        assert_eq!(world.driver(account, "a").await.step().await.unwrap(), Progress::Sent);
    }
    let batches = submitted(&world).await;
    let released = release_of(&world, campaign);
    tell(&mut world, released).await;
    let failed = both_revert_at_once(&world, &batches, 3).await;
    assert_eq!(failed, [0, grants.len()], "while the other batch is open nothing fails");
}

/// Two batches revert in two transactions that do not see each other. Returns how much follows from each.
pub(crate) async fn both_revert_at_once(
    world: &World,
    batches: &[BlockchainTxSubmitted],
    transition: u64,
) -> [usize; 2] {
    let mut conn = world.pool().acquire().await.unwrap();
    for (batch, transition) in batches.iter().zip(transition..) {
        let sighting = sighting(world, batch, transition).await;
        let reverted =
            BlockchainTxReverted { sighting, gas_used: 1, effective_gas_price: Amount::from(1_u64) };
        append(&mut conn, &Context::at(world.now()), &[reverted.into()]).await.unwrap();
    }
    drop(conn);
    let is_told = |envelope: &Envelope| matches!(&envelope.event, Event::BlockchainTxReverted(event) if event.sighting.transition >= transition);
    let mut events = world.events(&[EventKind::BlockchainTxReverted]).await;
    events.retain(is_told);
    let (Some(other), Some(one), None) = (events.pop(), events.pop(), events.pop()) else {
        panic!("two revert")
    };
    let (now, stage) = (world.now(), SettlementStage);
    let mut first = world.pool().begin().await.unwrap();
    let follows = stage.handle(&mut first, now, &[one]).await.unwrap().len();
    let mut second = world.pool().begin().await.unwrap();
    let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *second).await.unwrap();
    let second = tokio::spawn(async move {
        let follows = stage.handle(&mut second, now, &[other]).await.unwrap();
        second.commit().await.unwrap();
        follows.len()
    });
    // It either waits for the first one or is done.
    let waits = "SELECT cardinality(pg_blocking_pids($1)) > 0";
    until(async || {
        second.is_finished() || sqlx::query_scalar(waits).bind(backend).fetch_one(world.pool()).await.unwrap()
    })
    .await;
    first.commit().await.unwrap();
    [follows, second.await.unwrap()]
}

/// The vault's owner burns places, too. Those in the queue are passed over.
#[tokio::test]
async fn a_place_that_somebody_else_burned_fails_and_is_sent_as_a_hole() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let grants = world.queue(campaign, 3).await;
    let cancel = RewardVault::cancelCall { campaign: campaign.on_chain(), word: 0, mask: U256::from(0b010) };
    world.owner_sends(world.deployed.vault, cancel.abi_encode().into()).await;
    let cancelled = burned_by_owner(&world, campaign, 0, 0b010);
    tell(&mut world, cancelled).await;
    assert_eq!(failed(&world).await.iter().map(|failed| failed.grant).collect::<Vec<_>>(), [grants[1]]);
    let mut driver = world.driver(1, "a").await;
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    let batch = submitted(&world).await.remove(0);
    assert_eq!((batch.segments[0].count, &batch.segments[0].holes[..]), (3, &[1][..]));
    let confirmed = confirmed(&world, &batch, 1).await;
    tell(&mut world, confirmed).await;
    assert_eq!(held(&world).await, []);
}

/// Burned before anybody has them, by whoever has a key. Nobody is given one, and who waits for a batch is paid.
#[tokio::test]
async fn places_that_are_burned_before_they_are_given_are_not_given() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let mut grants = world.queue(campaign, 2).await;
    let cancel =
        RewardVault::cancelCall { campaign: campaign.on_chain(), word: 0, mask: U256::from(0b10100) };
    world.owner_sends(world.deployed.vault, cancel.abi_encode().into()).await;
    let burned = burned_by_owner(&world, campaign, 0, 0b10100);
    tell(&mut world, burned.clone()).await;
    tell(&mut world, burned).await;
    grants.extend(world.queue(campaign, 1).await);
    let mut driver = world.driver(1, "a").await;
    step_until_sent(&world, &mut driver).await;
    step_until_sent(&world, &mut driver).await;
    let places = submitted(&world).await.into_iter().flat_map(|batch| batch.segments);
    assert_eq!(
        places.map(|segment| (segment.first_seq, segment.count)).collect::<Vec<_>>(),
        [(0, 2), (5, 1)]
    );
    world.control.mine(1).await.unwrap();
    assert_eq!(total_paid(&world, &grants).await, owed(&grants));
    assert_eq!(failed(&world).await, []);
}

/// Nothing of it is ours: a place beyond all numbers, and a vault of another chain with a campaign of this number.
#[tokio::test]
async fn what_cannot_be_ours_is_neither_failed_nor_in_the_way() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let grants = world.queue(campaign, 2).await;
    // As far ahead as the chain has numbers, and where nobody will be given a place for long: the queue stays where it is.
    for word in [u64::MAX >> 8, 1 << 17] {
        let beyond = burned_by_owner(&world, campaign, word, 1);
        tell(&mut world, beyond).await;
    }
    let next: i64 = sqlx::query_scalar("SELECT next_seq FROM queues").fetch_one(world.pool()).await.unwrap();
    assert_eq!(next, 2);
    let elsewhere = GrantsCancelled { chain_id: 2, ..burned_by_owner(&world, campaign, 0, 0b11) };
    tell(&mut world, elsewhere).await;
    let elsewhere = CampaignReleased { chain_id: 2, ..release_of(&world, campaign) };
    tell(&mut world, elsewhere).await;
    assert_eq!(failed(&world).await, []);
    let mut driver = world.driver(1, "a").await;
    assert_eq!(driver.step().await.unwrap(), Progress::Sent);
    world.control.mine(1).await.unwrap();
    assert_eq!(total_paid(&world, &grants).await, owed(&grants));
}

/// What the books release of one portion has the next one fail.
#[tokio::test]
async fn a_released_campaign_fails_portion_by_portion() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let (player, _) = world.player_with_wallet().await;
    let grants = world.request(campaign, &[player; 1_300]).await;
    drain(&mut world.grants).await;
    let released = release_of(&world, campaign);
    tell(&mut world, released).await;
    let mut portions = Vec::new();
    let mut told = failed(&world).await;
    while told.len() > portions.iter().sum::<usize>() {
        let last = told.split_off(portions.iter().sum());
        portions.push(last.len());
        let TokenGrantFailed { grant, amount, .. } = last[0];
        tell(&mut world, BudgetReleased { grant, amount }).await;
        told = failed(&world).await;
    }
    assert_eq!(portions, [1_000, 300]);
    told.sort_unstable_by_key(|failed| failed.grant);
    assert_eq!(told.iter().map(|failed| failed.grant).collect::<Vec<_>>(), grants);
}

/// The place that is being burned is the last thing under way. When its transaction has come to nothing, the release decides.
#[tokio::test]
async fn a_release_beside_a_cancellation_fails_what_is_left_when_that_has_ended() {
    let (mut world, mut driver, grants) = one_of_two_refused().await;
    let campaign = grants[0].campaign;
    let settled = submitted(&world).await.remove(0);
    world.clock.advance(TimeDelta::from_std(GIVE_UP_REFUSED).unwrap() + RESTED);
    world.control.pause_mining().await.unwrap();
    step_until_sent(&world, &mut driver).await;
    let cancelling = submitted(&world).await.remove(1);
    let paid = confirmed(&world, &settled, 2).await;
    tell(&mut world, paid).await;
    let released = release_of(&world, campaign);
    tell(&mut world, released).await;
    assert_eq!(failed(&world).await, [], "the place may yet be burned");
    let sighting = sighting(&world, &cancelling, 3).await;
    let reverted = BlockchainTxReverted { sighting, gas_used: 1, effective_gas_price: Amount::from(1_u64) };
    sqlx::query("UPDATE segments SET posted_at = now()").execute(world.pool()).await.unwrap();
    tell(&mut world, reverted).await;
    let failures = failed(&world).await;
    assert_eq!(failures.iter().map(|failed| failed.grant).collect::<Vec<_>>(), [grants[0]]);
    assert_eq!(failures[0].reason, "campaign_released");
}

/// What waits here may have been paid in what the database has lost, before its campaign was released.
#[tokio::test]
async fn in_quarantine_nothing_fails_for_want_of_its_campaign_or_of_a_wallet() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let grants = world.queue(campaign, 2).await;
    let late = world.player().await;
    world.request(campaign, &[late]).await;
    drain(&mut world.grants).await;
    // It has to begin: nobody has noticed yet.
    let other = "INSERT INTO identity (epoch, database_id, timeline, noted_at)
                 SELECT gen_random_uuid(), database_id, timeline + 1, now() FROM present_identity()";
    sqlx::query(other).execute(world.pool()).await.unwrap();
    let released = release_of(&world, campaign);
    tell(&mut world, released).await;
    world.clock.advance(TimeDelta::days(30));
    fire_timers(world.pool(), &Wakes::new().0, world.now()).await.unwrap();
    assert!(world.grants.round().await.is_err(), "the deadline waits for the recovery");
    assert_eq!(failed(&world).await, []);
    // As the recovery does when it ends: there are three days more.
    sqlx::query("DELETE FROM identity").execute(world.pool()).await.unwrap();
    sqlx::query("UPDATE exceptions SET wallet_until = $1 WHERE state = 'awaiting_wallet'")
        .bind(world.now() + TimeDelta::days(3))
        .execute(world.pool())
        .await
        .unwrap();
    drain(&mut world.grants).await;
    assert_eq!(failed(&world).await, []);
    world.clock.advance(TimeDelta::days(4));
    world.fire_timers().await;
    let failed = failed(&world).await;
    assert_eq!(failed.len(), 1, "only the one that had no place: {failed:?}");
    assert!(!grants.contains(&failed[0].grant));
}
