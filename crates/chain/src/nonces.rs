//! Which transaction used a nonce.

use alloy::{
    consensus::{Transaction as _, TxEnvelope, transaction::SignerRecoverable as _},
    eips::eip2718::Decodable2718 as _,
    primitives::{Address, B256},
};

use crate::{BlockRef, ChainError, ChainNode, NonceAt, verify_transactions};

/// A transaction in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NonceUser {
    /// The transaction.
    pub tx: B256,
    /// The block's number.
    pub block_number: u64,
    /// The block's hash.
    pub block_hash: B256,
}

/// The transaction of `account` with this nonce in the blocks up to `upto`; `None` if there is none yet. Asks for states
/// as old as the transaction and, at most, as old again.
///
/// # Errors
/// If the node does not answer, contradicts itself, or does not keep the states. One that contradicts itself is doubted: of
/// several, another one is asked first then.
pub async fn find_nonce_user(
    node: &dyn ChainNode,
    account: Address,
    nonce: u64,
    upto: u64,
) -> Result<Option<NonceUser>, ChainError> {
    let found = search(node, account, nonce, upto).await;
    if let Err(ChainError::Untrue(why)) = &found {
        node.doubt(why);
    }
    found
}

async fn search(
    node: &dyn ChainNode,
    account: Address,
    nonce: u64,
    upto: u64,
) -> Result<Option<NonceUser>, ChainError> {
    if node.nonce(account, NonceAt::Block(upto)).await? <= nonce {
        return Ok(None);
    }
    let mut search = Search::from(upto);
    while let Some(number) = search.question() {
        search.answer(number, node.nonce(account, NonceAt::Block(number)).await? > nonce);
    }
    let block_number = search.to;
    let block = node.block(BlockRef::Number(block_number)).await?;
    let block = block.ok_or_else(|| ChainError::Untrue(format!("the node lacks block {block_number}")))?;
    let transactions = node.transactions(block.hash).await?;
    let transactions = transactions
        .ok_or_else(|| ChainError::Untrue(format!("the node lacks the transactions of {}", block.hash)))?;
    verify_transactions(&block, &transactions)?;
    let found = transactions
        .iter()
        .filter_map(|raw| TxEnvelope::decode_2718_exact(raw).ok())
        .find(|tx| tx.nonce() == nonce && tx.recover_signer().is_ok_and(|sender| sender == account));
    let tx = found.ok_or_else(|| {
        ChainError::Untrue(format!(
            "block {block_number} raised the nonce of {account} without a transaction of it"
        ))
    })?;
    Ok(Some(NonceUser { tx: *tx.tx_hash(), block_number, block_hash: block.hash }))
}

/// The search for the first block of which something is true, given that it is true of the last one and stays so. Goes back in
/// growing steps first, so that a node that keeps only recent states can answer for what is recent.
#[derive(Debug)]
struct Search {
    /// It may be true from here on: known once a block was found of which it is not.
    from: Option<u64>,
    /// It is true here.
    to: u64,
    step: u64,
}

impl Search {
    const fn from(last: u64) -> Self {
        Self { from: None, to: last, step: 1 }
    }

    /// The block to ask about next; `None` once the first one is found.
    fn question(&self) -> Option<u64> {
        match self.from {
            Some(from) => (from < self.to).then(|| from.midpoint(self.to)),
            None => (self.to > 0).then(|| self.to.saturating_sub(self.step)),
        }
    }

    const fn answer(&mut self, number: u64, is_true: bool) {
        if is_true {
            self.to = number;
            self.step = self.step.saturating_mul(2);
        } else {
            self.from = Some(number + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_block_is_found_without_asking_for_much_older_ones(last in 0_u64..1 << 40, age in any::<u64>()) {
            let first = last - age % (last + 1);
            let (mut search, mut oldest, mut asked) = (Search::from(last), last, 0);
            while let Some(number) = search.question() {
                (oldest, asked) = (oldest.min(number), asked + 1);
                search.answer(number, number >= first);
            }
            prop_assert_eq!(search.to, first);
            prop_assert!(last - oldest <= 2 * (last - first) + 1, "{} for {}", last - oldest, last - first);
            prop_assert!(asked <= 82, "{} questions", asked);
        }
    }
}
