//! What is told to Laurel, and what it therefore owes to whom.

use std::collections::BTreeMap;

use alloy::primitives::{Address, keccak256};
use anyhow::{Context, bail, ensure};
use laurel_chain::{LaneSigner, LocalKey};
use laurel_events::Clock;
use reqwest::Method;
use serde_json::{Value, json};

use super::{door::Door, world::World};

/// What a grant pays.
pub(super) const REWARD: u64 = 1_000;

/// From which score on.
const SCORE_MIN: u64 = 50;

/// Scores are below this: half of the outcomes are granted.
pub(super) const SCORES: u64 = 100;

/// More than any run pays.
const CAP: &str = "1000000000000";

/// How long a campaign may take to be funded: some blocks.
const FUNDED_WITHIN: std::time::Duration = std::time::Duration::from_secs(60);

/// Somebody who plays.
#[derive(Clone, Debug)]
pub(super) struct Player {
    pub(super) name: String,
    /// Without one, grants wait.
    pub(super) wallet: Option<Address>,
    /// How many grants are owed.
    pub(super) grants: u64,
}

/// An outcome that was acknowledged.
#[derive(Clone, Debug)]
pub(super) struct Played {
    pub(super) id: String,
    pub(super) player: String,
    pub(super) score: u64,
}

impl Played {
    pub(super) fn is_granted(&self) -> bool {
        self.score >= SCORE_MIN
    }

    pub(super) fn told(&self, clock: &dyn Clock) -> Value {
        json!({
            "outcome_id": self.id, "game": "quiz", "player_id": self.player, "score": self.score,
            "occurred_at": clock.now(),
        })
    }
}

/// The whole story so far.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) campaign: String,
    pub(super) players: BTreeMap<String, Player>,
    pub(super) outcomes: u64,
}

impl Story {
    /// Begins with a campaign that is funded and active.
    pub(super) async fn begin(world: &World) -> anyhow::Result<Self> {
        let definition = json!({
            "name": "Kills", "chain_id": world.chain_id, "token": world.token.to_checksum(None), "games": ["quiz"],
            "rule": format!("outcome.score >= {SCORE_MIN}"),
            "reward": { "kind": "fixed", "amount": REWARD.to_string() }, "wallet_deadline_hours": 24,
        });
        let made = world.door.must(Method::POST, "/campaigns", Some(definition)).await?;
        let campaign = made["id"].as_str().context("a campaign has an id")?.to_owned();
        world
            .door
            .must(Method::POST, &format!("/campaigns/{campaign}/fund"), Some(json!({ "cap": CAP })))
            .await?;
        world
            .door
            .until(&format!("/campaigns/{campaign}/statistics"), FUNDED_WITHIN, |statistics| {
                statistics["funded"] == CAP
            })
            .await?;
        world.door.must(Method::POST, &format!("/campaigns/{campaign}/activate"), None).await?;
        Ok(Self { campaign, players: BTreeMap::new(), outcomes: 0 })
    }

    /// Takes note of what was acknowledged.
    pub(super) fn note(&mut self, played: &[Played]) -> anyhow::Result<()> {
        for outcome in played {
            self.outcomes += 1;
            let player = self.players.get_mut(&outcome.player).context("a player of this story")?;
            player.grants += u64::from(outcome.is_granted());
        }
        Ok(())
    }

    /// Grants to players with a wallet, and to those without.
    pub(super) fn owed(&self) -> (u64, u64) {
        let sum = |linked: bool| {
            let players = self.players.values().filter(|player| player.wallet.is_some() == linked);
            players.map(|player| player.grants).sum()
        };
        (sum(true), sum(false))
    }

    /// Those who have no wallet yet.
    pub(super) fn unlinked(&self) -> Vec<String> {
        self.players
            .values()
            .filter(|player| player.wallet.is_none())
            .map(|player| player.name.clone())
            .collect()
    }
}

/// Registers a player.
pub(super) async fn register(door: &Door, name: &str) -> anyhow::Result<()> {
    door.must(Method::PUT, &format!("/players/{name}"), None).await.map(drop)
}

/// Links a player's wallet, whose key follows from the name, as players do it; gives its address.
pub(super) async fn link(door: &Door, name: &str, chain_id: u64) -> anyhow::Result<Address> {
    let key = LocalKey::from_hex(&keccak256(name).to_string()).context("a hash is a key")?;
    let ask = json!({ "address": key.address().to_checksum(None), "chain_id": chain_id });
    let challenge = door.must(Method::POST, &format!("/players/{name}/wallet/challenge"), Some(ask)).await?;
    let message = challenge["message"].as_str().context("a challenge has a message")?;
    let proof = json!({ "message": message, "signature": key.sign_message(message.as_bytes())? });
    door.must(Method::PUT, &format!("/players/{name}/wallet"), Some(proof)).await?;
    Ok(key.address())
}

/// Tells of outcomes until all of them are taken. Another content than before would be a conflict, so the text is made once.
pub(super) async fn tell(door: &Door, told: &Value) -> anyhow::Result<()> {
    let answer = door.must(Method::POST, "/outcomes", Some(told.clone())).await?;
    taken(told, &answer)
}

/// Every outcome of an answer is accepted, or was before.
pub(super) fn taken(told: &Value, answer: &Value) -> anyhow::Result<()> {
    let count = |name: &str| answer[name].as_u64().with_context(|| format!("{name}: {answer}"));
    let (accepted, duplicates) = (count("accepted")?, count("duplicates")?);
    let Some(told) = told["outcomes"].as_array() else { bail!("no outcomes: {told}") };
    ensure!(accepted + duplicates == told.len() as u64, "not all of {} were taken: {answer}", told.len());
    Ok(())
}
