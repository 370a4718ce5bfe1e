//! What a new view of the chain makes of the old one: pure.

use alloy::primitives::B256;

/// A block's place and identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockId {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// Its parent's hash.
    pub parent: B256,
}

/// The difference between two views.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Blocks that are no longer canonical, newest first.
    pub removed: Vec<BlockId>,
    /// Blocks that are now, oldest first.
    pub added: Vec<BlockId>,
}

impl Reconciled {
    /// The new view: `known` without what was removed, with what was added.
    pub fn applied_to(&self, known: &[BlockId]) -> Vec<BlockId> {
        let kept = known.iter().filter(|block| !self.removed.contains(block));
        kept.chain(&self.added).copied().collect()
    }
}

/// Views that have no difference, because they have nothing in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReconcileError {
    /// The new view does not contain the last final block.
    #[error("the chain has another block at {number}, which was final as {known}")]
    DeeperThanFinal {
        /// The final block's number.
        number: u64,
        /// Its hash.
        known: B256,
    },
    /// Two neighbours of the new view do not name each other.
    #[error("block {number} does not follow its predecessor: the chain changed while it was read")]
    Torn {
        /// The later one.
        number: u64,
    },
}

/// Compares what is known (from the last final block on, oldest first) with what was read (any run of blocks, oldest
/// first, whose first is the known one's successor or replaces a known block).
///
/// # Errors
/// If the new view is torn or contradicts the final block.
pub fn reconcile(known: &[BlockId], read: &[BlockId]) -> Result<Reconciled, ReconcileError> {
    for pair in read.windows(2) {
        if pair[1].number != pair[0].number + 1 || pair[1].parent != pair[0].hash {
            return Err(ReconcileError::Torn { number: pair[1].number });
        }
    }
    let same = |block: &BlockId| known.iter().any(|known| known.hash == block.hash);
    let added: Vec<BlockId> = read.iter().copied().skip_while(same).collect();
    let Some(first) = added.first() else { return Ok(Reconciled::default()) };
    let Some(fork) = known.iter().position(|known| known.hash == first.parent) else {
        return match known.first() {
            // What was read reaches back to the final block's height or below it, and still has nothing in common.
            Some(last_final) if first.number <= last_final.number + 1 => {
                Err(ReconcileError::DeeperThanFinal { number: last_final.number, known: last_final.hash })
            }
            _ => Err(ReconcileError::Torn { number: first.number }),
        };
    };
    let removed = known[fork + 1..].iter().rev().copied().collect();
    Ok(Reconciled { removed, added })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(branch: u8, number: u64) -> B256 {
        let mut bytes = [branch; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        B256::new(bytes)
    }

    /// Blocks `from..to` on a branch that leaves branch 0 after block `fork`.
    fn chain(branch: u8, fork: u64, from: u64, to: u64) -> Vec<BlockId> {
        let of = |number: u64| hash(if number > fork { branch } else { 0 }, number);
        (from..to).map(|number| BlockId { number, hash: of(number), parent: of(number - 1) }).collect()
    }

    proptest! {
        /// Removing and adding what it says turns the old view into the new one.
        #[test]
        fn the_difference_leads_from_one_view_to_the_other(
            fork in 10_u64..20, known_to in 11_u64..25, read_from in 10_u64..20, read_to in 11_u64..30,
        ) {
            prop_assume!(read_from <= fork + 1 && read_from <= known_to && read_to > read_from);
            let known = chain(0, 0, 10, known_to.max(fork + 1));
            let read = chain(1, fork, read_from, read_to);
            let reconciled = reconcile(&known, &read).unwrap();
            let mut view = known.clone();
            for removed in &reconciled.removed {
                prop_assert_eq!(view.pop(), Some(*removed));
            }
            view.extend(&reconciled.added);
            if read_to > fork + 1 {
                prop_assert_eq!(view.last(), read.last());
            } else {
                prop_assert_eq!(&view, &known);
            }
            for pair in view.windows(2) {
                prop_assert_eq!(pair[1].parent, pair[0].hash);
            }
        }
    }

    #[test]
    fn a_fork_below_the_final_block_is_refused() {
        let known = chain(0, 0, 10, 15);
        let error = reconcile(&known, &chain(1, 8, 10, 16)).unwrap_err();
        assert!(matches!(error, ReconcileError::DeeperThanFinal { number: 10, .. }), "{error}");
    }

    #[test]
    fn a_torn_view_is_refused() {
        let known = chain(0, 0, 10, 12);
        let mut read = chain(0, 0, 12, 15);
        read[1].parent = B256::ZERO;
        assert_eq!(reconcile(&known, &read), Err(ReconcileError::Torn { number: 13 }));
        assert!(reconcile(&known, &chain(0, 0, 14, 16)).is_err());
    }
}
