//! What a vault holds of a token.

use alloy::primitives::Address;
use laurel_events::Amount;

use crate::{ChainError, ChainNode, Erc20, RewardVault, funding::ask};

/// What a vault holds of a token, in base units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// All of it.
    pub balance: Amount,
    /// What no campaign has a cap for: nobody is owed it, and the vault's owner may withdraw it.
    pub uncommitted: Amount,
}

/// What the vault holds of the token in the latest block.
///
/// # Errors
/// If the node does not answer.
pub async fn vault_holdings(
    node: &dyn ChainNode,
    vault: Address,
    token: Address,
) -> Result<Holdings, ChainError> {
    let balance = ask(node, vault, token, Erc20::balanceOfCall { owner: vault }).await?;
    let uncommitted = ask(node, vault, vault, RewardVault::uncommittedCall { token }).await?;
    Ok(Holdings { balance: Amount::new(balance), uncommitted: Amount::new(uncommitted) })
}
