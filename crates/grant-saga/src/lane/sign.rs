//! From a plan to signed bytes, if the chain says that they would pay.

use alloy::{
    primitives::{Bytes, U256},
    sol_types::SolCall,
};
use chrono::{DateTime, TimeDelta, Utc};
use laurel_chain::{Call, CallError, RewardVault, TxRequest, revert_reason};
use laurel_events::{AttemptId, BatchId, CampaignId, NewEvent, alert::FEE_ABOVE_CAP};
use laurel_ledger::{ChainPlace, Context, append, commit};

use super::{LaneDriver, LaneError, fit::Fitted, monitor::Trouble, send::delta};
use crate::{
    alerts::{campaign_alert, places_alert},
    fees::Price,
    lanes::Lease,
    plan::{Closing, Plan, plan_batch},
    refused::{forget_refusals, held, hold_refused, is_given_up},
    setbacks::{self, SetBack, set_back},
    submit::{SignedBatch, pass_over},
};

/// How long a campaign is passed over after a simulation said that its settlement would revert, or only errors were answered.
const REVERT_REST: TimeDelta = TimeDelta::seconds(15);

/// What burning a place may use: measured at 50,753, and what rollups add for their parent chain.
const CANCEL_GAS: u64 = 300_000;

/// What a transaction is to do.
struct Content {
    data: Bytes,
    gas_limit: u64,
    /// It burns the plan's only place.
    cancels: bool,
}

impl LaneDriver {
    pub(super) async fn plan(&mut self, now: DateTime<Utc>, idle: bool) -> Result<Option<Plan>, LaneError> {
        self.resting.retain(|_, until| *until > now);
        let resting: Vec<CampaignId> = self.resting.keys().copied().collect();
        let closing =
            Closing { grants_max: self.settings.grants_max, age_max: delta(self.settings.age_max), idle };
        let mut conn = self.pool.acquire().await?;
        Ok(plan_batch(&mut conn, now, self.vault.id, closing, &resting).await?)
    }

    /// Passes over places of which none is sent.
    pub(super) async fn pass(&self, now: DateTime<Utc>, plan: &Plan) -> Result<(), LaneError> {
        let mut tx = self.pool.begin().await?;
        if pass_over(&mut tx, now, plan).await? {
            commit(tx, "passed").await?
        } else {
            tx.rollback().await?
        }
        Ok(())
    }

    /// Signs a plan, or as much of it as the chain says that it would pay.
    pub(super) async fn sign(
        &mut self,
        now: DateTime<Utc>,
        lease: Lease,
        mut plan: Plan,
    ) -> Result<Option<SignedBatch>, LaneError> {
        let chain_time = self.chain_time().await?;
        let deadline = chain_time + self.settings.settlement_lifetime.as_secs();
        let fitted = self.fit(&mut plan, deadline).await?;
        let answered_before = !self.unanswered.remove(&plan.segment.campaign);
        let content = match fitted {
            Fitted::Pays { data, gas_limit } => Content { data, gas_limit, cancels: false },
            Fitted::Refused { settle } => match self.cancellation(now, &plan, settle).await? {
                Some(content) => content,
                None => {
                    self.hold(now, &plan).await?;
                    return Ok(None);
                }
            },
            Fitted::Empty => {
                self.pass(now, &plan).await?;
                return Ok(None);
            }
            Fitted::PaysNobody(problem) => {
                self.set_back(now, &plan, setbacks::Trouble::Token, problem).await?;
                return Ok(None);
            }
            Fitted::Unanswered(problem) => {
                self.unanswered.insert(plan.segment.campaign);
                if answered_before {
                    self.rest(now, plan.segment.campaign, &problem);
                } else {
                    let problem = format!("nobody says what it would pay: {problem}");
                    self.set_back(now, &plan, setbacks::Trouble::Unknown, problem).await?;
                }
                return Ok(None);
            }
            Fitted::Never(problem) => {
                self.set_back(now, &plan, setbacks::Trouble::Unknown, problem).await?;
                return Ok(None);
            }
        };
        let market = self.node.fees().await?;
        let price = match Price::at(market, self.settings.max_fee_per_gas) {
            Ok(price) => price,
            Err(above) => {
                self.park(lease, Trouble { code: FEE_ABOVE_CAP, detail: above.to_string() }).await?;
                return Ok(None);
            }
        };
        let request = TxRequest {
            chain_id: self.vault.identity.chain_id,
            nonce: lease.next_nonce,
            to: Some(self.vault.identity.vault),
            data: content.data,
            gas_limit: content.gas_limit,
            max_fee_per_gas: price.max_fee,
            max_priority_fee_per_gas: price.tip,
        };
        let signed = self.signer.sign(&request)?;
        let batch = BatchId::generate(now, &mut self.rng);
        let attempt = AttemptId::generate(now, &mut self.rng);
        let cancels = content.cancels;
        Ok(Some(SignedBatch { batch, attempt, plan, cancels, deadline, chain_time, request, signed }))
    }

