//! A caller of the API who does not give up: a game server whose Laurel may be gone for a moment.

use std::time::Duration;

use alloy::primitives::{Address, keccak256};
use laurel_chain::{LaneSigner, LocalKey};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

/// How long Laurel may be gone, or a state take to be reached.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a request may take before it is made again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How often something is looked at again.
const AGAIN: Duration = Duration::from_millis(50);

/// A caller of one replica's API.
#[derive(Clone)]
pub(crate) struct Rest {
    client: Client,
    url: String,
}

impl Rest {
    /// A caller of the API at `url`.
    pub(crate) fn new(url: &str) -> Self {
        let client = Client::builder().timeout(REQUEST_TIMEOUT).build().unwrap();
        Self { client, url: url.to_owned() }
    }

    /// The port of the replica.
    pub(crate) fn port(&self) -> u16 {
        self.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("it was given with a port")
    }

    /// Calls until there is an answer that is no failure of the server, and gives its status and body.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> (StatusCode, Value) {
        let attempts = async {
            loop {
                if let Ok(response) = self.request(method.clone(), path, body).send().await
                    && !response.status().is_server_error()
                {
                    let status = response.status();
                    if let Ok(text) = response.text().await {
                        return (status, serde_json::from_str(&text).unwrap_or(Value::Null));
                    }
                }
                sleep(AGAIN).await;
            }
        };
        timeout(PATIENCE, attempts).await.unwrap_or_else(|_| panic!("{path}: no answer within {PATIENCE:?}"))
    }

    /// Calls once, and gives whatever is answered.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> (StatusCode, Value) {
        let response = self.request(method, path, body).timeout(PATIENCE).send().await.expect("an answer");
        let status = response.status();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> RequestBuilder {
        let key = format!("\"{}\"", hash_of(path, body));
        let request =
            self.client.request(method, format!("{}/v1{path}", self.url)).header("idempotency-key", key);
        match body {
            Some(body) => request.json(body),
            None => request,
        }
    }

    /// A call that must succeed.
    pub(crate) async fn must(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.call(method, path, body.as_ref()).await;
        assert!(status.is_success(), "{path}: {status}: {answer}");
        answer
    }

    /// Waits until a route's answer is as wanted.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let answer = self.must(Method::GET, path, None).await;
            if wanted(&answer) {
                return answer;
            }
            assert!(began.elapsed() < PATIENCE, "{path}: still {answer}");
            sleep(AGAIN).await;
        }
    }

    /// A player with a wallet linked as players do it; the wallet's address is returned.
    pub(crate) async fn player(&self, name: &str, chain_id: u64) -> Address {
        self.register(name).await;
        self.link(name, chain_id).await
    }

    /// A player without a wallet.
    pub(crate) async fn register(&self, name: &str) {
        self.must(Method::PUT, &format!("/players/{name}"), None).await;
    }

    /// The wallet that a player of that name has.
    pub(crate) fn wallet(name: &str) -> Address {
        LocalKey::from_hex(&keccak256(name).to_string()).unwrap().address()
    }

    /// Links a player's wallet, whose key follows from the name, as players do it.
    pub(crate) async fn link(&self, name: &str, chain_id: u64) -> Address {
        let key = LocalKey::from_hex(&keccak256(name).to_string()).unwrap();
        let ask = json!({ "address": key.address().to_checksum(None), "chain_id": chain_id });
        let challenge =
            self.must(Method::POST, &format!("/players/{name}/wallet/challenge"), Some(ask)).await;
        let message = challenge["message"].as_str().unwrap();
        let proof = json!({ "message": message, "signature": key.sign_message(message.as_bytes()).unwrap() });
        self.must(Method::PUT, &format!("/players/{name}/wallet"), Some(proof)).await;
        key.address()
    }
}

fn hash_of(path: &str, body: Option<&Value>) -> String {
    keccak256(format!("{path}{}", body.map(ToString::to_string).unwrap_or_default())).to_string()
}
