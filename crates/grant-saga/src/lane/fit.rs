//! Cutting a plan to what the chain would pay of it.

use alloy::{
    primitives::{Bytes, U256},
    sol_types::SolCall,
};
use laurel_chain::{
    Call, CallError, ChainError, Erc20, GrantWord, PaidMask, RewardVault, Settlement, Terms, revert_reason,
};
use laurel_events::CampaignId;
use laurel_ledger::ChainPlace;

use super::{LaneDriver, LaneError};
use crate::{
    plan::Plan,
    simulate::{Verdict, Whom, simulate, words_within},
};

/// How often a plan is made smaller, or its gas raised, before it is passed over: 2^24 gas are reached in nine steps.
const FITS_MAX: usize = 12;

/// What becomes of a plan.
pub(super) enum Fitted {
    /// The chain would pay all that is left of it.
    Pays { data: Bytes, gas_limit: u64 },
    /// Its only place is refused by the recipient: the token pays others. That was the answer to this settlement.
    Refused { settle: Call },
    /// Only places are left of it that are not sent.
    Empty,
    /// The campaign's token would pay what the first place is due to nobody.
    PaysNobody(String),
    /// The chain would pay nothing of it.
    Never(String),
    /// Only errors are answered when it is asked what the chain would do.
    Unanswered(String),
}

impl LaneDriver {
    /// Cuts a plan to what the chain would pay of it. An error in answer may be the plan's own doing: other campaigns do not wait for it.
    pub(super) async fn fit(&mut self, plan: &mut Plan, deadline: u64) -> Result<Fitted, LaneError> {
        match self.cut(plan, deadline).await {
            Err(LaneError::Chain(error)) if error.is_answer() => Ok(Fitted::Unanswered(error.in_short())),
            fitted => fitted,
        }
    }

    /// Cuts a plan to what the vault's limits, a transaction's gas and the recipients let through.
    async fn cut(&mut self, plan: &mut Plan, deadline: u64) -> Result<Fitted, LaneError> {
        let campaign = plan.segment.campaign;
        for _ in 0..FITS_MAX {
            let gas = self.gas.get(&campaign).copied().unwrap_or_default();
            plan.cut(gas.grants_max().min(plan.places.len()));
            if plan.open().next().is_none() {
                return Ok(Fitted::Empty);
            }
            let gas_limit = gas.limit(plan.segment.words.len());
            let data = Settlement { deadline, segments: vec![plan.segment.clone()] }.calldata();
            let call = self.to_vault(data.clone(), Some(gas_limit));
            match simulate(&*self.node, Whom::Anybody, plan.segment.first_seq, call.clone()).await? {
                Verdict::Pays(mask) => {
                    let unpaid = |place: &&ChainPlace| !mask.contains(place.seq);
                    let unpaid: Vec<ChainPlace> = plan.open().filter(unpaid).copied().collect();
                    if unpaid.is_empty() {
                        return Ok(Fitted::Pays { data, gas_limit });
                    }
                    let burned = self.burned(plan).await?;
                    plan.leave_out(&unpaid, &burned);
                }
                Verdict::NothingPaid => {
                    if let Some(problem) = self.token_trouble(Whom::Anybody, plan).await? {
                        return Ok(Fitted::PaysNobody(problem));
                    }
                    if plan.open().nth(1).is_none() {
                        return Ok(Fitted::Refused { settle: call });
                    }
                    plan.cut_to_one();
                }
                Verdict::Burned if plan.open().nth(1).is_none() => {
                    return Ok(Fitted::Never("it would pay nobody: the place is burned".to_owned()));
                }
                Verdict::Burned => plan.cut_to_one(),
                Verdict::Never(problem) => return Ok(Fitted::Never(problem)),
                Verdict::OverLimit { left } => match words_within(&plan.segment.words, left) {
                    0 => {
                        let terms = self.terms(Whom::Anybody, campaign).await?;
                        let limit = U256::from(terms.windowLimit);
                        if terms.window != 0 && words_within(&plan.segment.words, limit) == 0 {
                            // No window will ever let the first one through: it alone is set back.
                            plan.cut_to_one();
                        }
                        return Ok(Fitted::Never(format!(
                            "the vault's limit leaves {left} to pay until it fills up again"
                        )));
                    }
                    fits => plan.cut(fits),
                },
                Verdict::GasTooLow => {
                    let grant_gas = self.terms(Whom::Anybody, campaign).await?.grantGas;
                    let Some(raised) = gas.raised(grant_gas.into()) else { break };
                    self.gas.insert(campaign, raised);
                }
            }
        }
        Ok(Fitted::Never("it needs more gas than a transaction may have".to_owned()))
    }

