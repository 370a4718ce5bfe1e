//! Grants of contract wallets wait until the contract was asked again, and reserved recipients are never queued.

use std::sync::Arc;

use alloy::primitives::{Address, Bytes, hex};
use chrono::TimeDelta;
use laurel_bus::Wakes;
use laurel_chain::{ChainNode, GrantWord, LaneSigner, NonceAt, TxRequest};
use laurel_devnet::testing::{CONTRACT_WALLET, CONTRACT_WALLET_SIGNATURE};
use laurel_events::{Event, EventKind, GrantId, PlayerId, WalletKind, WalletLinked};
use laurel_grant_saga::WalletChecker;
use laurel_ledger::{Context, append};

use crate::world::{World, drain, key};

/// The development account that deploys the contract wallet and owns nothing else here.
const DEPLOYER: usize = 5;

/// Deploys a contract wallet.
async fn contract(world: &World) -> Address {
    let signer = key(DEPLOYER);
    let nonce = world.node.nonce(signer.address(), NonceAt::Latest).await.unwrap();
    let fees = world.node.fees().await.unwrap();
    let request = TxRequest {
        chain_id: world.deployed.chain_id,
        nonce,
        to: None,
        data: hex::decode(CONTRACT_WALLET).unwrap().into(),
        gas_limit: 300_000,
        max_fee_per_gas: fees.base_fee * 2 + fees.priority_fee,
        max_priority_fee_per_gas: fees.priority_fee,
    };
    world.node.send(signer.sign(&request).unwrap().raw).await.unwrap();
    world.control.mine(1).await.unwrap();
    let wallet = signer.address().create(nonce);
    assert!(!world.node.code(wallet).await.unwrap().is_empty());
    wallet
}

/// The contract wallet accepts nothing from now on.
async fn refuse(world: &World, wallet: Address) {
    world.sends(DEPLOYER, wallet, Bytes::new()).await;
}

/// Links a wallet as the player's, with the proof that a contract needs.
async fn link(world: &World, player: PlayerId, wallet: Address, kind: WalletKind) {
    let mut tx = world.pool().begin().await.unwrap();
    let contract = kind == WalletKind::Contract;
    let version: i32 = sqlx::query_scalar(
        "INSERT INTO wallets (player, chain_id, address, kind, version, proof_hash, proof_signature, linked_at)
         VALUES ($1, $2, $3, $4, 1, $5, $6, $7)
         ON CONFLICT (player, chain_id) DO UPDATE
         SET address = EXCLUDED.address, kind = EXCLUDED.kind, version = wallets.version + 1,
             proof_hash = EXCLUDED.proof_hash, proof_signature = EXCLUDED.proof_signature,
             linked_at = EXCLUDED.linked_at
         RETURNING version",
    )
    .bind(player.uuid())
    .bind(world.deployed.chain_id.cast_signed())
    .bind(wallet.as_slice())
    .bind(if contract { "contract" } else { "key" })
    .bind(contract.then_some([7_u8; 32].as_slice()))
    .bind(contract.then_some(CONTRACT_WALLET_SIGNATURE.as_slice()))
    .bind(world.now())
    .fetch_one(&mut *tx)
    .await
    .unwrap();
    let chain_id = world.deployed.chain_id;
    let linked = WalletLinked { player, chain_id, wallet, kind, version };
    append(&mut tx, &Context::at(world.now()), &[linked.into()]).await.unwrap();
    tx.commit().await.unwrap();
}

fn checker_of(world: &World, holder: &str) -> WalletChecker {
    WalletChecker::new(
        world.deployed.chain_id,
        world.node.clone(),
        world.pool().clone(),
        world.clock.clone(),
        Wakes::new().0,
        holder.to_owned(),
    )
}

/// A grant's state and the reason for it.
async fn state(world: &World, grant: GrantId) -> (String, Option<String>) {
    sqlx::query_as("SELECT state, reason FROM exceptions WHERE campaign = $1 AND number = $2")
        .bind(grant.campaign.number())
        .bind(grant.number.cast_signed())
        .fetch_one(world.pool())
        .await
        .unwrap()
}

fn held(reason: &str) -> (String, Option<String>) {
    ("held".to_owned(), Some(reason.to_owned()))
}

fn queued() -> (String, Option<String>) {
    ("queued".to_owned(), None)
}

/// Whom the places that were given pay, in the order of the sequence numbers.
fn failed() -> (String, Option<String>) {
    ("failed".to_owned(), Some("wallet_deadline_passed".to_owned()))
}

async fn paid_to(world: &World) -> Vec<(u64, Address)> {
    let mut started: Vec<_> = world
        .events(&[EventKind::TokenGrantStarted])
        .await
        .into_iter()
        .map(|envelope| match envelope.event {
            Event::TokenGrantStarted(started) => {
                (started.seq, GrantWord::decode(started.word).unwrap().recipient())
            }
            _ => panic!("not asked for"),
        })
        .collect();
    started.sort_unstable();
    started
}

