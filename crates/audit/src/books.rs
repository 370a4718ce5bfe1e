//! The books, added up from every transfer and compared with the balances and the chain.
//!
//! All of it is read in one snapshot, and the vaults are asked at the final block that the snapshot knows: the books may
//! be checked while everything runs. A campaign with money whose vault cannot be asked is a finding, never a pass.

mod rows;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use alloy::{primitives::Address, sol_types::SolCall};
use laurel_chain::{Call, ChainNode, RewardVault};
use laurel_events::{Amount, CampaignId};
use laurel_ledger::amount_from_sql;
use serde::{Serialize, Serializer};
use sqlx::PgPool;

use self::rows::{Books, Place, Row, Snapshot, VaultRow};
pub(crate) use self::rows::{Sums, balances};
use crate::{
    AuditError,
    error::{inconsistent, with_causes},
};

/// The nodes that can be asked, by chain id.
pub type Nodes = BTreeMap<u64, Arc<dyn ChainNode>>;

/// All campaigns' balances, and what does not fit.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BooksReport {
    /// The vaults' caps, and what is overdrawn: the sum of the next four.
    pub funded: Amount,
    /// Free for grants.
    pub available: Amount,
    /// Held for grants under way.
    pub reserved: Amount,
    /// Paid, as the books have it.
    pub paid: Amount,
    /// Given back to the treasury.
    pub returned: Amount,
    /// What grants stand on and the vaults have no cap for, since a chain took back what was final.
    pub overdrawn: Amount,
    /// Final on the chain, and about to be posted.
    pub unposted: Amount,
    /// What the vaults paid without a hold of ours.
    pub suspense: Amount,
    /// What the vaults say that they paid, in the blocks of `compared`.
    pub paid_on_chain: Amount,
    /// Which vaults were asked, at which block.
    pub compared: BTreeSet<Compared>,
    /// Empty when everything fits.
    pub findings: Vec<String>,
}

/// A vault that was asked what its campaigns have spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Compared {
    /// The chain.
    pub chain_id: u64,
    /// In EIP-55's spelling, as everywhere.
    #[serde(serialize_with = "checksummed")]
    pub vault: Address,
    /// The ledger's own final block.
    pub block: u64,
}

fn checksummed<S: Serializer>(address: &Address, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&address.to_checksum(None))
}

/// Adds up every transfer and compares the sums with the balances, and what was paid with what the vaults say.
///
/// # Errors
/// If a row is inconsistent or the database does not answer. A vault that does not answer is a finding.
pub async fn check_books(pool: &PgPool, nodes: &Nodes) -> Result<BooksReport, AuditError> {
    let Snapshot { vaults, places } = rows::snapshot(pool).await?;
    let mut report = BooksReport::default();
    for (place, books) in &places {
        let vault = vaults.get(&(place.chain_id, place.vault));
        let vault = vault.ok_or_else(|| inconsistent("vaults", "address", place.vault))?;
        check_place(&mut report, nodes, place, books, vault).await?;
    }
    Ok(report)
}

async fn check_place(
    report: &mut BooksReport,
    nodes: &Nodes,
    place: &Place,
    books: &Books,
    vault: &VaultRow,
) -> Result<(), AuditError> {
    let id = place.campaign;
    let paid = match &books.row {
        Some(row) => add_up(report, row, id)?,
        None => Amount::ZERO,
    };
    report.unposted = report.unposted.plus(books.unposted)?;
    report.suspense = report.suspense.plus(books.suspense)?;
    if !books.suspense.is_zero() {
        report.findings.push(format!(
            "campaign {id}: vault {} paid {} that no hold of this ledger explains; it is in suspense",
            place.vault, books.suspense,
        ));
    }
    if books.row.is_none() {
        report.findings.push(format!(
            "campaign {id}: vault {} pays for it, and this ledger does not know it",
            place.vault
        ));
    }
    let compared = match askable(nodes, place, vault) {
        Ok(asked) => asked,
        // A campaign that nobody has funded yet has nothing to compare.
        Err(_) if books.is_blank() => return Ok(()),
        Err(problem) => {
            report
                .findings
                .push(format!("campaign {id}: not compared with vault {}: {problem}", place.vault));
            return Ok(());
        }
    };
    let (node, block) = compared;
    report.compared.insert(Compared { chain_id: place.chain_id, vault: place.vault, block });
    let spent = match spent_on_chain(node, place, block).await {
        Ok(spent) => spent,
        Err(error) => {
            report.findings.push(format!(
                "campaign {id}: vault {} could not be asked at block {block}: {}",
                place.vault,
                with_causes(&error),
            ));
            return Ok(());
        }
    };
    report.paid_on_chain = report.paid_on_chain.plus(spent)?;
    let settled = paid.plus(books.suspense)?;
    if spent.plus(books.undone)? != settled.plus(books.unposted)? {
        report.findings.push(format!(
            "campaign {id}: in block {block} vault {} has paid {spent}; the books have {settled} paid or in suspense, \
             and {} about to be posted",
            place.vault, books.unposted,
        ));
    }
    Ok(())
}

/// Whom to ask about a vault, and at which block; or why nobody can be asked.
fn askable<'a>(
    nodes: &'a Nodes,
    place: &Place,
    vault: &VaultRow,
) -> Result<(&'a dyn ChainNode, u64), String> {
    let chain_id = place.chain_id;
    let node = nodes.get(&chain_id).ok_or_else(|| {
        format!("chain {chain_id} is not configured; add a [[chains]] entry of this id, with rpc_urls")
    })?;
    let block = vault.final_number.ok_or_else(|| {
        format!("no block of chain {chain_id} is final here yet; let `laurel chain-watcher` follow it")
    })?;
    if block < vault.deploy_block {
        return Err(format!(
            "the last final block here is {block}, before the vault's first, {}; let `laurel chain-watcher` catch up",
            vault.deploy_block,
        ));
    }
    Ok((&**node, block))
}

/// Adds a campaign's balances to the report, and compares them with its transfers. Returns what is paid.
fn add_up(report: &mut BooksReport, row: &Row, id: CampaignId) -> Result<Amount, AuditError> {
    let amount = |value, column| amount_from_sql(value, "accounts", column, id);
    let paid = amount(&row.paid, "paid")?;
    report.funded = report.funded.plus(amount(&row.funded, "funded")?)?;
    report.available = report.available.plus(amount(&row.available, "available")?)?;
    report.reserved = report.reserved.plus(amount(&row.reserved, "reserved")?)?;
    report.paid = report.paid.plus(paid)?;
    report.returned = report.returned.plus(amount(&row.returned, "returned")?)?;
    report.overdrawn = report.overdrawn.plus(amount(&row.overdrawn, "overdrawn")?)?;
    let differing = row.differing(&row.sums());
    report.findings.extend(differing.into_iter().map(|differs| format!("campaign {id}: {differs}")));
    Ok(paid)
}

async fn spent_on_chain(node: &dyn ChainNode, place: &Place, block: u64) -> Result<Amount, AuditError> {
    let data = RewardVault::campaignCall { id: place.campaign.on_chain() }.abi_encode();
    let call = Call { from: Address::ZERO, to: place.vault, data: data.into(), gas: None };
    let answer = node.call_at(call, block).await?;
    let found = RewardVault::campaignCall::abi_decode_returns(&answer).map_err(AuditError::Answer)?;
    Ok(Amount::new(found.spent.to()))
}
