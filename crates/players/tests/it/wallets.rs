//! Finding wallets, and a link that comes at the same moment.

use laurel_chain::LaneSigner;
use laurel_events::OrgId;
use laurel_ledger::Context;
use laurel_players::{LinkError, PlayerError, keep_wallets, link_wallet, put_player, resolve_wallets};
use rand::{SeedableRng, rngs::StdRng};

use crate::world::{CHAIN, World, key, no_node};

#[tokio::test]
async fn a_player_is_registered_once() {
    let world = World::new().await;
    assert_eq!(world.player("anna").await, world.player("anna").await);
    assert_ne!(world.player("anna").await, world.player("bert").await);
    let mut conn = world.database.pool().acquire().await.unwrap();
    let context = Context::at(world.now());
    let mut rng = StdRng::seed_from_u64(9);
    for bad in ["", "a\nb", &"x".repeat(129)] {
        let refused = put_player(&mut conn, &context, &mut rng, OrgId(1), bad).await;
        assert!(matches!(refused, Err(PlayerError::BadId)), "{bad:?}: {refused:?}");
    }
}

#[tokio::test]
async fn a_link_waits_for_whoever_found_no_wallet() {
    let world = World::new().await;
    let player = world.player("anna").await;
    let challenge = world.challenge(player, key(1).address()).await;
    let signature = key(1).sign_message(challenge.message.as_bytes()).unwrap();
    let wallet = world.prove(&no_node(), player, &challenge.message, signature).await.unwrap();

    let mut looking = world.database.pool().begin().await.unwrap();
    assert!(resolve_wallets(&mut looking, CHAIN, &[player]).await.unwrap().is_empty());
    // The link cannot commit in between: it would tell of a wallet that the one who looks does not see.
    let mut tx = world.database.pool().begin().await.unwrap();
    sqlx::query("SET LOCAL lock_timeout = '50ms'").execute(&mut *tx).await.unwrap();
    let refused = link_wallet(&mut tx, &Context::at(world.now()), player, &wallet).await.unwrap_err();
    assert!(matches!(&refused, LinkError::Ledger(error) if error.is_infrastructure()));
    tx.rollback().await.unwrap();
    looking.commit().await.unwrap();

    world.link(player, &wallet).await.unwrap();
    let mut conn = world.database.pool().acquire().await.unwrap();
    assert_eq!(
        resolve_wallets(&mut conn, CHAIN, &[player]).await.unwrap()[&player].address,
        key(1).address()
    );
}

#[tokio::test]
async fn a_link_waits_for_whoever_keeps_the_wallet() {
    let world = World::new().await;
    let player = world.linked("anna", &key(1)).await;
    let challenge = world.challenge(player, key(2).address()).await;
    let signature = key(2).sign_message(challenge.message.as_bytes()).unwrap();
    let wallet = world.prove(&no_node(), player, &challenge.message, signature).await.unwrap();

    let mut keeping = world.database.pool().begin().await.unwrap();
    let kept = keep_wallets(&mut keeping, CHAIN, &[player]).await.unwrap();
    assert_eq!(kept[&player].address, key(1).address());
    let mut tx = world.database.pool().begin().await.unwrap();
    sqlx::query("SET LOCAL lock_timeout = '50ms'").execute(&mut *tx).await.unwrap();
    assert!(link_wallet(&mut tx, &Context::at(world.now()), player, &wallet).await.is_err());
    tx.rollback().await.unwrap();
    keeping.commit().await.unwrap();
    assert_eq!(world.link(player, &wallet).await.unwrap().version, 2);
}
