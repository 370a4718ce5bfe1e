//! Addresses that are never paid.

use alloy::primitives::{Address, B256};
use laurel_chain::LaneSigner;
use laurel_ledger::{VaultIdentity, pin_vault, reserved_addresses};
use laurel_players::LinkError;
use sqlx::PgConnection;

use crate::world::{CHAIN, World, key, no_node};

/// A vault, a lane and a token, each with a key, so that somebody could sign for them.
async fn reserve(conn: &mut PgConnection, vault: Address, lane: Address, token: Address) {
    let identity = VaultIdentity {
        chain_id: CHAIN,
        genesis_hash: B256::repeat_byte(1),
        vault,
        code_hash: B256::repeat_byte(3),
        deploy_block: 1,
    };
    let vault = pin_vault(conn, &identity).await.unwrap();
    sqlx::query("INSERT INTO lanes (vault, address, state, next_nonce) VALUES ($1, $2, 'retired', 0)")
        .bind(vault.id.0)
        .bind(lane.as_slice())
        .execute(&mut *conn)
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO campaigns (id, org, vault, token, name, games, state, wallet_deadline_hours, rule_version,
                                version, created_at)
         VALUES (7, 1, $1, $2, 'c', '{quiz}', 'ended', 1, 1, 1, '2026-01-01T00:00:00Z')",
    )
    .bind(vault.id.0)
    .bind(token.as_slice())
    .execute(conn)
    .await
    .unwrap();
}

#[tokio::test]
async fn a_vault_a_lane_and_a_token_are_not_linked() {
    let world = World::new().await;
    let player = world.player("anna").await;
    let own = [key(1), key(2), key(3)];
    let mut proven = Vec::new();
    for key in &own {
        let challenge = world.challenge(player, key.address()).await;
        let signature = key.sign_message(challenge.message.as_bytes()).unwrap();
        proven.push(world.prove(&no_node(), player, &challenge.message, signature).await.unwrap());
    }
    // They become ours after the proof: what counts is the link.
    let mut conn = world.database.pool().acquire().await.unwrap();
    reserve(&mut conn, own[0].address(), own[1].address(), own[2].address()).await;
    drop(conn);
    for wallet in &proven {
        let refused = world.link(player, wallet).await;
        assert!(matches!(refused, Err(LinkError::Reserved)), "{refused:?}");
    }
    world.linked("anna", &key(4)).await;
}

#[tokio::test]
async fn the_reserved_addresses_are_those_of_the_chain_and_nobody() {
    let world = World::new().await;
    let mut conn = world.database.pool().acquire().await.unwrap();
    let [vault, lane, token, free] = [1, 2, 3, 4].map(Address::repeat_byte);
    reserve(&mut conn, vault, lane, token).await;
    let all = [vault, lane, token, free, Address::ZERO];
    let reserved = reserved_addresses(&mut conn, CHAIN, &all).await.unwrap();
    assert_eq!(reserved, [vault, lane, token, Address::ZERO].into());
    let elsewhere = reserved_addresses(&mut conn, CHAIN + 1, &all).await.unwrap();
    assert_eq!(elsewhere, [Address::ZERO].into());
}
