//! What a block holds that concerns us.

use std::collections::HashMap;

use alloy::{
    consensus::{TxEnvelope, transaction::SignerRecoverable as _},
    eips::eip2718::Decodable2718 as _,
    primitives::{Address, B256, BloomInput},
};
use laurel_chain::{Block, ChainError, ChainNode, PaidMask, TxReceipt, VaultLog, decode_vault_logs};
use laurel_events::{Amount, BatchId, CampaignId, SettledSegment, VaultId};
use laurel_ledger::Vault;
use serde::{Deserialize, Serialize};

/// A vault's log with its index in the block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexedLog {
    pub(crate) index: u32,
    pub(crate) log: VaultLog,
}

/// A transaction that concerns a vault.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) tx: B256,
    pub(crate) tx_index: u32,
    pub(crate) vault: Vault,
    pub(crate) batch: Option<BatchId>,
    /// Who signed it, where we did not.
    pub(crate) signer: Option<Address>,
    /// It has the batch's nonce and settles nothing.
    pub(crate) empty: bool,
    pub(crate) succeeded: bool,
    pub(crate) gas_used: u64,
    pub(crate) effective_gas_price: Amount,
    pub(crate) logs: Vec<IndexedLog>,
}

impl Fact {
    /// Whether it pays from the vault or burns places, and we have not signed it.
    pub(crate) fn is_foreign(&self) -> bool {
        self.batch.is_none() && (self.settles() || self.cancels())
    }

    /// Whether it pays from the vault.
    pub(crate) fn settles(&self) -> bool {
        self.logs.iter().any(|indexed| matches!(indexed.log, VaultLog::Settled { .. }))
    }

    /// Whether it burns places that are not paid.
    pub(crate) fn cancels(&self) -> bool {
        self.logs.iter().any(|indexed| matches!(indexed.log, VaultLog::Cancelled { .. }))
    }

    /// With the signer that the transaction itself proves: who sent it is not in the header.
    fn signed_by(self, raw: &[u8]) -> Self {
        let signer = TxEnvelope::decode_2718_exact(raw).ok().and_then(|tx| tx.recover_signer().ok());
        Self { signer, ..self }
    }
}

/// A transaction that we signed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OurAttempt {
    pub(crate) batch: BatchId,
    pub(crate) vault: VaultId,
    pub(crate) empty: bool,
}

/// Our attempts among a block's transactions.
pub(crate) type OurAttempts = HashMap<B256, OurAttempt>;

/// Reads what concerns the vaults in a block. Receipts and transactions are only asked for where the header's bloom or
/// one of our own transactions says that there is something, and are checked against the header.
pub(crate) async fn read_facts(
    node: &dyn ChainNode,
    block: &Block,
    vaults: &[Vault],
    ours: &OurAttempts,
) -> Result<Vec<Fact>, ChainError> {
    let blooms = |vault: &Vault| {
        block.header.logs_bloom.contains_input(BloomInput::Raw(vault.identity.vault.as_slice()))
    };
    let touched = vaults.iter().any(blooms) || block.transactions.iter().any(|tx| ours.contains_key(tx));
    if !touched {
        return Ok(Vec::new());
    }
    let content = node.content(block).await?;
    let mut facts = Vec::new();
    let mut first_log = 0;
    for ((receipt, raw), tx_index) in content.receipts.iter().zip(&content.transactions).zip(0..) {
        for vault in vaults {
            let fact = fact_of(receipt, tx_index, first_log, vault, ours)?;
            facts.extend(fact.map(|fact| if fact.batch.is_none() { fact.signed_by(raw) } else { fact }));
        }
        first_log += receipt.receipt.logs().len();
    }
    Ok(facts)
}

fn fact_of(
    receipt: &TxReceipt,
    tx_index: u32,
    first_log: usize,
    vault: &Vault,
    ours: &OurAttempts,
) -> Result<Option<Fact>, ChainError> {
    let address: Address = vault.identity.vault;
    let ours = ours.get(&receipt.tx).filter(|ours| ours.vault == vault.id);
    let logs: Vec<IndexedLog> = decode_vault_logs(address, receipt.receipt.logs())?
        .into_iter()
        .map(|(index, log)| IndexedLog { index: u32::try_from(first_log + index).unwrap_or(u32::MAX), log })
        .collect();
    if ours.is_none() && logs.is_empty() {
        return Ok(None);
    }
    Ok(Some(Fact {
        tx: receipt.tx,
        tx_index,
        vault: *vault,
        batch: ours.map(|ours| ours.batch),
        signer: None,
        empty: ours.is_some_and(|ours| ours.empty),
        succeeded: receipt.receipt.status(),
        gas_used: receipt.gas_used,
        effective_gas_price: Amount::from(receipt.effective_gas_price),
        logs,
    }))
}

/// The settled segments among a transaction's logs.
pub(crate) fn settled_segments(logs: &[IndexedLog]) -> Vec<SettledSegment> {
    logs.iter()
        .filter_map(|indexed| match &indexed.log {
            VaultLog::Settled { campaign, first_seq, total, words_hash, paid, .. } => {
                let count = PaidMask::new(*first_seq, paid.clone()).count();
                Some(SettledSegment {
                    log_index: indexed.index,
                    campaign: CampaignId::from(*campaign),
                    first_seq: *first_seq,
                    count: u32::try_from(count).unwrap_or(u32::MAX),
                    total: *total,
                    words_hash: *words_hash,
                    paid: paid.clone(),
                })
            }
            _ => None,
        })
        .collect()
}