#[tokio::test]
async fn a_contract_that_still_accepts_lets_its_grants_go_on() {
    let mut world = World::new().await;
    let (campaign, wallet) = (world.campaign(7).await, contract(&world).await);
    let player = world.player().await;
    // One grant before the link, two after it.
    let mut grants = world.request(campaign, &[player]).await;
    drain(&mut world.grants).await;
    assert_eq!(state(&world, grants[0]).await.0, "awaiting_wallet");
    link(&world, player, wallet, WalletKind::Contract).await;
    grants.extend(world.request(campaign, &[player, player]).await);
    drain(&mut world.grants).await;
    for grant in &grants {
        assert_eq!(state(&world, *grant).await, held("wallet_check"));
    }
    assert!(paid_to(&world).await.is_empty());
    let mut checker = checker_of(&world, "a");
    assert_eq!(checker.round().await.unwrap(), 1);
    for grant in &grants {
        assert_eq!(state(&world, *grant).await, queued());
    }
    assert_eq!(paid_to(&world).await, [(0, wallet), (1, wallet), (2, wallet)]);
    assert_eq!(checker.round().await.unwrap(), 0);
    // The next grant is asked about again.
    let next = world.request(campaign, &[player]).await[0];
    drain(&mut world.grants).await;
    assert_eq!(state(&world, next).await, held("wallet_check"));
    assert_eq!(checker.round().await.unwrap(), 1);
    assert_eq!(state(&world, next).await, queued());
    // And it is paid like any other.
    let mut lane = world.driver(1, "a").await;
    lane.step().await.unwrap();
    assert_eq!(world.balance(wallet).await, 1 + 2 + 3 + 4);
}

#[tokio::test]
async fn a_contract_that_refuses_keeps_its_grants_held_until_another_wallet_comes() {
    let mut world = World::new().await;
    let (campaign, wallet) = (world.campaign(7).await, contract(&world).await);
    let player = world.player().await;
    link(&world, player, wallet, WalletKind::Contract).await;
    let grant = world.request(campaign, &[player]).await[0];
    drain(&mut world.grants).await;
    refuse(&world, wallet).await;
    let mut checker = checker_of(&world, "a");
    assert_eq!(checker.round().await.unwrap(), 1);
    assert_eq!(state(&world, grant).await, held("wallet_refused"));
    assert_eq!(checker.round().await.unwrap(), 0, "it is not asked over and over");
    let reasons: Vec<String> = world
        .events(&[EventKind::TokenGrantHeld])
        .await
        .into_iter()
        .map(|envelope| match envelope.event {
            Event::TokenGrantHeld(held) => held.reason,
            _ => panic!("not asked for"),
        })
        .collect();
    assert_eq!(reasons, ["wallet_check", "wallet_refused"]);

    let own = Address::repeat_byte(0x77);
    link(&world, player, own, WalletKind::Key).await;
    drain(&mut world.grants).await;
    assert_eq!(state(&world, grant).await, queued());
    assert_eq!(paid_to(&world).await, [(0, own)]);
}

#[tokio::test]
async fn a_chain_that_does_not_answer_decides_nothing() {
    let mut world = World::new().await;
    let (campaign, wallet) = (world.campaign(7).await, contract(&world).await);
    let players = [world.player().await, world.player().await];
    for player in players {
        link(&world, player, wallet, WalletKind::Contract).await;
    }
    let grants = world.request(campaign, &players).await;
    drain(&mut world.grants).await;
    let silent: Arc<dyn ChainNode> = Arc::new(laurel_chain::HttpNode::new("http://127.0.0.1:1").unwrap());
    let mut deaf = WalletChecker::new(
        world.deployed.chain_id,
        silent,
        world.pool().clone(),
        world.clock.clone(),
        Wakes::new().0,
        "a".to_owned(),
    );
    assert!(deaf.round().await.is_err());
    for grant in &grants {
        assert_eq!(state(&world, *grant).await, held("wallet_check"));
    }
    // The same holder with a chain.
    assert_eq!(checker_of(&world, "a").round().await.unwrap(), 2);
    assert_eq!(paid_to(&world).await.len(), 2);
}

#[tokio::test]
async fn one_replica_asks_at_a_time_and_a_dead_one_is_replaced() {
    let mut world = World::new().await;
    let (campaign, wallet) = (world.campaign(7).await, contract(&world).await);
    let player = world.player().await;
    link(&world, player, wallet, WalletKind::Contract).await;
    world.request(campaign, &[player]).await;
    drain(&mut world.grants).await;
    let mut first = checker_of(&world, "a");
    assert_eq!(first.round().await.unwrap(), 1);
    world.request(campaign, &[player]).await;
    drain(&mut world.grants).await;
    let mut second = checker_of(&world, "b");
    assert_eq!(second.round().await.unwrap(), 0, "the lease is another's");
    world.clock.advance(chrono::TimeDelta::seconds(15));
    assert_eq!(second.round().await.unwrap(), 1);
    assert_eq!(paid_to(&world).await, [(0, wallet), (1, wallet)]);
}

