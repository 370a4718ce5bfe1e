//! The document's examples are sent as they stand there, each by a role that may, and answered as it says.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use laurel_api::{Role, openapi};
use laurel_chain::{LaneSigner, LocalKey};
use laurel_events::Clock;
use serde_json::{Value, json};
use totp_rs::Totp;

use crate::{
    call::{Answer, Call},
    sign_in::hire,
    world::{World, address, key},
};

/// An operation of the document.
struct Operation {
    line: String,
    body: Value,
    /// The statuses that are no refusals, and the names of their schemas.
    answers: BTreeMap<u16, Option<String>>,
}

/// Those that take a body, by their ids.
fn operations(document: &Value) -> BTreeMap<String, Operation> {
    let mut operations = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let body = &operation["requestBody"]["content"]["application/json"];
            if body.is_null() {
                continue;
            }
            let id = operation["operationId"].as_str().unwrap();
            assert!(body["example"].is_object(), "{id} takes a body, and the document shows none");
            let schema = |answer: &Value| {
                let name = answer["content"]["application/json"]["schema"]["$ref"].as_str()?;
                Some(name.rsplit('/').next().unwrap().to_owned())
            };
            let answers = operation["responses"].as_object().unwrap().iter();
            let answers = answers.filter_map(|(status, answer)| Some((status.parse().ok()?, schema(answer))));
            let operation = Operation {
                line: format!("{} {path}", method.to_uppercase()),
                body: body["example"].clone(),
                answers: answers.filter(|(status, _)| *status < 300).collect(),
            };
            operations.insert(id.to_owned(), operation);
        }
    }
    operations
}

/// Sends the examples, and knows which it has sent.
struct Sender<'w> {
    world: &'w World,
    document: Value,
    operations: BTreeMap<String, Operation>,
    sent: BTreeSet<&'static str>,
}

impl<'w> Sender<'w> {
    fn new(world: &'w World) -> Self {
        let document = serde_json::to_value(openapi()).unwrap();
        let operations = operations(&document);
        Self { world, document, operations, sent: BTreeSet::new() }
    }

    /// Sends an operation's example to what has the id, with what only this world knows put into it.
    async fn send(&mut self, operation: &'static str, id: &str, by: &By<'_>, known: Value) -> Answer {
        let Operation { line, body, answers } = &self.operations[operation];
        let mut body = body.clone();
        for (field, value) in known.as_object().unwrap() {
            assert!(!body[field].is_null(), "{operation}: the example has no {field}");
            body[field] = value.clone();
        }
        let line = line.replace("{campaign_id}", id).replace("{player_id}", id);
        let answer = by.call(self.world, &line).json(&body).send().await;
        let told = String::from_utf8_lossy(&answer.bytes).into_owned();
        let schema = answers.get(&answer.status.as_u16());
        let schema = schema.unwrap_or_else(|| panic!("{operation}: {}: {told}", answer.status));
        if let Some(schema) = schema {
            let example = &self.document["components"]["schemas"][schema]["example"];
            is_like(operation, example, &answer.json());
        }
        self.sent.insert(operation);
        answer
    }
}

/// Whether an answer is of the same form as the example of it, where the document has one.
fn is_like(place: &str, example: &Value, answer: &Value) {
    match (example, answer) {
        (Value::Null, _) | (Value::String(_), Value::String(_)) | (Value::Number(_), Value::Number(_)) => {}
        (Value::Bool(_), Value::Bool(_)) => {}
        (Value::Array(example), Value::Array(answer)) => {
            let pairs = example.iter().zip(answer);
            pairs.for_each(|(example, answer)| is_like(place, example, answer));
        }
        (Value::Object(example), Value::Object(answer)) => {
            for (field, example) in example {
                let answer = answer.get(field).unwrap_or_else(|| panic!("{place}: there is no {field}"));
                is_like(&format!("{place}.{field}"), example, answer);
            }
        }
        _ => panic!("{place}: {answer} is not like {example}"),
    }
}

/// Who sends it.
enum By<'a> {
    Anybody,
    Role(Role),
    Session(&'a Value),
}

