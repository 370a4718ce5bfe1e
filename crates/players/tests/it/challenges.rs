//! Challenges of EIP-4361, answered by keys.

use chrono::TimeDelta;
use laurel_chain::LaneSigner;
use laurel_events::{EventKind, Partition, WalletKind};
use laurel_ledger::read;
use laurel_players::{CHALLENGE_LIFETIME, LinkError, wallet_of};

use crate::world::{CHAIN, World, key, no_node};

#[tokio::test]
async fn the_message_is_what_the_standard_prescribes() {
    let world = World::new().await;
    let player = world.player("anna").await;
    let challenge = world.challenge(player, key(1).address()).await;
    let lines: Vec<&str> = challenge.message.lines().collect();
    let expected = [
        "laurel.example wants you to sign in with your Ethereum account:".to_owned(),
        "0x70997970C51812dc3A010C7d01b50e0d17dc79C8".to_owned(),
        String::new(),
        "Rewards are to be paid to this wallet.".to_owned(),
        String::new(),
        "URI: https://laurel.example".to_owned(),
        "Version: 1".to_owned(),
        "Chain ID: 31337".to_owned(),
        format!("Nonce: {}", challenge.nonce),
        "Issued At: 2026-01-01T00:00:00.000Z".to_owned(),
        "Expiration Time: 2026-01-01T00:10:00.000Z".to_owned(),
        format!("Request ID: {player}"),
    ];
    assert_eq!(lines, expected);
    // At least 8 letters and digits, of which nobody can guess the next.
    assert!(challenge.nonce.len() == 32 && challenge.nonce.chars().all(char::is_alphanumeric));
    assert_ne!(world.challenge(player, key(1).address()).await.nonce, challenge.nonce);
}

#[tokio::test]
async fn a_key_that_signed_its_challenge_is_linked() {
    let world = World::new().await;
    let player = world.linked("anna", &key(1)).await;
    let mut conn = world.database.pool().acquire().await.unwrap();
    let wallet = wallet_of(&mut conn, CHAIN, player).await.unwrap().unwrap();
    assert_eq!((wallet.address, wallet.kind, wallet.version), (key(1).address(), WalletKind::Key, 1));
    assert!(wallet_of(&mut conn, 1, player).await.unwrap().is_none(), "for its chain only");
    let mut told = 0;
    for partition in Partition::all() {
        let (events, _) = read(&mut conn, partition, 0, 9, &[EventKind::WalletLinked], 9).await.unwrap();
        told += events.len();
    }
    assert_eq!(told, 1);
}

#[tokio::test]
async fn another_keys_signature_or_none_is_refused() {
    let world = World::new().await;
    let player = world.player("anna").await;
    let challenge = world.challenge(player, key(1).address()).await;
    let other = key(2).sign_message(challenge.message.as_bytes()).unwrap();
    let mut broken = key(1).sign_message(challenge.message.as_bytes()).unwrap().to_vec();
    broken[40] ^= 1;
    let chain = crate::world::Chain::new().await;
    for signature in [other, broken.into(), Vec::new().into(), vec![0xff; 65].into(), vec![1; 64].into()] {
        let refused = world.prove(&chain.node, player, &challenge.message, signature.clone()).await;
        assert!(matches!(refused, Err(LinkError::WrongSignature { .. })), "{signature}: {refused:?}");
    }
    // The right one still counts.
    let signature = key(1).sign_message(challenge.message.as_bytes()).unwrap();
    world.prove(&chain.node, player, &challenge.message, signature).await.unwrap();
}

#[tokio::test]
async fn a_challenge_counts_until_it_expires_to_the_millisecond() {
    let world = World::new().await;
    let player = world.player("anna").await;
    let challenge = world.challenge(player, key(1).address()).await;
    let signature = key(1).sign_message(challenge.message.as_bytes()).unwrap();
    world.pass(CHALLENGE_LIFETIME - TimeDelta::milliseconds(1));
    let wallet = world.prove(&no_node(), player, &challenge.message, signature.clone()).await.unwrap();
    world.pass(TimeDelta::milliseconds(1));
    let stale = world.prove(&no_node(), player, &challenge.message, signature).await;
    assert!(matches!(stale, Err(LinkError::StaleChallenge)), "{stale:?}");
    // It expired between the proof and the link.
    let stale = world.link(player, &wallet).await;
    assert!(matches!(stale, Err(LinkError::StaleChallenge)), "{stale:?}");
}

#[tokio::test]
async fn a_challenge_is_answered_once() {
    let world = World::new().await;
    let player = world.player("anna").await;
    let challenge = world.challenge(player, key(1).address()).await;
    let signature = key(1).sign_message(challenge.message.as_bytes()).unwrap();
    let first = world.prove(&no_node(), player, &challenge.message, signature.clone()).await.unwrap();
    let second = world.prove(&no_node(), player, &challenge.message, signature.clone()).await.unwrap();
    let (one, two) = tokio::join!(world.link(player, &first), world.link(player, &second));
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    let reused = world.prove(&no_node(), player, &challenge.message, signature).await;
    assert!(matches!(reused, Err(LinkError::StaleChallenge)), "{reused:?}");
}

#[tokio::test]
async fn another_players_challenge_is_none() {
    let world = World::new().await;
    let (anna, bert) = (world.player("anna").await, world.player("bert").await);
    let challenge = world.challenge(anna, key(1).address()).await;
    let signature = key(1).sign_message(challenge.message.as_bytes()).unwrap();
    let refused = world.prove(&no_node(), bert, &challenge.message, signature).await;
    assert!(matches!(refused, Err(LinkError::UnknownChallenge)), "{refused:?}");
}

#[tokio::test]
async fn a_message_that_was_changed_is_no_challenge() {
    let world = World::new().await;
    let player = world.player("anna").await;
    let challenge = world.challenge(player, key(1).address()).await;
    let changed = [
        challenge.message.replace("laurel.example wants", "evil.example wants"),
        challenge.message.replace("URI: https://laurel.example", "URI: https://evil.example"),
        challenge.message.replace("Chain ID: 31337", "Chain ID: 1"),
        challenge.message.replace(&key(1).address().to_checksum(None), &key(2).address().to_checksum(None)),
        challenge.message.replace("Expiration Time: 2026", "Expiration Time: 2027"),
        challenge.message.replace("Nonce: ", "Nonce: 0"),
        format!("{}\n", challenge.message),
        challenge.message.replace("Nonce: ", "nonce: "),
        String::new(),
    ];
    for message in changed {
        assert_ne!(message, challenge.message);
        // Signed by whoever the changed message names.
        for signer in [key(1), key(2)] {
            let signature = signer.sign_message(message.as_bytes()).unwrap();
            let refused = world.prove(&no_node(), player, &message, signature).await;
            assert!(matches!(refused, Err(LinkError::UnknownChallenge)), "{message}: {refused:?}");
        }
    }
}

#[tokio::test]
async fn who_comes_for_a_challenge_sweeps_out_the_old_ones() {
    let world = World::new().await;
    let player = world.player("anna").await;
    for _ in 0..3 {
        world.challenge(player, key(1).address()).await;
    }
    world.pass(CHALLENGE_LIFETIME + TimeDelta::milliseconds(1));
    world.challenge(player, key(1).address()).await;
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM wallet_challenges")
        .fetch_one(world.database.pool())
        .await
        .unwrap();
    assert_eq!(kept, 1);
}
