//! What comes in from outside: outcomes, wallets, managers and operators, through the functions that the API uses.

use std::{collections::BTreeMap, sync::Arc};

use alloy::primitives::{Address, Bytes};
use anyhow::Context as _;
use chrono::TimeDelta;
use laurel_bus::{Letter, LetterState, list_letters, redrive_letter};
use laurel_campaign::{By, CampaignError, Move, move_campaign};
use laurel_chain::{ChainNode, LaneSigner, LocalKey, NonceAt};
use laurel_devnet::testing::CONTRACT_WALLET_SIGNATURE;
use laurel_events::{
    CampaignId, Clock, Event, GameOutcomeRecorded, NewEvent, OrgId, OutcomeKey, PlayerId,
    alert::NONCE_USED_ELSEWHERE,
};
use laurel_grant_saga::{Lane, LaneState, list_lanes, settle_lane};
use laurel_ledger::{
    Context, LedgerError, Place, RecordedOutcome, Vault, append, commit, find_outcomes, insert_outcomes,
};
use laurel_players::{
    ChallengeRequest, LinkError, Proof, Purpose, issue_challenge, link_wallet, prove_wallet,
};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::{genesis::CHAIN_ID, restore::recover, retold::retell, taken_back::rebase};

/// The organisation that everything belongs to.
pub(crate) const ORG: OrgId = OrgId(1);

/// Who posts outcomes.
const ISSUER: &str = "game-server";

/// An outcome as a game server tells it.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) number: usize,
    pub(crate) player: PlayerId,
    pub(crate) game: &'static str,
    pub(crate) score: u64,
}

/// Something that somebody outside wants.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// A game server posts outcomes.
    Outcomes(Vec<Told>),
    /// A player links the wallet of a key.
    LinkKey { player: PlayerId, secret: String },
    /// A player links a contract wallet.
    LinkContract { player: PlayerId, wallet: Address },
    /// A manager pauses or resumes a campaign.
    Campaign { campaign: CampaignId, action: Move },
    /// An operator has dead letters tried again.
    Redrive,
    /// An operator recovers the database, which was set back.
    Recover,
    /// An operator has lanes go on that were halted.
    ResumeLanes,
    /// An operator has the ledger follow a chain that has taken back what was final.
    Rebase,
    /// The watcher tells again what it told.
    Retell,
}

impl Request {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Outcomes(_) => "outcomes",
            Self::LinkKey { .. } | Self::LinkContract { .. } => "wallet",
            Self::Campaign { .. } => "campaign",
            Self::Redrive => "redrive",
            Self::Recover => "recover",
            Self::ResumeLanes => "lanes that go on",
            Self::Rebase => "rebase",
            Self::Retell => "telling again",
        }
    }

    /// Whether it comes from neither game servers nor players.
    pub(crate) const fn is_of_staff(&self) -> bool {
        !matches!(self, Self::Outcomes(_) | Self::LinkKey { .. } | Self::LinkContract { .. })
    }
}

/// Whether somebody else has used nonces of a lane, whose account has `sent` so many transactions: it stands for that, or
/// has nothing to sign and has not noticed.
pub(crate) fn is_overtaken(lane: &Lane, sent: u64) -> bool {
    match lane.state {
        LaneState::Halted => lane.reason.as_deref() == Some(NONCE_USED_ELSEWHERE),
        _ => lane.open_batches == 0 && sent > lane.next_nonce,
    }
}

/// The part of a replica that serves requests.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) pool: PgPool,
    pub(crate) node: Arc<dyn ChainNode>,
    pub(crate) vault: Vault,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: ChaCha8Rng,
}

impl Door {
    /// Serves a request. Returns what the client is told.
    pub(crate) async fn serve(&mut self, request: &Request) -> anyhow::Result<String> {
        match request {
            Request::Outcomes(outcomes) => self.outcomes(outcomes).await,
            Request::LinkKey { player, secret } => {
                let key = LocalKey::from_hex(secret).context("a key")?;
                self.link(*player, key.address(), |message| Ok(key.sign_message(message.as_bytes())?)).await
            }
            Request::LinkContract { player, wallet } => {
                self.link(*player, *wallet, |_| Ok(CONTRACT_WALLET_SIGNATURE.to_vec().into())).await
            }
            Request::Campaign { campaign, action } => self.campaign(*campaign, *action).await,
            Request::Redrive => self.redrive().await,
            Request::Retell => retell(&self.pool, &Context::at(self.clock.now())).await,
            Request::Recover => {
                let chain = (self.vault, self.node.clone());
                recover(&self.pool, chain, &*self.clock, &mut self.rng).await
            }
            Request::Rebase => rebase(&self.pool, self.node.clone(), &*self.clock, &mut self.rng).await,
            Request::ResumeLanes => self.resume_lanes().await,
        }
    }

    /// As `laurel lanes resume` does.
    async fn resume_lanes(&self) -> anyhow::Result<String> {
        let lanes = list_lanes(&mut *self.pool.acquire().await?).await?;
        let mut displaced = 0;
        for lane in &lanes {
            if !is_overtaken(lane, self.node.nonce(lane.address, NonceAt::Latest).await?) {
                continue;
            }
            displaced +=
                settle_lane(&self.pool, &*self.node, self.clock.now(), &self.vault, lane, LaneState::Active)
                    .await?;
        }
        Ok(format!("{displaced} batches were displaced"))
    }

