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
/// first, that reaches back to a known block or to the successor of one).
///
/// # Errors
/// If the new view is torn or contradicts the final block.
pub fn reconcile(known: &[BlockId], read: &[BlockId]) -> Result<Reconciled, ReconcileError> {
    for pair in read.windows(2) {
        if pair[1].number != pair[0].number + 1 || pair[1].parent != pair[0].hash {
            return Err(ReconcileError::Torn { number: pair[1].number });
        }
    }
    // Below the last final block there is nothing to compare with, and nothing to change.
    let below = known.first().map_or(0, |last_final| last_final.number);
    let same = |block: &BlockId| block.number < below || known.iter().any(|known| known.hash == block.hash);
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

    /// A node's chain from block 0: `depth` blocks of `chain` are replaced by `length` new ones of `branch`.
    fn fork_off(chain: &[BlockId], branch: u8, depth: usize, length: usize) -> Vec<BlockId> {
        let mut forked = chain[..chain.len() - depth].to_vec();
        for _ in 0..length {
            let parent = forked.last().unwrap();
            let (number, parent) = (parent.number + 1, parent.hash);
            forked.push(BlockId { number, hash: hash(branch, number), parent });
        }
        forked
    }

    proptest! {
        /// Whatever branches a node goes through, whatever it is asked for, and however little of it at a time: what is
        /// removed is taken off the top, what is added goes on top, and in the end the view is the node's chain.
        #[test]
        fn any_sequence_of_branches_is_followed(
            forks in prop::collection::vec((0_usize..8, 1_usize..12, 1_usize..6, 0_usize..4, 0_usize..3), 1..30),
        ) {
            let mut chain = vec![BlockId { number: 0, hash: hash(0, 0), parent: B256::ZERO }];
            let mut view = chain.clone();
            for (turn, (depth, length, read_max, overlap, finals)) in forks.into_iter().enumerate() {
                // Not below what is final.
                let depth = depth.min(chain.len() - 1 - usize::try_from(view[0].number).unwrap());
                chain = fork_off(&chain, u8::try_from(turn + 1).unwrap(), depth, length.max(depth));
                for _ in 0..100 {
                    let common = view.iter().rev().find(|known| chain.contains(known)).unwrap().number;
                    let from = usize::try_from(common + 1).unwrap().saturating_sub(overlap);
                    // However much is read again, a step must get further.
                    let to = (from + overlap + read_max).min(chain.len());
                    let reconciled = reconcile(&view, &chain[from..to]).unwrap();
                    let expected = reconciled.applied_to(&view);
                    for removed in &reconciled.removed {
                        prop_assert_eq!(view.pop(), Some(*removed));
                    }
                    for added in &reconciled.added {
                        prop_assert_eq!(view.last().map(|head| head.hash), Some(added.parent));
                        view.push(*added);
                    }
                    prop_assert_eq!(&view, &expected);
                    if view.last() == chain.last() {
                        break;
                    }
                }
                let first = usize::try_from(view[0].number).unwrap();
                prop_assert_eq!(&view[..], &chain[first..]);
                view.drain(..finals.min(view.len() - 1));
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