#[tokio::test]
async fn a_link_in_the_middle_of_the_question_makes_the_answer_void() {
    let mut world = World::new().await;
    let (campaign, wallet) = (world.campaign(7).await, contract(&world).await);
    let player = world.player().await;
    link(&world, player, wallet, WalletKind::Contract).await;
    let grant = world.request(campaign, &[player]).await[0];
    drain(&mut world.grants).await;
    // A link that is not committed yet holds the wallet; the checker has read the old one and asked about it.
    let own = Address::repeat_byte(0x77);
    let mut linking = world.pool().begin().await.unwrap();
    sqlx::query("UPDATE wallets SET address = $1, kind = 'key', version = version + 1 WHERE player = $2")
        .bind(own.as_slice())
        .bind(player.uuid())
        .execute(&mut *linking)
        .await
        .unwrap();
    let mut checker = checker_of(&world, "a");
    let mut asking = tokio::spawn(async move { checker.round().await });
    wait_until_blocked(&world).await;
    assert!(!asking.is_finished());
    linking.commit().await.unwrap();
    assert_eq!((&mut asking).await.unwrap().unwrap(), 0);
    assert_eq!(state(&world, grant).await, held("wallet_check"));
    assert!(paid_to(&world).await.is_empty());
    // The link's event is what lets it go on.
    let chain_id = world.deployed.chain_id;
    let linked = WalletLinked { player, chain_id, wallet: own, kind: WalletKind::Key, version: 2 };
    let mut conn = world.pool().acquire().await.unwrap();
    append(&mut conn, &Context::at(world.now()), &[linked.into()]).await.unwrap();
    drop(conn);
    drain(&mut world.grants).await;
    assert_eq!(paid_to(&world).await, [(0, own)]);
}

/// Waits until some session of this database waits for another's lock.
async fn wait_until_blocked(world: &World) {
    loop {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0",
        )
        .fetch_one(world.pool())
        .await
        .unwrap();
        if waiting > 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_wallet_that_became_a_lane_a_token_or_the_vault_is_not_queued() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let lane = key(2).address();
    let mut grants = Vec::new();
    for reserved in [world.deployed.vault, world.deployed.token, lane] {
        let player = world.player().await;
        // Nobody minded when it was linked: it is a lane only since.
        link(&world, player, reserved, WalletKind::Key).await;
        grants.push((player, reserved));
    }
    world.driver(2, "a").await;
    let players: Vec<PlayerId> = grants.iter().map(|(player, _)| *player).collect();
    let (free, wallet) = world.player_with_wallet().await;
    let all = [players.as_slice(), &[free]].concat();
    let requested = world.request(campaign, &all).await;
    drain(&mut world.grants).await;
    for grant in &requested[..3] {
        assert_eq!(state(&world, *grant).await, held("reserved_recipient"));
    }
    assert_eq!(paid_to(&world).await, [(0, wallet)]);
    // Another wallet does away with it.
    let own = Address::repeat_byte(0x77);
    link(&world, players[0], own, WalletKind::Key).await;
    // A second player links the lane again: the grant stays as it is.
    link(&world, players[2], lane, WalletKind::Key).await;
    drain(&mut world.grants).await;
    assert_eq!(paid_to(&world).await, [(0, wallet), (1, own)]);
    assert_eq!(state(&world, requested[2]).await, held("reserved_recipient"));
}

#[tokio::test]
async fn a_grant_that_awaited_a_wallet_is_not_queued_for_a_reserved_one() {
    let mut world = World::new().await;
    let campaign = world.campaign(7).await;
    let player = world.player().await;
    let grant = world.request(campaign, &[player]).await[0];
    drain(&mut world.grants).await;
    link(&world, player, world.deployed.vault, WalletKind::Key).await;
    drain(&mut world.grants).await;
    assert_eq!(state(&world, grant).await, held("reserved_recipient"));
    world.clock.advance(TimeDelta::hours(1));
    world.fire_timers().await;
    assert_eq!(state(&world, grant).await, failed(), "its deadline is the same as before");
}