impl By<'_> {
    fn call<'w>(&self, world: &'w World, line: &str) -> Call<'w> {
        match self {
            Self::Anybody => world.anonymous(line),
            Self::Role(role) => world.call(*role, line),
            Self::Session(tokens) => {
                let value = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
                world.anonymous(line).header("authorization", &value)
            }
        }
    }
}

/// The proof that a wallet is somebody's, from the challenge.
fn proof(challenge: &Value, wallet: &LocalKey) -> Value {
    let message = challenge["message"].as_str().unwrap();
    json!({ "message": message, "signature": wallet.sign_message(message.as_bytes()).unwrap() })
}

#[tokio::test]
async fn every_body_in_the_document_is_taken() {
    let world = World::new().await;
    let mut sender = Sender::new(&world);
    campaigns(&world, &mut sender).await;
    players(&mut sender).await;
    people(&world, &mut sender).await;
    let never: Vec<&String> =
        sender.operations.keys().filter(|id| !sender.sent.contains(id.as_str())).collect();
    assert!(never.is_empty(), "nobody has sent the examples of {never:?}");
}

async fn campaigns(world: &World, sender: &mut Sender<'_>) {
    let (manager, server) = (By::Role(Role::Manager), By::Role(Role::GameServer));
    world.player("player-7").await;
    let token = json!({ "token": address("token") });
    let made = sender.send("post_campaign", "", &manager, token).await.json();
    let id = made["id"].as_str().unwrap();
    sender.send("clone_campaign", id, &manager, json!({})).await;
    sender.send("change_campaign_players", id, &manager, json!({})).await;
    sender.send("fund_campaign", id, &manager, json!({})).await;
    world.fund(id, 1_000_000).await;
    for operation in
        ["schedule_campaign", "unschedule_campaign", "activate_campaign", "pause_campaign", "resume_campaign"]
    {
        sender.send(operation, id, &manager, json!({})).await;
    }
    sender.send("post_outcomes", "", &server, json!({})).await;
    for operation in ["patch_campaign", "try_rule", "replay_rule", "end_campaign", "close_campaign"] {
        sender.send(operation, id, &manager, json!({})).await;
    }
    sender.send("post_api_key", "", &manager, json!({})).await;
}

async fn players(sender: &mut Sender<'_>) {
    let server = By::Role(Role::GameServer);
    let wallet = key("wallet");
    let mine = json!({ "address": wallet.address() });
    let challenge = sender.send("post_wallet_challenge", "player-7", &server, mine.clone()).await.json();
    sender.send("put_wallet", "player-7", &server, proof(&challenge, &wallet)).await;
    let challenge = sender.send("post_sign_in_challenge", "", &By::Anybody, mine).await.json();
    sender.send("sign_in_with_wallet", "", &By::Anybody, proof(&challenge, &wallet)).await;
}

async fn people(world: &World, sender: &mut Sender<'_>) {
    hire(world, "ada", Role::Manager).await;
    let tokens = sender.send("sign_in", "", &By::Anybody, json!({})).await.json();
    let last = json!({ "refresh_token": tokens["refresh_token"] });
    let tokens = sender.send("refresh", "", &By::Anybody, last).await.json();
    let ada = By::Session(&tokens);
    let begun = sender.send("begin_totp", "", &ada, json!({})).await.json();
    let totp = Totp::from_url(begun["uri"].as_str().unwrap()).unwrap();
    let code = totp.generate(world.clock.now().timestamp().cast_unsigned()).to_string();
    sender.send("confirm_totp", "", &ada, json!({ "code": code })).await;
    world.clock.advance(TimeDelta::seconds(1));
    sender.send("put_password", "", &ada, json!({})).await;
}

#[tokio::test]
async fn the_page_shows_them() {
    let world = World::new().await;
    let page = String::from_utf8(world.anonymous("GET /docs").send().await.bytes).unwrap();
    for (id, operation) in operations(&serde_json::to_value(openapi()).unwrap()) {
        let shown = serde_json::to_string_pretty(&operation.body).unwrap();
        let shown =
            shown.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        assert!(page.contains(&format!("<pre>{shown}</pre>")), "{id}");
    }
}
