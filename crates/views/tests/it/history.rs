//! TransactionHistoryView: a grant's steps, in the order in which they were taken, the same when it is rebuilt.

use std::{collections::BTreeMap, sync::Arc};

use alloy_primitives::{Address, B256};
use laurel_chain::GrantWord;
use laurel_events::{
    Amount, AttemptId, BlockchainTxConfirmed, BlockchainTxMined, BlockchainTxReorged, BlockchainTxReverted,
    BlockchainTxSubmitted, BudgetReleased, CampaignId, GameOutcomeRecorded, GrantId, LaneId, OutcomeKey,
    Sighting, Subject, TokenGrantAwaitingWallet, TokenGrantCompleted, TokenGrantFailed, TokenGrantRequested,
    TokenGrantStarted, VoidProof,
};
use laurel_views::{
    CampaignStatsStage, HistoryStage, TimelineEntry, View, find_grant_view, grant_at, grant_timeline, rebuild,
};

use crate::world::{Batch, CHAIN, ORG, TOKEN, WALLET, World, batch_of, player_of, tx_of};

async fn timeline(world: &World, grant: GrantId) -> Vec<TimelineEntry> {
    let mut conn = world.pool().acquire().await.unwrap();
    let view = find_grant_view(&mut conn, ORG, grant).await.unwrap().unwrap();
    grant_timeline(&mut conn, &view).await.unwrap()
}

fn kinds(timeline: &[TimelineEntry]) -> Vec<&'static str> {
    timeline.iter().map(|entry| entry.event.as_str()).collect()
}

/// Records an outcome where [`World::grant`] says that the outcome of a campaign's first grant stands: at 0/0/0.
async fn outcome(world: &World) {
    let player =
        (0..).map(player_of).find(|player| Subject::new("player", player).partition().number() == 0).unwrap();
    let outcome = GameOutcomeRecorded {
        org: ORG,
        issuer: "s".to_owned(),
        outcome: OutcomeKey::derive(ORG, "s", "o"),
        outcome_id: "o".to_owned(),
        game: "quiz".to_owned(),
        player,
        score: 1,
        rank: None,
        attributes: BTreeMap::new(),
    };
    world.append(&[outcome.into()]).await;
}

fn submitted(batch: u128) -> BlockchainTxSubmitted {
    BlockchainTxSubmitted {
        batch: batch_of(batch),
        attempt: AttemptId::from(uuid::Uuid::from_u128(batch)),
        lane: LaneId(1),
        chain_id: CHAIN,
        vault: Address::ZERO,
        nonce: 0,
        tx: tx_of(batch),
        deadline: 1,
        segments: Vec::new(),
        cancels: None,
    }
}

fn seen(batch: u128, transition: u64, block_number: u64) -> Sighting {
    Sighting {
        chain_id: CHAIN,
        vault: Address::ZERO,
        transition,
        tx: tx_of(batch),
        batch: Some(batch_of(batch)),
        block_number,
        block_hash: B256::ZERO,
    }
}

/// A grant whose first batch failed on the chain, and whose second was reorganised out of it once.
async fn a_long_way(world: &World, campaign: CampaignId) -> GrantId {
    let (gas_used, effective_gas_price) = (1, Amount::from(1_u64));
    outcome(world).await;
    world.pass();
    let grant = world.grant(campaign, 1, 5).await;
    world.pass();
    world.run(campaign, 0, &[0], true).await;
    world.pass();
    let segment = |id, state| Batch { id, campaign, first_seq: 0, count: 1, state, posted: false };
    world.batch(segment(1, "reverted")).await;
    world.append(&[submitted(1).into()]).await;
    world.pass();
    world.append(&[BlockchainTxMined { sighting: seen(1, 1, 4) }.into()]).await;
    world.pass();
    let reverted = BlockchainTxReverted { sighting: seen(1, 2, 4), gas_used, effective_gas_price };
    world.append(&[reverted.into()]).await;
    world.pass();
    world.batch(segment(2, "confirmed")).await;
    // Of another grant.
    world.batch(Batch { first_seq: 1, ..segment(3, "submitted") }).await;
    world.append(&[submitted(2).into(), submitted(3).into()]).await;
    world.pass();
    world.append(&[BlockchainTxMined { sighting: seen(2, 3, 8) }.into()]).await;
    world.pass();
    // Told in one transaction: the order of causes decides.
    let mined = BlockchainTxMined { sighting: seen(2, 5, 9) };
    let reorged = BlockchainTxReorged { sighting: seen(2, 4, 8) };
    world.append(&[mined.into(), reorged.into()]).await;
    world.pass();
    let sighting = seen(2, 6, 9);
    let confirmed = BlockchainTxConfirmed { sighting, gas_used, effective_gas_price, segments: Vec::new() };
    world.append(&[confirmed.into()]).await;
    world.pass();
    sqlx::query("UPDATE segments SET posted_at = $1 WHERE batch = $2")
        .bind(world.now())
        .bind(batch_of(2).uuid())
        .execute(world.pool())
        .await
        .unwrap();
    grant
}

