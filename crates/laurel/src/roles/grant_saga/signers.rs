//! The keys of a chain, and the checks that the vault takes what they sign.

use std::{collections::HashMap, sync::Arc, time::Duration};

use alloy::{primitives::Address, sol_types::SolCall};
use anyhow::{Context, bail};
use laurel_chain::{Call, LaneSigner, RewardVault};

use crate::{
    connect::{self, ConnectedChain},
    environment::Environment,
};

/// Who signs for a chain.
pub(super) struct Signers {
    pub(super) lanes: Vec<Arc<dyn LaneSigner>>,
    pub(super) treasury: Option<Arc<dyn LaneSigner>>,
}

/// Loads the keys of a chain, and asks its vault whether it would take what they sign. Accounts of `retired` lanes may be no operators
/// any more: what they have signed is still seen to.
pub(super) async fn load(
    chain: &ConnectedChain,
    environment: &Environment,
    retired: &[Address],
) -> anyhow::Result<Signers> {
    let key = |source: &str| -> anyhow::Result<Arc<dyn LaneSigner>> {
        Ok(Arc::new(connect::key(source, environment)?))
    };
    let mut named: Vec<(String, Arc<dyn LaneSigner>)> = Vec::new();
    for (index, source) in chain.config.lane_keys.iter().enumerate() {
        named.push((
            format!("lane_keys[{index}]"),
            key(source).with_context(|| format!("lane_keys[{index}]"))?,
        ));
    }
    let lanes: Vec<_> = named.iter().map(|(_, signer)| signer.clone()).collect();
    let treasury = chain.config.treasury_key.as_deref().map(key).transpose().context("treasury_key")?;
    named.extend(treasury.iter().map(|signer| ("treasury_key".to_owned(), signer.clone())));
    require_different(&named)?;
    if !lanes.is_empty() {
        require_lifetime(chain).await?;
    }
    for lane in lanes.iter().filter(|lane| !retired.contains(&lane.address())) {
        require_operator(chain, lane.address()).await?;
    }
    if let Some(treasury) = &treasury {
        require_owner(chain, treasury.address()).await?;
    }
    Ok(Signers { lanes, treasury })
}

/// Loads the key of a lane that is added, with the same questions to the vault.
pub(crate) async fn lane(
    chain: &ConnectedChain,
    source: &str,
    environment: &Environment,
    retired: bool,
) -> anyhow::Result<Arc<dyn LaneSigner>> {
    let signer: Arc<dyn LaneSigner> = Arc::new(connect::key(source, environment)?);
    if asked(chain, RewardVault::ownerCall {}).await? == signer.address() {
        bail!(
            "{source} is the key of the vault's owner: give the lane a key of its own, because two signers of one account \
             take each other's nonces"
        );
    }
    require_lifetime(chain).await?;
    if !retired {
        require_operator(chain, signer.address()).await?;
    }
    Ok(signer)
}

/// Each signer keeps count of its account's nonces, so two of one account would take each other's.
fn require_different(named: &[(String, Arc<dyn LaneSigner>)]) -> anyhow::Result<()> {
    let mut seen: HashMap<Address, &str> = HashMap::new();
    for (name, signer) in named {
        if let Some(before) = seen.insert(signer.address(), name) {
            bail!(
                "{before} and {name} are the same key, of {}: give each a key of its own, because two signers of one \
                 account take each other's nonces",
                signer.address(),
            );
        }
    }
    Ok(())
}

async fn require_operator(chain: &ConnectedChain, lane: Address) -> anyhow::Result<()> {
    if asked(chain, RewardVault::isOperatorCall { operator: lane }).await? {
        return Ok(());
    }
    let vault = chain.vault.identity.vault;
    bail!(
        "lane {lane} is no operator of vault {vault}, which would refuse all it signs: the vault's owner has to call \
         setOperator({lane}, true) on it, for example with `cast send {vault} 'setOperator(address,bool)' {lane} true \
         --rpc-url URL --private-key KEY`"
    )
}

async fn require_owner(chain: &ConnectedChain, treasury: Address) -> anyhow::Result<()> {
    let owner = asked(chain, RewardVault::ownerCall {}).await?;
    if owner == treasury {
        return Ok(());
    }
    bail!(
        "treasury_key is of {treasury}, but vault {} belongs to {owner}, who alone opens and funds campaigns: use the \
         owner's key, or leave treasury_key out and have the owner sign what `fund` answers",
        chain.vault.identity.vault,
    )
}

/// Asks the vault whether it lets a key pause it.
pub(crate) async fn require_guardian(chain: &ConnectedChain, key: &dyn LaneSigner) -> anyhow::Result<()> {
    let guardian = asked(chain, RewardVault::guardianCall {}).await?;
    if guardian == key.address() || asked(chain, RewardVault::ownerCall {}).await? == key.address() {
        return Ok(());
    }
    let (key, vault) = (key.address(), chain.vault.identity.vault);
    bail!(
        "{key} may not pause vault {vault}, whose guardian is {guardian}: use the guardian's key, or have the vault's owner \
         call setGuardian({key}) on it"
    )
}

async fn require_lifetime(chain: &ConnectedChain) -> anyhow::Result<()> {
    let allowed = Duration::from_secs(asked(chain, RewardVault::MAX_LIFETIMECall {}).await?);
    let configured = Duration::from_millis(chain.config.settlement_lifetime_ms);
    if configured <= allowed {
        return Ok(());
    }
    bail!(
        "settlement_lifetime_ms is {}, and vault {} refuses what is good for longer than {} ms: use at most that",
        configured.as_millis(),
        chain.vault.identity.vault,
        allowed.as_millis(),
    )
}

async fn asked<C: SolCall>(chain: &ConnectedChain, question: C) -> anyhow::Result<C::Return> {
    let vault = chain.vault.identity.vault;
    let call = Call { from: Address::ZERO, to: vault, data: question.abi_encode().into(), gas: None };
    let asking = || format!("ask vault {vault} for {}", C::SIGNATURE);
    let answer = chain.node.call(call).await.with_context(asking)?;
    C::abi_decode_returns(&answer).with_context(asking)
}

#[cfg(test)]
mod tests;
