//! From a plan to signed bytes, if the chain says that they would pay.

use alloy::{
    primitives::{Bytes, U256},
    sol_types::SolCall,
};
use chrono::{DateTime, TimeDelta, Utc};
use laurel_chain::{BlockRef, Call, CallError, ChainError, RewardVault, Settlement, Terms, TxRequest};
use laurel_events::{AttemptId, BatchId, CampaignId};
use laurel_ledger::commit;

use super::{LaneDriver, LaneError};
use crate::{
    alerts::{campaign_alert, places_alert},
    lanes::Lease,
    plan::{Closing, Plan, SetBack, plan_batch, set_back},
    simulate::{Verdict, simulate, words_within},
    submit::SignedBatch,
};

/// How long a campaign is passed over after a simulation said that its settlement would revert.
const REVERT_REST: TimeDelta = TimeDelta::seconds(15);

/// How often a plan is made smaller, or its gas raised, before it is passed over: 2^24 gas are reached in nine steps.
const FITS_MAX: usize = 12;

/// A plan that the chain would pay, or why there is none.
enum Fitted {
    Pays { data: Bytes, gas_limit: u64 },
    Never(String),
}

impl LaneDriver {
    pub(super) async fn plan(&mut self, now: DateTime<Utc>, idle: bool) -> Result<Option<Plan>, LaneError> {
        self.resting.retain(|_, until| *until > now);
        let resting: Vec<CampaignId> = self.resting.keys().copied().collect();
        let closing = Closing {
            grants_max: self.settings.grants_max,
            age_max: TimeDelta::from_std(self.settings.age_max).unwrap_or(TimeDelta::MAX),
            idle,
        };
        let mut conn = self.pool.acquire().await?;
        Ok(plan_batch(&mut conn, now, self.vault.id, closing, &resting).await?)
    }

    /// Signs a plan, or as much of it as the chain says that it would pay.
    pub(super) async fn sign(
        &mut self,
        now: DateTime<Utc>,
        lease: Lease,
        mut plan: Plan,
    ) -> Result<Option<SignedBatch>, LaneError> {
        let latest = self.node.block(BlockRef::Latest).await?;
        let latest = latest.ok_or_else(|| ChainError::Untrue("the node has no latest block".to_owned()))?;
        let deadline = latest.header.timestamp + self.settings.settlement_lifetime.as_secs();
        let (data, gas_limit) = match self.fit(&mut plan, deadline).await? {
            Fitted::Pays { data, gas_limit } => (data, gas_limit),
            Fitted::Never(problem) => {
                self.set_back(now, &plan, problem).await?;
                return Ok(None);
            }
        };
        let fees = self.node.fees().await?;
        let wanted = fees.base_fee.saturating_mul(2).saturating_add(fees.priority_fee);
        let max_fee_per_gas = wanted.min(self.settings.max_fee_per_gas);
        let request = TxRequest {
            chain_id: self.vault.identity.chain_id,
            nonce: lease.next_nonce,
            to: Some(self.vault.identity.vault),
            data,
            gas_limit,
            max_fee_per_gas,
            max_priority_fee_per_gas: fees.priority_fee.min(max_fee_per_gas),
        };
        let signed = self.signer.sign(&request)?;
        let batch = BatchId::generate(now, &mut self.rng);
        let attempt = AttemptId::generate(now, &mut self.rng);
        Ok(Some(SignedBatch { batch, attempt, plan, deadline, request, signed }))
    }

    /// Cuts a plan to what the vault's limits and a transaction's gas let through.
    async fn fit(&mut self, plan: &mut Plan, deadline: u64) -> Result<Fitted, LaneError> {
        let campaign = plan.segment.campaign;
        for _ in 0..FITS_MAX {
            let gas = self.gas.get(&campaign).copied().unwrap_or_default();
            plan.segment.words.truncate(gas.grants_max());
            let gas_limit = gas.limit(plan.segment.words.len());
            let data = Settlement { deadline, segments: vec![plan.segment.clone()] }.calldata();
            let call = Call {
                from: self.signer.address(),
                to: self.vault.identity.vault,
                data: data.clone(),
                gas: Some(gas_limit),
            };
            match simulate(&*self.node, call).await? {
                Verdict::Pays => return Ok(Fitted::Pays { data, gas_limit }),
                Verdict::Never(problem) => return Ok(Fitted::Never(problem)),
                Verdict::OverLimit { left } => match words_within(&plan.segment.words, left) {
                    0 => {
                        let terms = self.terms(campaign).await?;
                        let limit = U256::from(terms.windowLimit);
                        if terms.window != 0 && words_within(&plan.segment.words, limit) == 0 {
                            // No window will ever let the first one through: it alone is set back.
                            plan.segment.words.truncate(1);
                        }
                        return Ok(Fitted::Never(format!("the vault's limit leaves {left} to pay for now")));
                    }
                    fits => plan.segment.words.truncate(fits),
                },
                Verdict::GasTooLow => {
                    let grant_gas = self.terms(campaign).await?.grantGas;
                    let Some(raised) = gas.raised(grant_gas.into()) else { break };
                    self.gas.insert(campaign, raised);
                }
            }
        }
        Ok(Fitted::Never("it needs more gas than a transaction may have".to_owned()))
    }

    /// What the vault was told about a campaign.
    async fn terms(&self, campaign: CampaignId) -> Result<Terms, LaneError> {
        let data = RewardVault::campaignCall { id: campaign.on_chain() }.abi_encode().into();
        let call = Call { from: self.signer.address(), to: self.vault.identity.vault, data, gas: None };
        let answer = self.node.call(call).await.map_err(|error| match error {
            CallError::Chain(error) => error,
            CallError::Reverted(_) => ChainError::Untrue("the vault has no terms".to_owned()),
        })?;
        let found = RewardVault::campaignCall::abi_decode_returns(&answer)
            .map_err(|error| ChainError::Untrue(format!("the vault's terms: {error}")))?;
        Ok(found.terms)
    }

    /// Passes over, for a while and with an alert, what the chain would not pay: places that go again, alone; else their
    /// campaign. Without a word if the places went into another lane's batch meanwhile.
    async fn set_back(&mut self, now: DateTime<Utc>, plan: &Plan, problem: String) -> Result<(), LaneError> {
        let mut tx = self.pool.begin().await?;
        let alert = match set_back(&mut tx, now, plan).await? {
            SetBack::Overtaken => return Ok(tx.rollback().await?),
            SetBack::Places => places_alert(plan, problem),
            SetBack::Campaign => {
                self.resting.insert(plan.segment.campaign, now + REVERT_REST);
                campaign_alert(plan, problem)
            }
        };
        self.raise(&mut tx, alert).await?;
        commit(tx, "set_back").await?;
        Ok(())
    }
}