    /// Why a quorum does not confirm that a plan's only place is refused by its recipient, which `settle` was answered with; `None` if it
    /// does. Too few who answer, or who agree, confirm nothing.
    pub(super) async fn refusal_trouble(
        &self,
        plan: &Plan,
        settle: Call,
    ) -> Result<Option<String>, LaneError> {
        match simulate(&*self.node, Whom::Quorum, plan.segment.first_seq, settle).await {
            Ok(Verdict::NothingPaid) => {}
            Ok(Verdict::Pays(_)) => {
                let why = "a quorum says that a place is paid which is refused here";
                // Whoever says that would be asked again and again else, and the grant held for as long.
                self.node.doubt(why);
                return Ok(Some(why.to_owned()));
            }
            Ok(verdict) => return Ok(Some(format!("a quorum says of it: {verdict:?}"))),
            Err(error) => return Ok(Some(error.to_string())),
        }
        match self.token_trouble(Whom::Quorum, plan).await {
            Err(LaneError::Chain(error)) => Ok(Some(error.to_string())),
            trouble => trouble,
        }
    }

    pub(super) fn to_vault(&self, data: Bytes, gas: Option<u64>) -> Call {
        Call { from: self.address(), to: self.vault.identity.vault, data, gas }
    }

    /// What the vault was told about a campaign.
    async fn terms(&self, whom: Whom, campaign: CampaignId) -> Result<Terms, LaneError> {
        let found = self.asked(whom, RewardVault::campaignCall { id: campaign.on_chain() }).await?;
        Ok(found.terms)
    }

    /// The bits that the vault has burned where a plan's places lie.
    async fn burned(&self, plan: &Plan) -> Result<PaidMask, LaneError> {
        let segment = &plan.segment;
        let last_seq = segment.first_seq + segment.words.len() as u64;
        let mut words = Vec::new();
        for word in segment.first_seq >> 8..=last_seq >> 8 {
            let campaign = segment.campaign.on_chain();
            words.push(self.asked(Whom::Anybody, RewardVault::burnedCall { campaign, word }).await?);
        }
        Ok(PaidMask::new(segment.first_seq, words))
    }

    async fn asked<C: SolCall>(&self, whom: Whom, question: C) -> Result<C::Return, LaneError> {
        let untrue =
            |why: String| ChainError::Untrue(format!("the vault's answer to {}: {why}", C::SIGNATURE));
        let call = self.to_vault(question.abi_encode().into(), None);
        let answer = whom.call(&*self.node, call).await.map_err(|error| match error {
            CallError::Chain(error) => error,
            CallError::Reverted(_) => untrue("it reverts".to_owned()),
        })?;
        Ok(C::abi_decode_returns(&answer).map_err(|error| untrue(error.to_string()))?)
    }

    /// Why a campaign's token would not transfer what a plan's first place is due to anybody; `None` if it would. The control is a
    /// transfer of that from the vault to the lane, a plain account.
    async fn token_trouble(&self, whom: Whom, plan: &Plan) -> Result<Option<String>, LaneError> {
        let token = self.terms(whom, plan.segment.campaign).await?.token;
        let first = plan.segment.words.iter().find(|word| !word.is_zero());
        let amount =
            first.and_then(|word| GrantWord::decode(*word)).map(GrantWord::amount).unwrap_or_default();
        let value = amount.units();
        let data = Erc20::transferCall { to: self.address(), value }.abi_encode().into();
        let call = Call { from: self.vault.identity.vault, to: token, data, gas: None };
        match whom.call(&*self.node, call).await {
            // Some tokens return nothing, as the vault knows too.
            Ok(answer) if answer.is_empty() => Ok(None),
            Ok(answer) => Ok(match Erc20::transferCall::abi_decode_returns(&answer) {
                Ok(true) => None,
                _ => Some(format!("token {token} transfers nothing: it answers {answer}")),
            }),
            Err(CallError::Reverted(data)) => {
                Ok(Some(format!("token {token} transfers nothing: {}", revert_reason(&data))))
            }
            Err(CallError::Chain(error)) => Err(error.into()),
        }
    }
}