    /// Has a campaign rest without a word: an error that comes once is a node's.
    fn rest(&mut self, now: DateTime<Utc>, campaign: CampaignId, problem: &str) {
        tracing::warn!(lane.id = %self.lane, %campaign, problem, "a campaign is passed over: its settlement could not be simulated");
        self.resting.insert(campaign, now + REVERT_REST);
    }

    /// What burns a plan's only place, once its recipient has refused for as long as it is tried. The refusal was asked for
    /// a moment ago, alone, while the token pays others: a report in a settlement would not do. Nor would one endpoint's word, which
    /// would do for a place that is tried again: what is burned is burned, so a quorum is asked the same.
    async fn cancellation(
        &self,
        now: DateTime<Utc>,
        plan: &Plan,
        settle: Call,
    ) -> Result<Option<Content>, LaneError> {
        let Some(place) = plan.open().next() else { return Ok(None) };
        let campaign = plan.segment.campaign;
        let tried_for = delta(self.settings.give_up_refused);
        let mut conn = self.pool.acquire().await?;
        if !is_given_up(&mut conn, now, campaign, place, tried_for).await? {
            return Ok(None);
        }
        drop(conn);
        let ChainPlace { seq, .. } = *place;
        if let Some(why) = self.refusal_trouble(plan, settle).await? {
            tracing::warn!(%campaign, seq, why, "a refused place is not burned: no quorum confirms that it is refused");
            return Ok(None);
        }
        let cancel = RewardVault::cancelCall {
            campaign: campaign.on_chain(),
            word: seq >> 8,
            mask: U256::ONE << (seq & 0xff),
        };
        let data: Bytes = cancel.abi_encode().into();
        match self.node.call(self.to_vault(data.clone(), Some(CANCEL_GAS))).await {
            Ok(_) => Ok(Some(Content { data, gas_limit: CANCEL_GAS, cancels: true })),
            Err(CallError::Reverted(why)) => {
                tracing::warn!(%campaign, seq, why = revert_reason(&why), "a refused place cannot be burned yet");
                Ok(None)
            }
            Err(CallError::Chain(error)) if error.is_answer() => {
                tracing::warn!(%campaign, seq, %error, "a refused place cannot be burned yet");
                Ok(None)
            }
            Err(CallError::Chain(error)) => Err(error.into()),
        }
    }

    /// Has a place rest whose recipient refuses, and its grant be held.
    async fn hold(&self, now: DateTime<Utc>, plan: &Plan) -> Result<(), LaneError> {
        let mut tx = self.pool.begin().await?;
        let SetBack::Places(mut events) = set_back(&mut tx, now, plan, setbacks::Trouble::Recipient).await?
        else {
            return Ok(tx.rollback().await?);
        };
        let campaign = plan.segment.campaign;
        let refused: Vec<ChainPlace> = plan.open().copied().collect();
        let held_now = hold_refused(&mut tx, now, campaign, &refused).await?;
        events.extend(held_now.iter().map(|place| NewEvent::from(held(campaign, place))));
        append(&mut tx, &Context::at(now), &events).await?;
        commit(tx, "refused").await?;
        Ok(())
    }

    /// Passes over, for a while and with an alert, what the chain would not pay: places that go again, alone; else their
    /// campaign. Without a word if the places went into another lane's batch meanwhile.
    async fn set_back(
        &mut self,
        now: DateTime<Utc>,
        plan: &Plan,
        trouble: setbacks::Trouble,
        problem: String,
    ) -> Result<(), LaneError> {
        let mut tx = self.pool.begin().await?;
        let alert = match set_back(&mut tx, now, plan, trouble).await? {
            SetBack::Overtaken => return Ok(tx.rollback().await?),
            SetBack::Places(events) => {
                append(&mut tx, &Context::at(now), &events).await?;
                places_alert(plan, problem)
            }
            SetBack::Campaign => {
                self.resting.insert(plan.segment.campaign, now + REVERT_REST);
                campaign_alert(plan, problem)
            }
        };
        if trouble == setbacks::Trouble::Token {
            forget_refusals(&mut tx, plan.segment.campaign, plan.open()).await?;
        }
        self.raise(&mut tx, alert).await?;
        commit(tx, "set_back").await?;
        Ok(())
    }
}
