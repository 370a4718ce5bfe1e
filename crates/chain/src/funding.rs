//! What the vault's owner has to call to give a campaign its cap, and to close it.

use alloy::{
    primitives::{Address, Bytes, aliases::U96},
    sol_types::SolCall,
};
use laurel_events::{Amount, CampaignId};

use crate::{Call, CallError, ChainError, ChainNode, RewardToken, RewardVault, Terms};

/// The stipend that each transfer gets: three times what a plain ERC-20 needs for a new holder.
const GRANT_GAS: u32 = 100_000;

/// The call that opens a campaign with this cap, or raises the cap of an open one.
///
/// # Errors
/// If the node does not answer.
pub async fn funding_call(
    node: &dyn ChainNode,
    vault: Address,
    campaign: CampaignId,
    token: Address,
    cap: Amount,
) -> Result<Bytes, ChainError> {
    let id = campaign.on_chain();
    let units: U96 = cap.units().to();
    let found = ask(node, vault, vault, RewardVault::campaignCall { id }).await?;
    if found.terms.token != Address::ZERO {
        return Ok(RewardVault::raiseCapCall { campaign: id, cap: units }.abi_encode().into());
    }
    let batch = transfers_batches(node, vault, token).await?;
    let terms = Terms { token, batch, grantGas: GRANT_GAS, cap: units, windowLimit: U96::ZERO, window: 0 };
    Ok(RewardVault::openCall { campaign: id, terms }.abi_encode().into())
}

/// What closing a campaign takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosingStep {
    /// It pays for `CLOSE_DELAY` more.
    Close,
    /// It pays nothing any more, and what its cap held beyond what was paid is nobody's.
    Release,
    /// That leaves the vault.
    Withdraw,
}

/// What comes next in closing a campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextClosingStep {
    /// When it may be released, in seconds since 1970; nothing before it is closing.
    pub closes_at: Option<u64>,
    /// What the vault's owner has to call, if there is anything to do for now.
    pub call: Option<(ClosingStep, Bytes)>,
}

/// The call that goes on with closing a campaign, of which `returned` is left once its release is final.
///
/// # Errors
/// If the node does not answer.
pub async fn next_closing_step(
    node: &dyn ChainNode,
    vault: Address,
    campaign: CampaignId,
    token: Address,
    returned: Amount,
) -> Result<NextClosingStep, ChainError> {
    let id = campaign.on_chain();
    let found = ask(node, vault, vault, RewardVault::campaignCall { id }).await?;
    let closes_at = found.closesAt.to::<u64>();
    if closes_at == 0 {
        let close = RewardVault::closeCall { campaign: id }.abi_encode().into();
        return Ok(NextClosingStep { closes_at: None, call: Some((ClosingStep::Close, close)) });
    }
    let next = |call| NextClosingStep { closes_at: Some(closes_at), call };
    if !ask(node, vault, vault, RewardVault::releasedCall { campaign: id }).await? {
        let release = RewardVault::releaseCall { campaign: id }.abi_encode().into();
        let due = node.chain_time().await? >= closes_at;
        return Ok(next(due.then_some((ClosingStep::Release, release))));
    }
    if returned.is_zero() {
        return Ok(next(None));
    }
    let to = ask(node, vault, vault, RewardVault::ownerCall {}).await?;
    let withdraw = RewardVault::withdrawCall { token, to, amount: returned.units() };
    Ok(next(Some((ClosingStep::Withdraw, withdraw.abi_encode().into()))))
}

/// What the vault, or its token, answers to the vault: neither reverts.
pub(crate) async fn ask<C: SolCall>(
    node: &dyn ChainNode,
    vault: Address,
    to: Address,
    call: C,
) -> Result<C::Return, ChainError> {
    let call = Call { from: vault, to, data: call.abi_encode().into(), gas: None };
    let answer = match node.agreed_call(call).await {
        Ok(answer) => answer,
        Err(CallError::Reverted(data)) => {
            return Err(ChainError::Untrue(format!("{to} reverts with {data}")));
        }
        Err(CallError::Chain(error)) => return Err(error),
    };
    C::abi_decode_returns(&answer)
        .map_err(|error| ChainError::Untrue(format!("the answer of {to} to {}: {error}", C::SIGNATURE)))
}

/// Whether the token pays many at once: it answers an empty batch with a total of zero.
async fn transfers_batches(node: &dyn ChainNode, vault: Address, token: Address) -> Result<bool, ChainError> {
    let data = RewardToken::transferBatchCall { grants: Vec::new() }.abi_encode();
    // For the campaign's whole life, so not one node's word.
    match node.agreed_call(Call { from: vault, to: token, data: data.into(), gas: None }).await {
        Ok(answer) => Ok(answer.len() == 32 && answer.iter().all(|byte| *byte == 0)),
        Err(CallError::Reverted(_)) => Ok(false),
        Err(CallError::Chain(error)) => Err(error),
    }
}
