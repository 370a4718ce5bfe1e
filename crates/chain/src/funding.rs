//! What the vault's owner has to call to give a campaign its cap.

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
    let found = RewardVault::campaignCall { id };
    let call = Call { from: vault, to: vault, data: found.abi_encode().into(), gas: None };
    let answer = match node.agreed_call(call).await {
        Ok(answer) => answer,
        Err(CallError::Reverted(data)) => {
            return Err(ChainError::Untrue(format!("the vault reverts with {data}")));
        }
        Err(CallError::Chain(error)) => return Err(error),
    };
    let found = RewardVault::campaignCall::abi_decode_returns(&answer)
        .map_err(|error| ChainError::Untrue(format!("the vault's answer to campaign(): {error}")))?;
    if found.terms.token != Address::ZERO {
        return Ok(RewardVault::raiseCapCall { campaign: id, cap: units }.abi_encode().into());
    }
    let batch = transfers_batches(node, vault, token).await?;
    let terms = Terms { token, batch, grantGas: GRANT_GAS, cap: units, windowLimit: U96::ZERO, window: 0 };
    Ok(RewardVault::openCall { campaign: id, terms }.abi_encode().into())
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
