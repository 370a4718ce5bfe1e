//! Receipts are believed only if they hash to the root in a checked header.

use alloy::{
    consensus::{
        ReceiptEnvelope,
        proofs::{calculate_receipt_root, ordered_trie_root_with_encoder},
    },
    primitives::{Bytes, keccak256},
};

use crate::{Block, BlockContent, ChainError, ChainNode, TxReceipt};

/// Checks the list of a block's transactions against its header (Yellow Paper 4.4.1, EIP-2718): `transactions` are all of
/// them as they are encoded. Without this, which hash a receipt belongs to is the node's word.
///
/// # Errors
/// [`ChainError::Untrue`] if they are not the block's.
pub fn verify_transactions(block: &Block, transactions: &[Bytes]) -> Result<(), ChainError> {
    let untrue = |what: &str| Err(ChainError::Untrue(format!("{what} of block {}", block.hash)));
    let root =
        ordered_trie_root_with_encoder(transactions, |tx: &Bytes, buffer| buffer.extend_from_slice(tx));
    if root != block.header.transactions_root {
        return untrue("the transactions do not hash to the root in the header");
    }
    if !transactions.iter().map(keccak256).eq(block.transactions.iter().copied()) {
        return untrue("the listed hashes are not those of the transactions");
    }
    Ok(())
}

/// Checks all receipts of `block` against its header (Yellow Paper 4.4.1, EIP-2718): their number, order and content. The
/// header covers neither the sender nor the price of gas: these are the node's word.
///
/// # Errors
/// [`ChainError::Untrue`] if they are not the block's.
pub fn verify_receipts(block: &Block, receipts: &[TxReceipt]) -> Result<(), ChainError> {
    let untrue = |what: &str| Err(ChainError::Untrue(format!("{what} of block {}", block.hash)));
    if receipts.len() != block.transactions.len() {
        return untrue("the number of receipts is not the number of transactions");
    }
    if receipts.iter().zip(&block.transactions).any(|(receipt, tx)| receipt.tx != *tx) {
        return untrue("the order of receipts is not the order of transactions");
    }
    let envelopes: Vec<ReceiptEnvelope> = receipts.iter().map(|receipt| receipt.receipt.clone()).collect();
    if calculate_receipt_root(&envelopes) != block.header.receipts_root {
        return untrue("the receipts do not hash to the root in the header");
    }
    // The root covers the running sum only; what a transaction used follows from it.
    let mut before = 0;
    for receipt in receipts {
        let sum = receipt.receipt.cumulative_gas_used();
        if sum.checked_sub(before) != Some(receipt.gas_used) {
            return untrue("the gas of the transactions does not add up to that");
        }
        before = sum;
    }
    Ok(())
}

/// Receipts and transactions of a block as one node has them, checked against the header alone: the list of hashes that
/// came with the header may be another node's word.
pub(crate) async fn read_content<N: ChainNode + ?Sized>(
    node: &N,
    block: &Block,
) -> Result<BlockContent, ChainError> {
    let lacks =
        |what: &str| ChainError::Untrue(format!("the node has block {} but not its {what}", block.hash));
    let receipts = node.receipts(block.hash).await?.ok_or_else(|| lacks("receipts"))?;
    let transactions = node.transactions(block.hash).await?.ok_or_else(|| lacks("transactions"))?;
    let hashes = transactions.iter().map(keccak256).collect();
    let proven = Block { transactions: hashes, ..block.clone() };
    verify_transactions(&proven, &transactions)?;
    verify_receipts(&proven, &receipts)?;
    Ok(BlockContent { receipts, transactions })
}

/// Checks that the list of hashes that came with a header is that of the transactions, which were checked.
pub(crate) fn require_listed(block: &Block, content: &BlockContent) -> Result<(), ChainError> {
    if content.transactions.iter().map(keccak256).eq(block.transactions.iter().copied()) {
        return Ok(());
    }
    Err(ChainError::Untrue(format!(
        "the listed hashes are not those of the transactions of block {}",
        block.hash
    )))
}