#[tokio::test]
async fn the_timeline_has_every_step_in_the_order_in_which_they_were_taken() {
    let world = World::new().await;
    let campaign = world.campaign(7, ORG, TOKEN).await;
    let grant = a_long_way(&world, campaign).await;
    let before = timeline(&world, grant).await;
    let own = ["GameOutcomeRecorded", "TokenGrantRequested", "TokenGrantStarted", "TokenGrantCompleted"];
    assert_eq!(kinds(&before), own, "the view has not got there yet");

    world.drain(Arc::new(HistoryStage)).await;
    let seen = timeline(&world, grant).await;
    let steps: Vec<_> = seen.iter().map(|entry| (entry.event.as_str(), entry.tx, entry.block)).collect();
    let (first, second) = (Some(tx_of(1)), Some(tx_of(2)));
    let expected = [
        ("GameOutcomeRecorded", None, None),
        ("TokenGrantRequested", None, None),
        ("TokenGrantStarted", None, None),
        ("BlockchainTxSubmitted", first, None),
        ("BlockchainTxMined", first, Some(4)),
        ("BlockchainTxReverted", first, Some(4)),
        ("BlockchainTxSubmitted", second, None),
        ("BlockchainTxMined", second, Some(8)),
        ("BlockchainTxReorged", second, Some(8)),
        ("BlockchainTxMined", second, Some(9)),
        ("BlockchainTxConfirmed", second, Some(9)),
        ("TokenGrantCompleted", None, None),
    ];
    assert_eq!(steps, expected);
    assert!(seen.is_sorted_by_key(|entry| entry.at));
}

#[tokio::test]
async fn a_grant_that_failed_says_why() {
    let world = World::new().await;
    let campaign = world.campaign(7, ORG, TOKEN).await;
    let (player, amount) = (player_of(1), Amount::from(5_u64));
    let grant = world.grant(campaign, 1, 5).await;
    let other = world.grant(campaign, 1, 5).await;
    let until = world.pass();
    world.append(&[TokenGrantAwaitingWallet { grant, player, until }.into()]).await;
    world.append(&[TokenGrantAwaitingWallet { grant: other, player, until }.into()]).await;
    world.pass();
    let (reason, proof) = ("wallet_deadline_passed".to_owned(), VoidProof::NeverQueued);
    let failed = TokenGrantFailed { grant, player, amount, reason, proof };
    world.append(&[failed.into(), BudgetReleased { grant, amount }.into()]).await;
    world.drain(Arc::new(HistoryStage)).await;
    let seen = timeline(&world, grant).await;
    let expected = ["TokenGrantRequested", "TokenGrantAwaitingWallet", "TokenGrantFailed", "BudgetReleased"];
    assert_eq!(kinds(&seen), expected);
    assert_eq!(seen[2].reason.as_deref(), Some("wallet_deadline_passed"));
    assert_eq!(kinds(&timeline(&world, other).await), &expected[..2]);
}

#[tokio::test]
async fn rebuilt_it_is_the_same() {
    let world = World::new().await;
    let campaign = world.campaign(7, ORG, TOKEN).await;
    let grant = a_long_way(&world, campaign).await;
    world.drain(Arc::new(HistoryStage)).await;
    let before = timeline(&world, grant).await;
    let lost = "DELETE FROM history WHERE about = (SELECT about FROM history ORDER BY about LIMIT 1)";
    sqlx::query(lost).execute(world.pool()).await.unwrap();
    let mut conn = world.pool().acquire().await.unwrap().detach();
    let built = rebuild(&mut conn, world.now(), View::TransactionHistory).await.unwrap();
    assert!(built.different > 0, "{built:?}");
    assert_eq!(timeline(&world, grant).await, before);
}

