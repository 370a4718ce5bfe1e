//! Which transaction used a nonce.

use std::ops::RangeInclusive;

use alloy::{
    consensus::{EMPTY_ROOT_HASH, Transaction as _, TxEnvelope, transaction::SignerRecoverable as _},
    eips::{eip2718::Decodable2718 as _, eip7702::SignedAuthorization},
    primitives::{Address, B256},
};

use crate::{Block, BlockRef, ChainError, ChainNode, NonceAt, error::Trouble, verify_transactions};

/// A transaction in a block, of the account or, with an authorization of it, of anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NonceUser {
    /// The transaction.
    pub tx: B256,
    /// The block's number.
    pub block_number: u64,
    /// The block's hash.
    pub block_hash: B256,
}

/// What became of a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceUse {
    /// No block up to the last one that was asked about has used it, or the node knows of none.
    Unused,
    /// A block before the first one that was asked about has.
    Earlier,
    /// This transaction has.
    By(NonceUser),
}

/// What became of a nonce of `account` in these blocks.
///
/// Asks for states as old as the transaction and, at most, as old again. From where no endpoint keeps them, which may be some 128
/// blocks back, the blocks themselves are read, `read_max` at the most, so that no archive is needed for what is recent.
///
/// # Errors
/// If the node does not answer, contradicts itself, or the transaction is too far back. A node that contradicts itself is doubted: of
/// several, another one is asked first then.
pub async fn find_nonce_use(
    node: &dyn ChainNode,
    account: Address,
    nonce: u64,
    blocks: RangeInclusive<u64>,
    read_max: u64,
) -> Result<NonceUse, ChainError> {
    let found = find(node, account, nonce, blocks, read_max).await;
    if let Err(ChainError::Untrue(why)) = &found {
        node.doubt(why);
    }
    found
}

async fn find(
    node: &dyn ChainNode,
    account: Address,
    nonce: u64,
    blocks: RangeInclusive<u64>,
    read_max: u64,
) -> Result<NonceUse, ChainError> {
    let (first, last) = blocks.into_inner();
    if node.nonce(account, NonceAt::Latest).await? <= nonce {
        return Ok(NonceUse::Unused);
    }
    let mut known = was_used(node, account, nonce, last).await?;
    if known == Some(false) {
        return Ok(NonceUse::Unused);
    }
    if first > last {
        return Ok(NonceUse::Earlier);
    }
    let mut search = Search::new(first, last);
    while known.is_some()
        && let Some(number) = search.question()
    {
        known = was_used(node, account, nonce, number).await?;
        if let Some(used) = known {
            search.answer(number, used);
        }
    }
    let left = if known.is_some() { search.to } else { search.from.unwrap_or(first) };
    match read_back(node, account, nonce, left..=search.to, read_max).await? {
        Some(user) => Ok(NonceUse::By(user)),
        // It may have been used before the first of these blocks.
        None if search.from.is_none() && first > 0 => Ok(NonceUse::Earlier),
        None => Err(ChainError::Untrue(format!(
            "blocks up to {} raised the nonce of {account} without a transaction of it",
            search.to
        ))),
    }
}

