//! Routes that ask a chain, on a real Anvil.

use std::time::Duration;

use alloy::{
    primitives::{Address, B256, Bytes, U256, hex, keccak256},
    sol_types::{SolCall, SolConstructor},
};
use laurel_api::Role;
use laurel_chain::{
    Call, ChainNode, Erc20, HttpNode, LaneSigner, LocalKey, NonceAt, RewardToken, RewardVault, TxRequest,
    funding_call,
};
use laurel_devnet::{Anvil, Mining, chain_control::ChainControl, dev_keys::DEV_KEYS, testing::anvil};
use laurel_events::{Amount, CampaignId};
use serde_json::json;

use crate::world::{CHAIN, Setup, World, address, definition, key};

/// Far more than a block per transaction takes on a machine under full load.
const MINED_WITHIN: Duration = Duration::from_secs(30);

struct Chain {
    anvil: Anvil,
    node: HttpNode,
    owner: LocalKey,
}

impl Chain {
    async fn start() -> Self {
        let anvil = anvil(Mining::EachTransaction).await.unwrap();
        let node = HttpNode::new(anvil.rpc_url()).unwrap();
        Self { anvil, node, owner: LocalKey::from_hex(DEV_KEYS[0].secret).unwrap() }
    }

    /// Deploys a contract and waits until it is there.
    async fn deploy(&self, code: Vec<u8>) -> Address {
        let owner = self.owner.address();
        let nonce = self.node.nonce(owner, NonceAt::Pending).await.unwrap();
        let fees = self.node.fees().await.unwrap();
        let request = TxRequest {
            chain_id: CHAIN,
            nonce,
            to: None,
            data: Bytes::from(code),
            gas_limit: 6_000_000,
            max_fee_per_gas: fees.base_fee * 2 + fees.priority_fee,
            max_priority_fee_per_gas: fees.priority_fee,
        };
        self.node.send(self.owner.sign(&request).unwrap().raw).await.unwrap();
        let mined = async {
            while self.node.nonce(owner, NonceAt::Latest).await.unwrap() <= nonce {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(MINED_WITHIN, mined).await.unwrap();
        let address = owner.create(nonce);
        assert!(!self.node.code(address).await.unwrap().is_empty());
        address
    }

    async fn vault(&self) -> Address {
        let owner = self.owner.address();
        let arguments = RewardVault::constructorCall { owner_: owner, guardian_: owner };
        self.deploy([RewardVault::BYTECODE.as_ref(), &arguments.abi_encode()].concat()).await
    }

    async fn token(&self) -> Address {
        let arguments = RewardToken::constructorCall {
            name_: "Laurel Reward".to_owned(),
            symbol_: "LAUREL".to_owned(),
            owner_: self.owner.address(),
        };
        self.deploy([RewardToken::BYTECODE.as_ref(), &arguments.abi_encode()].concat()).await
    }

    /// A transaction of the owner, in a block.
    async fn owner_sends(&self, to: Address, data: Bytes) {
        let owner = self.owner.address();
        let nonce = self.node.nonce(owner, NonceAt::Pending).await.unwrap();
        let fees = self.node.fees().await.unwrap();
        let request = TxRequest {
            chain_id: CHAIN,
            nonce,
            to: Some(to),
            data,
            gas_limit: 500_000,
            max_fee_per_gas: fees.base_fee * 2 + fees.priority_fee,
            max_priority_fee_per_gas: fees.priority_fee,
        };
        self.node.send(self.owner.sign(&request).unwrap().raw).await.unwrap();
        let mined = async {
            while self.node.nonce(owner, NonceAt::Latest).await.unwrap() <= nonce {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(MINED_WITHIN, mined).await.unwrap();
    }

    async fn world(&self, vault: Address) -> World {
        self.world_with(vault, false).await
    }

    async fn world_with(&self, vault: Address, treasury: bool) -> World {
        let rpc_url = Some(self.anvil.rpc_url().to_owned());
        World::of(Setup { rpc_url, vault, treasury, ..Setup::default() }).await
    }
}

#[tokio::test]
async fn without_a_treasury_the_owner_is_told_what_to_call() {
    let chain = Chain::start().await;
    let (vault, token) = (chain.vault().await, chain.token().await);
    let world = chain.world(vault).await;
    let mut definition = definition();
    definition["token"] = json!(token);
    let made = world.call(Role::Manager, "POST /v1/campaigns").json(&definition).send().await.created();
    let id = made["id"].as_str().unwrap();
    let fund = || {
        let request = world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/fund"));
        request.header("idempotency-key", "k-1").json(&json!({ "cap": "1000" }))
    };
    let answer = fund().send().await.accepted();
    assert_eq!(answer["to"], vault.to_checksum(None));
    let data: Bytes = answer["data"].as_str().unwrap().parse().unwrap();
    let campaign: CampaignId = id.parse().unwrap();
    let open = RewardVault::openCall::abi_decode(&data).unwrap();
    assert_eq!((open.campaign, open.terms.token), (campaign.on_chain(), token));
    assert!(open.terms.batch, "this token pays many at once");
    let cap = Amount::from(1_000_u64);
    assert_eq!(data, funding_call(&chain.node, vault, campaign, token, cap).await.unwrap());
    // Nothing is kept of it but the answer.
    assert_eq!(world.rows("funding_requests").await, 0);
    assert_eq!(fund().send().await.header("idempotency-replayed"), Some("true"));
}

/// Each answer is sent by the owner, and the next one goes on from there.
#[tokio::test]
async fn without_a_treasury_the_owner_is_led_through_closing() {
    let chain = Chain::start().await;
    let (vault, token) = (chain.vault().await, chain.token().await);
    let world = chain.world(vault).await;
    let mut definition = definition();
    definition["token"] = json!(token);
    let made = world.call(Role::Manager, "POST /v1/campaigns").json(&definition).send().await.created();
    let id = made["id"].as_str().unwrap();
    let send = async |call: &serde_json::Value| {
        let data: Bytes = call["data"].as_str().unwrap().parse().unwrap();
        chain.owner_sends(call["to"].as_str().unwrap().parse().unwrap(), data).await;
    };
    let owner = chain.owner.address();
    let mint = RewardToken::mintCall { to: vault, amount: U256::from(1_000) };
    chain.owner_sends(token, mint.abi_encode().into()).await;
    let fund = world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/fund"));
    send(&fund.json(&json!({ "cap": "1000" })).send().await.accepted()).await;
    world.fund(id, 1_000).await;
    world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/end")).send().await.ok();
    let close = async || {
        let request = world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/close"));
        request.send().await.accepted()
    };
    let answer = close().await;
    assert_eq!(answer["call"]["step"], "close");
    send(&answer["call"]).await;
    let answer = close().await;
    assert_eq!(answer["call"], json!(null), "its time has not come");
    assert!(answer["closes_at"].is_string());
    ChainControl::new(chain.anvil.rpc_url()).unwrap().warp(86_401).await.unwrap();
    let answer = close().await;
    assert_eq!(answer["call"]["step"], "release");
    send(&answer["call"]).await;
    assert_eq!(close().await["call"], json!(null), "not before that is final");
    // What the books say then.
    let back = "UPDATE accounts SET returned = available, available = 0";
    sqlx::query(back).execute(world.pool()).await.unwrap();
    let answer = close().await;
    assert_eq!((&answer["call"]["step"], &answer["returned"]), (&json!("withdraw"), &json!("1000")));
    send(&answer["call"]).await;
    let data = Erc20::balanceOfCall { owner }.abi_encode().into();
    let owned = chain.node.call(Call { from: owner, to: token, data, gas: None }).await.unwrap();
    assert_eq!(U256::from_be_slice(&owned), U256::from(1_000));
    assert_eq!(world.rows("closings").await, 0);
}

#[tokio::test]
async fn the_treasury_is_spent_by_the_organisations_that_may_and_no_others() {
    let chain = Chain::start().await;
    let (vault, token) = (chain.vault().await, chain.token().await);
    let world = chain.world_with(vault, true).await;
    let mut definition = definition();
    definition["token"] = json!(token);
    for (org, spends) in [("default", true), ("other", false)] {
        let call = |line: &str| world.call(Role::Manager, line).by(Role::Manager, org, "manager");
        let made = call("POST /v1/campaigns").json(&definition).send().await.created();
        let id = made["id"].as_str().unwrap();
        let answer = call(&format!("POST /v1/campaigns/{id}/fund")).json(&json!({ "cap": "1000" }));
        let answer = answer.send().await.accepted();
        assert_eq!(answer.get("to").is_none() && answer.get("data").is_none(), spends, "{org}: {answer}");
        let asked: Vec<i64> = sqlx::query_scalar("SELECT campaign FROM funding_requests WHERE campaign = $1")
            .bind(id.parse::<CampaignId>().unwrap().number())
            .fetch_all(world.pool())
            .await
            .unwrap();
        assert_eq!(asked.len(), usize::from(spends), "{org}");
    }
}

#[tokio::test]
async fn a_wrong_signature_is_refused() {
    let chain = Chain::start().await;
    let world = chain.world(address("vault")).await;
    world.player("p-1").await;
    let wallet = key("wallet");
    let ask = json!({ "address": wallet.address(), "chain_id": CHAIN });
    let challenge = world.call(Role::GameServer, "POST /v1/players/p-1/wallet/challenge").json(&ask);
    let message = challenge.send().await.created()["message"].as_str().unwrap().to_owned();
    let good = wallet.sign_message(message.as_bytes()).unwrap();
    let mut turned = good.to_vec();
    turned[10] ^= 1;
    for signature in [
        key("another").sign_message(message.as_bytes()).unwrap(),
        wallet.sign_message(b"another message").unwrap(),
        Bytes::from(turned),
        Bytes::from(good[..64].to_vec()),
        Bytes::from(vec![0; 65]),
        Bytes::new(),
    ] {
        let proof = json!({ "message": message, "signature": signature });
        let request = world.call(Role::GameServer, "PUT /v1/players/p-1/wallet").json(&proof);
        request.refused(422, "wrong_signature", "is not that of").await;
    }
    // The challenge is not used up by that.
    let proof = json!({ "message": message, "signature": good });
    world.call(Role::GameServer, "PUT /v1/players/p-1/wallet").json(&proof).send().await.ok();
}

/// A contract that answers every call with `word`.
fn answering(word: B256) -> Vec<u8> {
    // PUSH32 word, PUSH0 MSTORE, PUSH1 32, PUSH0 RETURN
    let runtime = [&[0x7f][..], word.as_slice(), &hex!("5f5260205ff3")].concat();
    // PUSH1 size, PUSH1 10, PUSH0, CODECOPY, PUSH1 size, PUSH0, RETURN
    let size = u8::try_from(runtime.len()).unwrap();
    [&[0x60, size, 0x60, 0x0a, 0x5f, 0x39, 0x60, size, 0x5f, 0xf3][..], &runtime].concat()
}

#[tokio::test]
async fn a_contract_wallet_answers_for_itself() {
    let chain = Chain::start().await;
    let mut magic = B256::ZERO;
    magic[..4].copy_from_slice(&keccak256("isValidSignature(bytes32,bytes)")[..4]);
    let good = chain.deploy(answering(magic)).await;
    let bad = chain.deploy(answering(B256::repeat_byte(0xff))).await;
    let world = chain.world(address("vault")).await;
    world.player("p-1").await;
    for (wallet, fine) in [(bad, false), (good, true)] {
        let ask = json!({ "address": wallet, "chain_id": CHAIN });
        let challenge = world.call(Role::GameServer, "POST /v1/players/p-1/wallet/challenge").json(&ask);
        let message = challenge.send().await.created()["message"].clone();
        let proof = json!({ "message": message, "signature": "0x1234" });
        let link = world.call(Role::GameServer, "PUT /v1/players/p-1/wallet").json(&proof);
        if fine {
            assert_eq!(link.send().await.ok()["address"], wallet.to_checksum(None));
        } else {
            link.refused(422, "wrong_signature", "is not that of").await;
        }
    }
}

#[tokio::test]
async fn only_the_wallet_itself_signs_a_player_in() {
    let chain = Chain::start().await;
    let mut magic = B256::ZERO;
    magic[..4].copy_from_slice(&keccak256("isValidSignature(bytes32,bytes)")[..4]);
    let contract = chain.deploy(answering(magic)).await;
    let world = chain.world(address("vault")).await;
    world.player("p-1").await;
    let wallet = key("wallet");
    for (linked, fine) in [(wallet.address(), false), (contract, true)] {
        let sign = |message: &str| {
            json!({
                "message": message,
                "signature": if fine { Bytes::from_static(&[0x12]) } else { wallet.sign_message(message.as_bytes()).unwrap() },
            })
        };
        let ask = json!({ "address": linked, "chain_id": CHAIN });
        let challenge = world.call(Role::GameServer, "POST /v1/players/p-1/wallet/challenge").json(&ask);
        let proof = sign(challenge.send().await.created()["message"].as_str().unwrap());
        world.call(Role::GameServer, "PUT /v1/players/p-1/wallet").json(&proof).send().await.ok();
        let ask = json!({ "org": "default", "player_id": "p-1", "chain_id": CHAIN, "address": linked });
        let challenge = world.anonymous("POST /v1/auth/wallet/challenge").json(&ask).send().await.ok();
        let mut proof = sign(challenge["message"].as_str().unwrap());
        if fine {
            world.anonymous("POST /v1/auth/wallet").json(&proof).send().await.ok();
        } else {
            proof["signature"] = json!(key("another").sign_message(b"another message").unwrap());
            let forged = world.anonymous("POST /v1/auth/wallet").json(&proof);
            forged.refused(401, "wrong_proof", "did not sign it").await;
        }
    }
}

#[tokio::test]
async fn a_chain_that_does_not_answer_is_unavailable() {
    let world = World::of(Setup { treasury: false, ..Setup::default() }).await;
    let id = world.campaign().await;
    let request = world.call(Role::Manager, &format!("POST /v1/campaigns/{id}/fund"));
    request.json(&json!({ "cap": "5" })).refused(503, "unavailable", "try again in a moment").await;
}

#[tokio::test]
async fn what_a_vault_holds_that_nobody_is_owed_is_told() {
    let chain = Chain::start().await;
    let (vault, token) = (chain.vault().await, chain.token().await);
    let world = chain.world(vault).await;
    let none = world.call(Role::Auditor, "GET /v1/audit/vaults").send().await.ok();
    assert_eq!(none["items"], json!([]), "nobody has a campaign there");
    let mut definition = definition();
    definition["token"] = json!(token);
    let made = world.call(Role::Manager, "POST /v1/campaigns").json(&definition).send().await.created();
    let campaign: CampaignId = made["id"].as_str().unwrap().parse().unwrap();
    let mint = RewardToken::mintCall { to: vault, amount: U256::from(1_500) };
    chain.owner_sends(token, mint.abi_encode().into()).await;
    let cap = Amount::from(1_000_u64);
    let open = funding_call(&chain.node, vault, campaign, token, cap).await.unwrap();
    chain.owner_sends(vault, open).await;
    world.fund(&campaign.to_string(), 1_000).await;
    let told = world.call(Role::Auditor, "GET /v1/audit/vaults").send().await.ok();
    let item = &told["items"][0];
    let fields =
        ["balance", "uncommitted", "available", "reserved"].map(|field| item[field].as_str().unwrap());
    assert_eq!(fields, ["1500", "500", "1000", "0"]);
    let foreign = world.anonymous("GET /v1/audit/vaults").by(Role::Auditor, "other", "x");
    assert_eq!(foreign.send().await.ok()["items"], json!([]));
}