/// The events of [`a_long_way`] that a grant shares with others, in the moments in which they were.
async fn told(world: &World, grant: GrantId) {
    let other = |number| GrantId { number, ..grant };
    let requested = |grant| TokenGrantRequested {
        grant,
        outcome: OutcomeKey::derive(ORG, "s", "o"),
        player: player_of(1),
        amount: Amount::from(5_u64),
        rule_version: 3,
        chain_id: CHAIN,
        vault: Address::ZERO,
        wallet_deadline_hours: 1,
    };
    let word = GrantWord::new(WALLET, Amount::from(5_u64)).unwrap().encode();
    let started = |number, seq| TokenGrantStarted { grant: other(number), seq, word };
    let completed = |number, batch| TokenGrantCompleted { grant: other(number), batch: batch_of(batch) };
    let known = timeline(world, grant).await;
    let at = |kind: &str| known.iter().find(|entry| entry.event.as_str() == kind).unwrap().at;
    world.append_at(at("TokenGrantRequested"), &[requested(grant).into(), requested(other(1)).into()]).await;
    world.append_at(at("TokenGrantRequested"), &[requested(other(2)).into()]).await;
    let seats = [started(1, 1).into(), started(0, 0).into(), started(2, 2).into()];
    world.append_at(at("TokenGrantStarted"), &seats).await;
    let paid = [completed(1, 3).into(), completed(0, 2).into()];
    world.append_at(at("TokenGrantCompleted"), &paid).await;
    world.drain(Arc::new(HistoryStage)).await;
    world.drain(Arc::new(CampaignStatsStage)).await;
}

#[tokio::test]
async fn what_thousands_share_is_found_for_each() {
    let world = World::new().await;
    let campaign = world.campaign(7, ORG, TOKEN).await;
    let grant = a_long_way(&world, campaign).await;
    told(&world, grant).await;
    let seen = timeline(&world, grant).await;
    for kind in ["TokenGrantRequested", "TokenGrantStarted", "TokenGrantCompleted"] {
        let own: Vec<_> =
            seen.iter().filter(|entry| entry.event.as_str() == kind && entry.id.is_some()).collect();
        assert_eq!(own.len(), 1, "{kind}: {seen:?}");
    }
    let indexes = |kind: &str| {
        let entry = seen.iter().find(|entry| entry.event.as_str() == kind && entry.id.is_some()).unwrap();
        entry.id.unwrap().index
    };
    assert_eq!(
        (indexes("TokenGrantRequested"), indexes("TokenGrantStarted")),
        (0, 1),
        "of a chunk whose places do not follow"
    );
    assert_eq!(indexes("TokenGrantCompleted"), 1, "the chunk's other batch has the first line");
}

#[tokio::test]
async fn a_grant_was_what_its_steps_had_made_of_it() {
    let world = World::new().await;
    let campaign = world.campaign(7, ORG, TOKEN).await;
    let grant = a_long_way(&world, campaign).await;
    told(&world, grant).await;
    let seen = timeline(&world, grant).await;
    let mut conn = world.pool().acquire().await.unwrap();
    let view = find_grant_view(&mut conn, ORG, grant).await.unwrap().unwrap();
    let mut moments: Vec<_> = seen.iter().map(|entry| entry.at).collect();
    moments.dedup();
    let states: Vec<_> = moments
        .iter()
        .map(|at| grant_at(&view, &seen, *at).map(|past| (past.state, past.seq, past.tx, past.block)))
        .collect();
    let (first, second) = (Some(tx_of(1)), Some(tx_of(2)));
    let expected = [
        None,
        Some(("requested", None, None, None)),
        Some(("queued", Some(0), None, None)),
        Some(("submitted", Some(0), first, None)),
        Some(("mined", Some(0), first, Some(4))),
        Some(("queued", Some(0), first, Some(4))),
        Some(("submitted", Some(0), second, None)),
        Some(("mined", Some(0), second, Some(8))),
        Some(("mined", Some(0), second, Some(9))),
        // The settlement says that it paid nothing of it.
        Some(("held", Some(0), second, Some(9))),
        Some(("completed", Some(0), second, Some(9))),
    ];
    assert_eq!(states, expected);
}