/// A contract that refuses its own signature must not keep the campaign's money for ever.
#[tokio::test]
async fn a_grant_whose_wallet_refuses_fails_at_the_deadline_unless_another_one_was_linked_in_time() {
    let mut world = World::new().await;
    let (campaign, wallet) = (world.campaign(7).await, contract(&world).await);
    let (gives_up, links_again) = (world.player().await, world.player().await);
    for player in [gives_up, links_again] {
        link(&world, player, wallet, WalletKind::Contract).await;
    }
    let grants = world.request(campaign, &[gives_up, links_again]).await;
    drain(&mut world.grants).await;
    refuse(&world, wallet).await;
    world.clock.advance(TimeDelta::minutes(10));
    assert_eq!(checker_of(&world, "a").round().await.unwrap(), 2);
    world.clock.advance(TimeDelta::minutes(40));
    let own = Address::repeat_byte(0x77);
    link(&world, links_again, own, WalletKind::Key).await;
    world.clock.advance(TimeDelta::minutes(15));
    world.fire_timers().await;
    assert_eq!(state(&world, grants[0]).await, failed());
    assert_eq!(state(&world, grants[1]).await, queued());
    assert_eq!(paid_to(&world).await, [(0, own)]);
}

/// The deadline is handled before the link of a contract that was linked in time; the grant ends one way or another, also
/// if that contract refuses afterwards.
#[tokio::test]
async fn a_contract_linked_just_before_the_deadline_that_refuses_afterwards_keeps_nothing_for_ever() {
    for refuses in [false, true] {
        let mut world = World::new().await;
        let (campaign, wallet) = (world.campaign(7).await, contract(&world).await);
        let mut grants = Vec::new();
        let players =
            [world.player().await, world.player().await, world.player().await, world.player().await];
        for player in players {
            grants.extend(world.request(campaign, &[player]).await);
        }
        drain(&mut world.grants).await;
        world.clock.advance(TimeDelta::minutes(59));
        for player in players {
            link(&world, player, wallet, WalletKind::Contract).await;
        }
        if refuses {
            refuse(&world, wallet).await;
        }
        world.clock.advance(TimeDelta::minutes(2));
        // Links and deadlines lie in many partitions: here one comes first, there the other.
        world.fire_timers().await;
        while checker_of(&world, "a").round().await.unwrap() > 0 {}
        world.clock.advance(TimeDelta::hours(25));
        world.fire_timers().await;
        for grant in grants {
            assert_eq!(state(&world, grant).await, if refuses { failed() } else { queued() });
        }
    }
}

/// A second contract is linked while the first is yet to be asked, and nobody ever can.
#[tokio::test]
async fn two_contracts_that_nobody_can_ask_keep_nothing_for_ever() {
    let mut world = World::new().await;
    let (campaign, first) = (world.campaign(7).await, contract(&world).await);
    let second = contract(&world).await;
    let player = world.player().await;
    link(&world, player, first, WalletKind::Contract).await;
    let grant = world.request(campaign, &[player]).await[0];
    drain(&mut world.grants).await;
    world.clock.advance(TimeDelta::minutes(10));
    link(&world, player, second, WalletKind::Contract).await;
    drain(&mut world.grants).await;
    world.clock.advance(TimeDelta::hours(1));
    world.fire_timers().await;
    assert_eq!(state(&world, grant).await, held("wallet_check"));
    world.clock.advance(TimeDelta::hours(24));
    world.fire_timers().await;
    assert_eq!(state(&world, grant).await, failed());
}

/// Nobody could ask the wallet: that is our delay and not the player's, but not for ever.
#[tokio::test]
async fn a_grant_whose_wallet_was_never_asked_has_a_day_more() {
    let mut world = World::new().await;
    let (campaign, wallet) = (world.campaign(7).await, contract(&world).await);
    let player = world.player().await;
    link(&world, player, wallet, WalletKind::Contract).await;
    let grant = world.request(campaign, &[player]).await[0];
    drain(&mut world.grants).await;
    world.clock.advance(TimeDelta::hours(24));
    world.fire_timers().await;
    assert_eq!(state(&world, grant).await, held("wallet_check"));
    world.clock.advance(TimeDelta::hours(1));
    world.fire_timers().await;
    assert_eq!(state(&world, grant).await, failed());
}

#[tokio::test]
async fn a_contract_that_became_reserved_while_it_was_asked_is_not_queued() {
    let mut world = World::new().await;
    let (campaign, wallet) = (world.campaign(7).await, contract(&world).await);
    let player = world.player().await;
    link(&world, player, wallet, WalletKind::Contract).await;
    let grant = world.request(campaign, &[player]).await[0];
    drain(&mut world.grants).await;
    sqlx::query("INSERT INTO lanes (vault, address, state, next_nonce) VALUES ($1, $2, 'retired', 0)")
        .bind(world.vault.id.0)
        .bind(wallet.as_slice())
        .execute(world.pool())
        .await
        .unwrap();
    assert_eq!(checker_of(&world, "a").round().await.unwrap(), 1);
    assert_eq!(state(&world, grant).await, held("reserved_recipient"));
    assert!(paid_to(&world).await.is_empty());
}