    /// Records what is new and tells duplicates and conflicts, as `POST /outcomes` does.
    async fn outcomes(&self, told: &[Told]) -> anyhow::Result<String> {
        let context = Context::at(self.clock.now());
        let mut tx = self.pool.begin().await?;
        let keys: Vec<OutcomeKey> = told.iter().map(Told::key).collect();
        let mut known = find_outcomes(&mut tx, &keys).await?;
        let mut answer: BTreeMap<&str, usize> = BTreeMap::new();
        let mut fresh: Vec<&Told> = Vec::new();
        for told in told {
            let status = match known.get(&told.key()) {
                Some(digest) if *digest == told.digest() => "duplicate",
                Some(_) => "conflict",
                None => {
                    known.insert(told.key(), told.digest());
                    fresh.push(told);
                    "accepted"
                }
            };
            *answer.entry(status).or_default() += 1;
        }
        if fresh.is_empty() {
            tx.rollback().await?;
            return Ok(format!("{answer:?}"));
        }
        let events: Vec<NewEvent> = fresh
            .iter()
            .map(|told| NewEvent { occurred_at: Some(context.now - told.late()), ..told.event().into() })
            .collect();
        let places = append(&mut tx, &context, &events).await?;
        let mut rows: Vec<RecordedOutcome> = fresh
            .iter()
            .zip(places)
            .map(|(told, id)| RecordedOutcome { key: told.key(), digest: told.digest(), place: Place(id) })
            .collect();
        rows.sort_unstable_by_key(|row| row.key);
        match insert_outcomes(&mut tx, ORG, &rows).await {
            Err(LedgerError::Database(sqlx::Error::Database(error))) if error.is_unique_violation() => {
                tx.rollback().await?;
                anyhow::bail!("somebody else records the same outcomes");
            }
            inserted => inserted?,
        }
        commit(tx, "outcomes").await?;
        Ok(format!("{answer:?}"))
    }

    async fn link(
        &mut self,
        player: PlayerId,
        address: Address,
        sign: impl FnOnce(&str) -> anyhow::Result<Bytes>,
    ) -> anyhow::Result<String> {
        let context = Context::at(self.clock.now());
        let request = ChallengeRequest {
            purpose: Purpose::Link,
            player,
            address,
            chain_id: CHAIN_ID,
            domain: "sim",
            uri: "http://sim",
        };
        let mut tx = self.pool.begin().await?;
        let challenge = issue_challenge(&mut tx, context.now, &mut self.rng, request).await?;
        commit(tx, "challenge").await?;
        let proof = Proof { signature: sign(&challenge.message)?, message: challenge.message };
        let mut conn = self.pool.acquire().await?;
        let proven = prove_wallet(&mut conn, &*self.node, context.now, player, proof).await;
        drop(conn);
        let wallet = match proven {
            // The player gives up.
            Err(error @ LinkError::WrongSignature { .. }) => return Ok(error.to_string()),
            proven => proven?,
        };
        let mut tx = self.pool.begin().await?;
        let linked = link_wallet(&mut tx, &context, player, &wallet).await?;
        commit(tx, "wallet").await?;
        Ok(format!("version {}", linked.version))
    }

    async fn campaign(&self, campaign: CampaignId, action: Move) -> anyhow::Result<String> {
        let context = Context::at(self.clock.now());
        let mut tx = self.pool.begin().await?;
        match move_campaign(&mut tx, &context, ORG, campaign, action, By::somebody("manager")).await {
            Ok(_) => {}
            // Asked twice: the first one was served, and the answer lost.
            Err(CampaignError::State(error)) => {
                tx.rollback().await?;
                return Ok(error.to_string());
            }
            Err(error) => return Err(error.into()),
        }
        commit(tx, "campaign_moved").await?;
        Ok(format!("{action:?}"))
    }

    async fn redrive(&self) -> anyhow::Result<String> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let letters: Vec<Letter> =
            list_letters(&mut tx, Some(LetterState::Dead), 0, i64::from(u16::MAX)).await?;
        for letter in &letters {
            redrive_letter(&mut tx, now, letter.id).await?;
        }
        commit(tx, "redrive").await?;
        Ok(format!("{} letters", letters.len()))
    }
}

impl Told {
    fn outcome_id(&self) -> String {
        format!("match-{}", self.number)
    }

    pub(crate) fn key(&self) -> OutcomeKey {
        OutcomeKey::derive(ORG, ISSUER, &self.outcome_id())
    }

    /// How long ago it occurred: worlds begin at midnight, so that some did so on the day before.
    fn late(&self) -> TimeDelta {
        TimeDelta::minutes(if self.number.is_multiple_of(3) { 20 } else { 0 })
    }

    fn digest(&self) -> [u8; 32] {
        Sha256::digest(format!("{self:?}")).into()
    }

    fn event(&self) -> Event {
        GameOutcomeRecorded {
            org: ORG,
            issuer: ISSUER.to_owned(),
            outcome: self.key(),
            outcome_id: self.outcome_id(),
            game: self.game.to_owned(),
            player: self.player,
            score: self.score,
            rank: None,
            attributes: BTreeMap::new(),
        }
        .into()
    }
}
