//! Players with wallets, and campaigns with money: all made through the API.

use std::time::Duration;

use alloy::primitives::keccak256;
use anyhow::{Context, bail};
use laurel_chain::{LaneSigner, LocalKey};
use laurel_events::{Clock, SystemClock, time_ordered};
use rand::{SeedableRng, rngs::StdRng};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::super::devnet::Parts;

/// Every so many-th player has no wallet.
const WITHOUT_WALLET_EVERY: u32 = 12;

/// How long campaigns may take to be funded in a final block.
const FUNDED_WITHIN: Duration = Duration::from_secs(120);

/// How often to look.
const FUNDED_POLL: Duration = Duration::from_millis(200);

/// The players of the synthetic game server.
pub(crate) struct World {
    pub(crate) players: Vec<String>,
}

/// A caller of the API.
#[derive(Clone)]
pub(crate) struct Rest {
    client: Client,
    url: String,
}

impl Rest {
    /// A caller of the API at `url`.
    pub(crate) fn new(url: &str) -> Self {
        Self { client: Client::new(), url: url.to_owned() }
    }

    /// Calls a route and returns the answer's body.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let mut request = self.client.request(method.clone(), format!("{}/v1{path}", self.url));
        if let Some(body) = body {
            request = request.json(body);
        }
        if method == Method::POST {
            let key = time_ordered(SystemClock.now(), &mut StdRng::from_os_rng());
            request = request.header("idempotency-key", key.to_string());
        }
        let response = request.send().await.with_context(|| format!("{method} {path}"))?;
        let status = response.status();
        let answer: Value = response.json().await.with_context(|| format!("{method} {path}: {status}"))?;
        if !status.is_success() {
            bail!("{method} {path}: {status}: {answer}");
        }
        Ok(answer)
    }
}

impl World {
    /// Makes players and campaigns, and waits until the campaigns have their money.
    pub(crate) async fn build(url: &str, parts: &Parts, players: u32) -> anyhow::Result<Self> {
        let rest = Rest::new(url);
        let mut campaigns = Vec::new();
        for (definition, cap) in campaigns_of(parts) {
            let made = rest.call(Method::POST, "/campaigns", Some(&definition)).await?;
            let id = made["id"].as_str().context("a campaign has an id")?.to_owned();
            rest.call(Method::POST, &format!("/campaigns/{id}/fund"), Some(&json!({ "cap": cap }))).await?;
            campaigns.push((id, cap));
        }
        let mut names = Vec::with_capacity(players as usize);
        for number in 0..players {
            let name = format!("player-{number:05}");
            rest.call(Method::PUT, &format!("/players/{name}"), None).await?;
            if number % WITHOUT_WALLET_EVERY != WITHOUT_WALLET_EVERY - 1 {
                link_wallet(&rest, parts, &name).await?;
            }
            names.push(name);
        }
        for (id, cap) in campaigns {
            tokio::time::timeout(FUNDED_WITHIN, funded(&rest, &id, cap))
                .await
                .with_context(|| format!("campaign {id} was not funded within {FUNDED_WITHIN:?}"))??;
            rest.call(Method::POST, &format!("/campaigns/{id}/activate"), None).await?;
        }
        Ok(Self { players: names })
    }
}

async fn funded(rest: &Rest, id: &str, cap: &str) -> anyhow::Result<()> {
    while rest.call(Method::GET, &format!("/campaigns/{id}/statistics"), None).await?["funded"] != cap {
        tokio::time::sleep(FUNDED_POLL).await;
    }
    Ok(())
}

/// Links a wallet the way a player does: a challenge out, a signature in.
async fn link_wallet(rest: &Rest, parts: &Parts, player: &str) -> anyhow::Result<()> {
    let key = LocalKey::from_hex(&keccak256(player).to_string()).context("a hash is a key")?;
    let ask = json!({ "address": key.address().to_checksum(None), "chain_id": parts.chain_id });
    let path = format!("/players/{player}/wallet/challenge");
    let challenge = rest.call(Method::POST, &path, Some(&ask)).await?;
    let message = challenge["message"].as_str().context("a challenge has a message")?;
    let proof = json!({ "message": message, "signature": key.sign_message(message.as_bytes())? });
    rest.call(Method::PUT, &format!("/players/{player}/wallet"), Some(&proof)).await?;
    Ok(())
}

/// Four campaigns: plenty for everybody, by rank, by points with a cap, and one that runs out.
fn campaigns_of(parts: &Parts) -> Vec<(Value, &'static str)> {
    let campaign = |name: &str, games: &[&str], rule: &str, reward: Value, caps: Value| {
        json!({
            "name": name, "chain_id": parts.chain_id, "token": parts.token.to_checksum(None), "games": games,
            "rule": rule, "reward": reward, "caps": caps, "wallet_deadline_hours": 72,
        })
    };
    vec![
        (
            campaign(
                "Quiz night",
                &["quiz"],
                "outcome.score >= 40",
                json!({ "kind": "fixed", "amount": "1000000000000000000" }),
                json!({}),
            ),
            "100000000000000000000000",
        ),
        (
            campaign(
                "Arena podium",
                &["arena"],
                "has(outcome.rank) && outcome.rank <= 3",
                json!({ "kind": "by_rank",
                        "amounts": ["5000000000000000000", "3000000000000000000", "1000000000000000000"] }),
                json!({}),
            ),
            "100000000000000000000000",
        ),
        (
            campaign(
                "Every metre counts",
                &["runner"],
                "outcome.score > 0 && player.grants < 20",
                json!({ "kind": "per_unit", "field": "score", "amount": "10000000000000000",
                        "cap": "800000000000000000" }),
                json!({ "grants_per_player_per_day": 10 }),
            ),
            "100000000000000000000000",
        ),
        (
            campaign(
                "First come, first served",
                &["quiz", "arena"],
                "outcome.score >= 90",
                json!({ "kind": "fixed", "amount": "2000000000000000000" }),
                json!({ "grants_per_player": 2 }),
            ),
            "200000000000000000000",
        ),
    ]
}
