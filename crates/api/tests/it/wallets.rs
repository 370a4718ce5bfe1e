//! Wallets are linked by a signature (EIP-4361), and only to who may be paid.

use alloy_primitives::Address;
use chrono::TimeDelta;
use laurel_api::Role;
use laurel_chain::{LaneSigner, LocalKey};
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    call::Call,
    world::{CHAIN, World, address, definition, key},
};

/// Asks for a challenge for `p-1`.
fn ask(world: &World, address: Address) -> Call<'_> {
    let ask = json!({ "address": address.to_checksum(None), "chain_id": CHAIN });
    world.call(Role::GameServer, "POST /v1/players/p-1/wallet/challenge").json(&ask)
}

/// A challenge for `p-1` and the proof that `wallet` gives.
async fn proof(world: &World, wallet: &LocalKey) -> Value {
    let challenge = ask(world, wallet.address()).send().await.created();
    signed(challenge["message"].as_str().unwrap(), wallet)
}

fn signed(message: &str, wallet: &LocalKey) -> Value {
    json!({ "message": message, "signature": wallet.sign_message(message.as_bytes()).unwrap() })
}

fn link<'w>(world: &'w World, proof: &Value) -> Call<'w> {
    world.call(Role::GameServer, "PUT /v1/players/p-1/wallet").json(proof)
}

/// Has a player link a wallet that nobody else has.
pub(crate) async fn link_wallet(world: &World, player: &str) {
    let wallet = key(player);
    let ask = json!({ "address": wallet.address().to_checksum(None), "chain_id": CHAIN });
    let challenge = world.call(Role::GameServer, &format!("POST /v1/players/{player}/wallet/challenge"));
    let challenge = challenge.json(&ask).send().await.created();
    let proof = signed(challenge["message"].as_str().unwrap(), &wallet);
    world.call(Role::GameServer, &format!("PUT /v1/players/{player}/wallet")).json(&proof).send().await.ok();
}

#[tokio::test]
async fn a_wallet_is_linked_by_its_signature() {
    let world = World::new().await;
    world.player("p-1").await;
    let wallet = key("wallet");
    let challenge = ask(&world, wallet.address()).send().await.created();
    insta::with_settings!({ filters => vec![
        ("Nonce: [0-9a-f]{32}", "Nonce: [nonce]"),
        ("Request ID: [0-9a-f-]{36}", "Request ID: [player]"),
    ]}, {
        insta::assert_json_snapshot!("challenge", challenge);
    });
    let proof = signed(challenge["message"].as_str().unwrap(), &wallet);
    let linked = link(&world, &proof).send().await.ok();
    let address = wallet.address().to_checksum(None);
    assert_eq!(linked, json!({ "chain_id": CHAIN, "address": address }));
    let player = world.call(Role::GameServer, "GET /v1/players/p-1").send().await.ok();
    assert_eq!(player["wallets"][CHAIN.to_string()]["address"], address);
}

#[tokio::test]
async fn a_challenge_is_answered_once() {
    let world = World::new().await;
    world.player("p-1").await;
    let proof = proof(&world, &key("wallet")).await;
    link(&world, &proof).send().await.ok();
    link(&world, &proof).refused(409, "stale_challenge", "ask for a new one").await;
}

#[tokio::test]
async fn an_old_challenge_is_refused() {
    let world = World::new().await;
    world.player("p-1").await;
    let proof = proof(&world, &key("wallet")).await;
    world.clock.advance(TimeDelta::minutes(10));
    link(&world, &proof).refused(409, "stale_challenge", "ask for a new one").await;
}

#[tokio::test]
async fn a_challenge_of_another_player_is_none() {
    let world = World::new().await;
    world.player("p-1").await;
    world.player("p-2").await;
    let proof = proof(&world, &key("wallet")).await;
    let other = world.call(Role::GameServer, "PUT /v1/players/p-2/wallet").json(&proof);
    other.refused(422, "unknown_challenge", "ask for a new one").await;
}

