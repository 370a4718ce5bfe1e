//! Erasing a player while others write what is known of them.

use std::time::Duration;

use laurel_chain::LaneSigner;
use laurel_events::OrgId;
use laurel_ledger::Context;
use laurel_players::{LinkError, erase_player, link_wallet};

use crate::world::{World, key, no_node};

/// How long the others are waited for until they wait.
const WAITING_WITHIN: Duration = Duration::from_secs(20);

async fn until_waiting(world: &World, count: i64) {
    let waiting = async {
        loop {
            let waiting: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
            )
            .fetch_one(world.database.pool())
            .await
            .unwrap();
            if waiting == count {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WAITING_WITHIN, waiting).await.expect("they wait for each other");
}

#[tokio::test]
async fn what_comes_while_a_player_is_erased_finds_nobody() {
    let world = World::new().await;
    let player = world.linked("anna", &key(1)).await;
    let challenge = world.challenge(player, key(2).address()).await;
    let signature = key(2).sign_message(challenge.message.as_bytes()).unwrap();
    let wallet = world.prove(&no_node(), player, &challenge.message, signature).await.unwrap();

    let mut erasing = world.database.pool().begin().await.unwrap();
    let erased = erase_player(&mut erasing, &Context::at(world.now()), OrgId(1), "anna").await.unwrap();
    assert_eq!(erased, Some(player));
    let (linked, asked, ()) =
        tokio::join!(world.link(player, &wallet), world.challenge(player, key(3).address()), async {
            until_waiting(&world, 2).await;
            erasing.commit().await.unwrap();
        });
    assert!(matches!(linked, Err(LinkError::UnknownChallenge)), "{linked:?}");
    let signature = key(3).sign_message(asked.message.as_bytes()).unwrap();
    let proven = world.prove(&no_node(), player, &asked.message, signature).await;
    assert!(matches!(proven, Err(LinkError::UnknownChallenge)), "{proven:?}");
    let known: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM wallets WHERE address IS NOT NULL) + (SELECT count(*) FROM wallet_challenges)",
    )
    .fetch_one(world.database.pool())
    .await
    .unwrap();
    assert_eq!(known, 0, "nothing is written of somebody whom nobody knows any more");
}

#[tokio::test]
async fn a_link_under_way_is_waited_for_and_erased() {
    let world = World::new().await;
    let player = world.player("anna").await;
    let challenge = world.challenge(player, key(1).address()).await;
    let signature = key(1).sign_message(challenge.message.as_bytes()).unwrap();
    let wallet = world.prove(&no_node(), player, &challenge.message, signature).await.unwrap();

    let context = Context::at(world.now());
    let mut linking = world.database.pool().begin().await.unwrap();
    link_wallet(&mut linking, &context, player, &wallet).await.unwrap();
    let erasing = async {
        let mut tx = world.database.pool().begin().await.unwrap();
        erase_player(&mut tx, &context, OrgId(1), "anna").await.unwrap();
        tx.commit().await.unwrap();
    };
    tokio::join!(erasing, async {
        until_waiting(&world, 1).await;
        linking.commit().await.unwrap();
    });
    let known: i64 = sqlx::query_scalar("SELECT count(*) FROM wallets WHERE address IS NOT NULL")
        .fetch_one(world.database.pool())
        .await
        .unwrap();
    assert_eq!(known, 0);
}
