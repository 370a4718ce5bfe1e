//! A chain, its nodes and its vault.

use alloy::primitives::Address;
use anyhow::bail;
use laurel_chain::Finality;
use serde::Deserialize;

use crate::secret::Secret;

/// Less is less than a block takes on some chains: everything would expire before it is mined.
const SETTLEMENT_LIFETIME_MIN_MS: u64 = 10_000;

/// The vault's MAX_LIFETIME, for which the vault itself is asked as well before anything is signed.
const SETTLEMENT_LIFETIME_MAX_MS: u64 = 3_600_000;

/// Who refuses is asked at least twice: refused places rest for longer than this.
const GIVE_UP_REFUSED_MIN_MS: u64 = 1_000;

/// A chain and its vault.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chain {
    /// The chain's id (EIP-155).
    pub(crate) id: u64,
    /// Nodes, those that are liked best first. Questions stay with one while it is fit.
    pub(crate) rpc_urls: Vec<Secret>,
    /// How many of them have to agree on what is final; more than half without.
    #[serde(default)]
    pub(crate) final_quorum: Option<usize>,
    /// The vault.
    pub(crate) vault: Address,
    /// The block that holds the vault's deployment, or an earlier one; found on the chain without.
    #[serde(default)]
    pub(crate) deploy_block: Option<u64>,
    /// When a block is final.
    #[serde(default = "finalized")]
    pub(crate) finality: Finality,
    /// Sources of the lanes' keys.
    #[serde(default)]
    pub(crate) lane_keys: Vec<String>,
    /// Source of the key of the vault's owner.
    #[serde(default)]
    pub(crate) treasury_key: Option<String>,
    /// Where the key comes from that pauses the vault: of its guardian, or of its owner.
    #[serde(default)]
    pub(crate) guardian_key: Option<String>,
    /// The organisations whose managers may spend the treasury; the others are told what to call.
    #[serde(default = "treasury_orgs")]
    pub(crate) treasury_orgs: Vec<String>,
    /// The most a unit of gas may cost a lane or the treasury. A guardian pauses at any price.
    #[serde(default = "max_fee_per_gas_gwei")]
    pub(crate) max_fee_per_gas_gwei: u64,
    /// How long after its signature the vault refuses a settlement.
    #[serde(default = "settlement_lifetime_ms")]
    pub(crate) settlement_lifetime_ms: u64,
    /// How long a grant is tried again that its recipient refuses, before it is cancelled on the chain.
    #[serde(default = "give_up_refused_ms")]
    pub(crate) give_up_refused_ms: u64,
    /// How often the head is asked for.
    #[serde(default = "poll_interval_ms")]
    pub(crate) poll_interval_ms: u64,
}

const fn finalized() -> Finality {
    Finality::Finalized
}

/// The organisation that every database begins with.
fn treasury_orgs() -> Vec<String> {
    vec!["default".to_owned()]
}

/// Wei in a gwei.
const GWEI: u128 = 1_000_000_000;

const fn max_fee_per_gas_gwei() -> u64 {
    200
}

const fn settlement_lifetime_ms() -> u64 {
    600_000
}

/// A day: whoever paused or locked something by mistake has noticed.
const fn give_up_refused_ms() -> u64 {
    86_400_000
}

/// A fifth of the shortest block time in wide use.
const fn poll_interval_ms() -> u64 {
    200
}

impl Chain {
    /// A chain with one node and no keys, and everything else as it is without a setting.
    pub(crate) fn new(id: u64, rpc_url: &str, vault: Address) -> Self {
        Self {
            id,
            rpc_urls: vec![Secret::new(rpc_url)],
            vault,
            final_quorum: None,
            deploy_block: None,
            finality: finalized(),
            lane_keys: Vec::new(),
            treasury_key: None,
            guardian_key: None,
            treasury_orgs: treasury_orgs(),
            max_fee_per_gas_gwei: max_fee_per_gas_gwei(),
            settlement_lifetime_ms: settlement_lifetime_ms(),
            give_up_refused_ms: give_up_refused_ms(),
            poll_interval_ms: poll_interval_ms(),
        }
    }

    /// The most a unit of gas may cost, in wei.
    pub(crate) fn max_fee_per_gas(&self) -> u128 {
        u128::from(self.max_fee_per_gas_gwei) * GWEI
    }

    /// How many endpoints have to agree on what is final. More than half, so that two halves cannot agree on two truths.
    pub(crate) fn final_quorum(&self) -> usize {
        self.final_quorum.unwrap_or(self.rpc_urls.len() / 2 + 1)
    }

    /// Refuses what could never work, or only harm.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.id == 0 || i64::try_from(self.id).is_err() {
            bail!("chains.id is a positive number of at most 63 bits: the node's eth_chainId");
        }
        if self.rpc_urls.is_empty() {
            bail!("rpc_urls is empty: name a node, such as http://127.0.0.1:8545");
        }
        if !(1..=self.rpc_urls.len()).contains(&self.final_quorum()) {
            bail!(
                "final_quorum is from 1 to the {} of rpc_urls: more could never agree, fewer say nothing",
                self.rpc_urls.len()
            );
        }
        if self.finality == (Finality::Depth { depth: 0 }) {
            bail!(
                "finality = {{ depth = 0 }} would take the newest block for final, which any reorganisation undoes: use \
                 a depth that the chain never reorganises, such as 12, or \"finalized\""
            );
        }
        if self.poll_interval_ms == 0 {
            bail!(
                "poll_interval_ms is at least 1, such as 200: with 0 the node would be asked without a pause"
            );
        }
        if self.max_fee_per_gas_gwei == 0 {
            bail!("max_fee_per_gas_gwei is at least 1: nothing is mined for nothing");
        }
        if !(SETTLEMENT_LIFETIME_MIN_MS..=SETTLEMENT_LIFETIME_MAX_MS).contains(&self.settlement_lifetime_ms) {
            bail!(
                "settlement_lifetime_ms is from {SETTLEMENT_LIFETIME_MIN_MS}, so that a settlement can be mined, to \
                 {SETTLEMENT_LIFETIME_MAX_MS}, which the vault allows"
            );
        }
        if self.give_up_refused_ms < GIVE_UP_REFUSED_MIN_MS {
            bail!("give_up_refused_ms is at least {GIVE_UP_REFUSED_MIN_MS}: what is given up is never paid");
        }
        Ok(())
    }
}