#[rstest]
#[case::another_domain("play.example wants", "evil.example wants", "unknown_challenge", "ask for a new one")]
#[case::another_chain("Chain ID: 31337", "Chain ID: 1", "unknown_chain", "no chain that pays here")]
#[case::a_later_end(
    "Expiration Time: 2026",
    "Expiration Time: 2036",
    "unknown_challenge",
    "ask for a new one"
)]
#[case::no_nonce("Nonce: ", "Number: ", "unknown_challenge", "ask for a new one")]
#[case::a_nul_in_the_nonce("Nonce: ", "Nonce: \u{0}", "unknown_challenge", "ask for a new one")]
#[tokio::test]
async fn a_changed_message_is_no_challenge(
    #[case] from: &str,
    #[case] to: &str,
    #[case] code: &'static str,
    #[case] advice: &'static str,
) {
    let world = World::new().await;
    world.player("p-1").await;
    let wallet = key("wallet");
    let challenge = ask(&world, wallet.address()).send().await.created();
    let message = challenge["message"].as_str().unwrap();
    let changed = message.replace(from, to);
    assert_ne!(changed, message);
    link(&world, &signed(&changed, &wallet)).refused(422, code, advice).await;
}

#[rstest]
#[case::no_hexadecimal(json!("zz"))]
#[case::a_number(json!(7))]
#[tokio::test]
async fn a_signature_is_hexadecimal(#[case] signature: Value) {
    let world = World::new().await;
    world.player("p-1").await;
    let proof = json!({ "message": "m", "signature": signature });
    link(&world, &proof).refused(422, "invalid_body", "signature").await;
}

#[tokio::test]
async fn the_zero_address_is_nobodys() {
    let world = World::new().await;
    world.player("p-1").await;
    ask(&world, Address::ZERO).refused(422, "zero_address", "send the player's").await;
}

#[tokio::test]
async fn a_slip_of_the_finger_is_noticed() {
    let world = World::new().await;
    world.player("p-1").await;
    // One letter of the checksum is in the wrong case.
    let right = address("wallet").to_checksum(None);
    let letter = right.rfind(|c: char| c.is_ascii_alphabetic() && c != 'x').unwrap();
    let mut wrong = right.into_bytes();
    wrong[letter] ^= 0x20;
    let body = json!({ "address": String::from_utf8(wrong).unwrap(), "chain_id": CHAIN });
    let request = world.call(Role::GameServer, "POST /v1/players/p-1/wallet/challenge").json(&body);
    request.refused(422, "invalid_body", "wrong checksum (EIP-55)").await;
}

#[tokio::test]
async fn a_chain_that_does_not_pay_is_refused() {
    let world = World::new().await;
    world.player("p-1").await;
    let body = json!({ "address": address("wallet"), "chain_id": 1 });
    let request = world.call(Role::GameServer, "POST /v1/players/p-1/wallet/challenge").json(&body);
    request.refused(422, "unknown_chain", "chain 1 is not one that pays here").await;
}

#[rstest]
#[tokio::test]
async fn vault_token_and_lane_are_no_recipients(#[values("vault", "token", "lane")] which: &str) {
    let world = World::new().await;
    world.player("p-1").await;
    world.campaign().await;
    let request = ask(&world, address(which));
    request.refused(422, "reserved_address", "send the player's").await;
}

#[tokio::test]
async fn an_address_that_became_a_token_meanwhile_is_no_recipient() {
    let world = World::new().await;
    world.player("p-1").await;
    let proof = proof(&world, &key("another")).await;
    let mut definition = definition();
    definition["token"] = json!(address("another"));
    world.call(Role::Manager, "POST /v1/campaigns").json(&definition).send().await.created();
    link(&world, &proof).refused(422, "reserved_address", "send the player's").await;
}

#[tokio::test]
async fn a_player_that_nobody_knows_has_no_wallet() {
    let world = World::new().await;
    ask(&world, address("wallet")).refused(404, "not_found", "player").await;
    let proof = json!({ "message": "Chain ID: 31337", "signature": "0x" });
    link(&world, &proof).refused(404, "not_found", "player").await;
}