/// Whether a nonce was used up to a block; `None` if nobody keeps the state of that block.
async fn was_used(
    node: &dyn ChainNode,
    account: Address,
    nonce: u64,
    number: u64,
) -> Result<Option<bool>, ChainError> {
    match node.nonce(account, NonceAt::Block(number)).await {
        Ok(next) => Ok(Some(next > nonce)),
        Err(error) if error.trouble() == Trouble::Refused => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads these blocks from the last one back. A transaction of the account's own is the user. An authorization is, if there is none: it may
/// have come when it changed nothing any more.
async fn read_back(
    node: &dyn ChainNode,
    account: Address,
    nonce: u64,
    blocks: RangeInclusive<u64>,
    read_max: u64,
) -> Result<Option<NonceUser>, ChainError> {
    let (first, last) = blocks.into_inner();
    let mut authorized = None;
    let mut which = BlockRef::Number(last);
    for number in (first..=last).rev() {
        if last - number >= read_max {
            return Err(ChainError::TooFarBack { account, nonce, number });
        }
        let block = block_at(node, which).await?;
        match user_in(node, account, nonce, &block).await? {
            Some((user, true)) => return Ok(Some(user)),
            Some((user, false)) => authorized = Some(user),
            None => {}
        }
        which = BlockRef::Hash(block.header.parent_hash);
    }
    Ok(authorized)
}

async fn block_at(node: &dyn ChainNode, which: BlockRef) -> Result<Block, ChainError> {
    let block = node.block(which).await?;
    block.ok_or_else(|| ChainError::Untrue(format!("the node lacks a block that it has: {which:?}")))
}

/// The transaction in one block that uses this nonce of an account, and whether it is the account's own.
async fn user_in(
    node: &dyn ChainNode,
    account: Address,
    nonce: u64,
    block: &Block,
) -> Result<Option<(NonceUser, bool)>, ChainError> {
    if block.transactions.is_empty() && block.header.transactions_root == EMPTY_ROOT_HASH {
        return Ok(None);
    }
    let transactions = node.transactions(block.hash).await?;
    let transactions = transactions
        .ok_or_else(|| ChainError::Untrue(format!("the node lacks the transactions of {}", block.hash)))?;
    verify_transactions(block, &transactions)?;
    let transactions: Vec<TxEnvelope> =
        transactions.iter().filter_map(|raw| TxEnvelope::decode_2718_exact(raw).ok()).collect();
    let user = |tx: &TxEnvelope| NonceUser {
        tx: *tx.tx_hash(),
        block_number: block.header.number,
        block_hash: block.hash,
    };
    let own = transactions.iter().find(|tx| is_own(tx, account, nonce)).map(|tx| (user(tx), true));
    let authorized = || transactions.iter().find(|tx| is_authorized(tx, account, nonce));
    Ok(own.or_else(|| authorized().map(|tx| (user(tx), false))))
}

fn is_own(tx: &TxEnvelope, account: Address, nonce: u64) -> bool {
    tx.nonce() == nonce && tx.recover_signer().is_ok_and(|sender| sender == account)
}

/// Whether a transaction carries an authorization that the account has signed (EIP-7702), which raises its nonce as well.
fn is_authorized(tx: &TxEnvelope, account: Address, nonce: u64) -> bool {
    let authorized = |authorization: &SignedAuthorization| {
        authorization.nonce() == nonce
            && authorization.recover_authority().is_ok_and(|authority| authority == account)
    };
    tx.authorization_list().is_some_and(|list| list.iter().any(authorized))
}

/// The search for the first of some blocks of which something is true, given that it is true of the last one and stays so. Goes back
/// in growing steps first, so that a node that keeps only recent states can answer for what is recent.
#[derive(Debug)]
struct Search {
    /// The first block, which it may be true of, as of those before.
    first: u64,
    /// It may be true from here on: known once a block was found of which it is not.
    from: Option<u64>,
    /// It is true here.
    to: u64,
    step: u64,
}

impl Search {
    const fn new(first: u64, last: u64) -> Self {
        Self { first, from: None, to: last, step: 1 }
    }

    /// The block to ask about next; `None` once the first one is found.
    fn question(&self) -> Option<u64> {
        match self.from {
            Some(from) => (from < self.to).then(|| from.midpoint(self.to)),
            None => (self.to > self.first).then(|| self.to.saturating_sub(self.step).max(self.first)),
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
        fn the_first_block_is_found_without_asking_for_much_older_ones(
            last in 0_u64..1 << 40, age in any::<u64>(), floor in any::<u64>(),
        ) {
            let first = last - age % (last + 1);
            let (mut search, mut oldest, mut asked) = (Search::new(floor % (first + 1), last), last, 0);
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
