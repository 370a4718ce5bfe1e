//! Players sign in with the wallet that is linked.

use chrono::TimeDelta;
use laurel_api::Role;
use laurel_chain::{LaneSigner, LocalKey};
use serde_json::{Value, json};

use super::{refresh, with};
use crate::{
    call::Call,
    world::{CHAIN, World, key},
};

fn signed(message: &Value, wallet: &LocalKey) -> Value {
    let text = message.as_str().unwrap();
    json!({ "message": text, "signature": wallet.sign_message(text.as_bytes()).unwrap() })
}

/// Asks for a message that signs `p-1` in, and the proof that `wallet` gives.
async fn proof(world: &World, player: &str, wallet: &LocalKey) -> Value {
    let address = wallet.address().to_checksum(None);
    let ask = json!({ "org": "default", "player_id": player, "chain_id": CHAIN, "address": address });
    let asked = world.anonymous("POST /v1/auth/wallet/challenge").json(&ask).send().await.ok();
    signed(&asked["message"], wallet)
}

fn sign_in<'w>(world: &'w World, proof: &Value) -> Call<'w> {
    world.anonymous("POST /v1/auth/wallet").json(proof)
}

/// Links a wallet to `p-1`.
async fn link(world: &World, wallet: &LocalKey) {
    let ask = json!({ "address": wallet.address().to_checksum(None), "chain_id": CHAIN });
    let challenge = world
        .call(Role::GameServer, "POST /v1/players/p-1/wallet/challenge")
        .json(&ask)
        .send()
        .await
        .created();
    let proof = signed(&challenge["message"], wallet);
    world.call(Role::GameServer, "PUT /v1/players/p-1/wallet").json(&proof).send().await.ok();
}

async fn world_of(wallet: &LocalKey) -> World {
    let world = World::new().await;
    world.player("p-1").await;
    link(&world, wallet).await;
    world
}

#[tokio::test]
async fn a_player_comes_in_as_themselves() {
    let wallet = key("wallet");
    let world = world_of(&wallet).await;
    let tokens = sign_in(&world, &proof(&world, "p-1", &wallet).await).send().await.ok();
    let me = with(&world, &tokens, "GET /v1/auth/me").send().await.ok();
    assert_eq!(
        me,
        json!({ "subject": "p-1", "name": null, "org": "default", "role": "player", "games": null })
    );
    with(&world, &tokens, "GET /v1/players/p-1").send().await.ok();
    with(&world, &tokens, "GET /v1/players/p-2").refused(403, "wrong_role", "another player").await;
    let next = refresh(&world, &tokens).send().await.ok();
    with(&world, &next, "GET /v1/players/p-1/grants").send().await.ok();
}

#[tokio::test]
async fn the_message_tells_what_it_is_for_and_nothing_about_the_player() {
    let wallet = key("wallet");
    let world = world_of(&wallet).await;
    let known = proof(&world, "p-1", &wallet).await;
    let unknown = proof(&world, "nobody", &wallet).await;
    proof(&world, "a\0", &wallet).await;
    let shape = |proof: &Value| {
        let lines = proof["message"].as_str().unwrap().lines().filter(|line| !line.starts_with("Nonce: "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(shape(&known), shape(&unknown));
    insta::assert_snapshot!(shape(&known).join("\n"));
    sign_in(&world, &unknown).refused(401, "wrong_proof", "ask for a new one").await;
}

#[tokio::test]
async fn a_message_is_good_once_and_for_ten_minutes() {
    let wallet = key("wallet");
    let world = world_of(&wallet).await;
    let used = proof(&world, "p-1", &wallet).await;
    sign_in(&world, &used).send().await.ok();
    sign_in(&world, &used).refused(401, "wrong_proof", "ask for a new one").await;
    let old = proof(&world, "p-1", &wallet).await;
    world.clock.advance(TimeDelta::minutes(10));
    sign_in(&world, &old).refused(401, "wrong_proof", "ask for a new one").await;
}

#[tokio::test]
async fn only_the_linked_wallet_signs_in() {
    let wallet = key("wallet");
    let world = world_of(&wallet).await;
    let other = proof(&world, "p-1", &key("other")).await;
    sign_in(&world, &other).refused(401, "wrong_proof", "ask for a new one").await;
    // One that was asked for while the wallet was linked, and answered when it was not any more.
    let late = proof(&world, "p-1", &wallet).await;
    link(&world, &key("other")).await;
    sign_in(&world, &late).refused(401, "wrong_proof", "ask for a new one").await;
}

#[tokio::test]
async fn a_signature_for_one_thing_is_good_for_no_other() {
    let wallet = key("wallet");
    let world = world_of(&wallet).await;
    let to_sign_in = proof(&world, "p-1", &wallet).await;
    let link = world.call(Role::GameServer, "PUT /v1/players/p-1/wallet").json(&to_sign_in);
    link.refused(422, "unknown_challenge", "ask for a new one").await;
    let ask = json!({ "address": wallet.address().to_checksum(None), "chain_id": CHAIN });
    let challenge = world.call(Role::GameServer, "POST /v1/players/p-1/wallet/challenge").json(&ask);
    let to_link = signed(&challenge.send().await.created()["message"], &wallet);
    sign_in(&world, &to_link).refused(401, "wrong_proof", "ask for a new one").await;
}

#[tokio::test]
async fn another_wallet_ends_what_came_of_the_one_before() {
    let wallet = key("wallet");
    let world = world_of(&wallet).await;
    let tokens = sign_in(&world, &proof(&world, "p-1", &wallet).await).send().await.ok();
    link(&world, &wallet).await;
    with(&world, &tokens, "GET /v1/auth/me").send().await.ok();
    link(&world, &key("other")).await;
    with(&world, &tokens, "GET /v1/auth/me").refused(401, "unauthorized", "has ended").await;
    refresh(&world, &tokens).refused(401, "invalid_refresh_token", "sign in again").await;
}
