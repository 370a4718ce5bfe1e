//! Reading a settlement back from the chain: nothing of it is believed that the block's header does not prove.

use alloy::{
    consensus::{TxEnvelope, transaction::SignerRecoverable as _},
    eips::eip2718::Decodable2718 as _,
    primitives::{Address, B256, Bytes},
    sol_types::SolCall as _,
};
use laurel_chain::{
    Block, BlockRef, ChainError, ChainNode, PaidMask, RewardVault, TxRequest, VaultLog, decode_vault_logs,
    words_hash,
};
use laurel_events::{CampaignId, LaneId};

use crate::{Lane, adoption::PaidPlace};

/// A settlement of one of our lanes, as a final block has it.
#[derive(Clone, Debug)]
pub(super) struct Settlement {
    pub(super) tx: B256,
    pub(super) lane: LaneId,
    pub(super) deadline: u64,
    pub(super) request: TxRequest,
    pub(super) raw: Bytes,
    pub(super) block: Block,
    pub(super) gas_used: u64,
    pub(super) effective_gas_price: u128,
}

/// What a log of a vault says, and who signed it.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) campaign: CampaignId,
    /// The place after the last one that it paid.
    pub(super) end: u64,
    /// The settlement and what the log says that it paid; or why it is none of ours.
    pub(super) ours: Result<(Settlement, Vec<PaidPlace>), String>,
}

/// Where a log is said to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogPlace {
    pub(super) tx: B256,
    pub(super) log_index: u32,
    pub(super) block_hash: B256,
}

/// Reads what settled at `place`.
///
/// # Errors
/// If the node does not answer, or has something else there.
pub(super) async fn read_settlement(
    node: &dyn ChainNode,
    vault: Address,
    lanes: &[Lane],
    place: LogPlace,
) -> Result<Read, ChainError> {
    let lacks = |what: &str| ChainError::Untrue(format!("the node lacks {what} of settlement {}", place.tx));
    // By its hash, which is final: whoever has it has the right one.
    let block = node.block(BlockRef::Hash(place.block_hash)).await?.ok_or_else(|| lacks("the block"))?;
    let content = node.content(&block).await?;
    let index = block.transactions.iter().position(|tx| *tx == place.tx);
    let index = index.ok_or_else(|| lacks("the transaction"))?;
    let first_log: usize =
        content.receipts.iter().take(index).map(|receipt| receipt.receipt.logs().len()).sum();
    let (Some(receipt), Some(raw)) = (content.receipts.get(index), content.transactions.get(index)) else {
        return Err(lacks("the receipt"));
    };
    let logs = decode_vault_logs(vault, receipt.receipt.logs())?;
    let log = logs.into_iter().find(|(at, _)| first_log + at == place.log_index as usize);
    let Some((_, VaultLog::Settled { campaign, first_seq, words_hash, paid, .. })) = log else {
        return Err(lacks("the log"));
    };
    let mask = PaidMask::new(first_seq, paid);
    let end = mask.seqs().last().map_or(first_seq, |last| last.saturating_add(1));
    let settled = Settled { campaign, first_seq, words_hash, mask, log_index: place.log_index };
    let ours = signed_by_us(raw, vault, lanes, &settled).map(|(lane, deadline, request, places)| {
        let settlement = Settlement {
            tx: place.tx,
            lane,
            deadline,
            request,
            raw: raw.clone(),
            gas_used: receipt.gas_used,
            effective_gas_price: receipt.effective_gas_price,
            block: block.clone(),
        };
        (settlement, places)
    });
    Ok(Read { campaign: CampaignId::from(campaign), end, ours })
}

/// A log of a settled segment.
struct Settled {
    campaign: u64,
    first_seq: u64,
    words_hash: B256,
    mask: PaidMask,
    log_index: u32,
}

/// Whether one of our lanes signed this, and what of it the log says was paid.
fn signed_by_us(
    raw: &Bytes,
    vault: Address,
    lanes: &[Lane],
    settled: &Settled,
) -> Result<(LaneId, u64, TxRequest, Vec<PaidPlace>), String> {
    let envelope = TxEnvelope::decode_2718_exact(raw).map_err(|error| format!("cannot be read: {error}"))?;
    let sender = envelope.recover_signer().map_err(|error| format!("has no sender: {error}"))?;
    let lane = lanes.iter().find(|lane| lane.address == sender);
    let lane = lane.ok_or_else(|| format!("was sent by {sender}, who is no lane of this ledger"))?;
    let request = TxRequest::decode(raw).ok_or("is of a kind that lanes do not send")?;
    if request.to != Some(vault) {
        return Err("did not go to the vault itself".to_owned());
    }
    let call = RewardVault::settleCall::abi_decode(&request.data)
        .map_err(|error| format!("does not call settle: {error}"))?;
    let words = call.segments.iter().find_map(|segment| {
        let words: Vec<B256> = segment.grants.iter().map(|word| B256::from(*word)).collect();
        let fits = (segment.campaign, segment.firstSeq) == (settled.campaign, settled.first_seq)
            && words_hash(&words) == settled.words_hash;
        fits.then_some(words)
    });
    let words = words.ok_or("has no segment that its log tells of")?;
    let places = words
        .into_iter()
        .zip(0..)
        .map(|(word, nth)| (word, settled.first_seq.saturating_add(nth)))
        .filter(|(_, seq)| settled.mask.contains(*seq))
        .map(|(word, seq)| PaidPlace { log_index: settled.log_index, seq, word })
        .collect();
    Ok((lane.id, call.deadline, request, places))
}
