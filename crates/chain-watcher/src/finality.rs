//! What follows from a block that is final.

use alloy::primitives::B256;
use laurel_chain::FinalBlock;
use laurel_ledger::planted;

use crate::BlockId;

/// A final block that is not the one of that number in our view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {number} is final as {theirs} at the node, but is {ours} here")]
pub struct FinalityConflict {
    /// The block's number.
    pub number: u64,
    /// Its hash in our view.
    pub ours: B256,
    /// Its hash as the node calls it final.
    pub theirs: B256,
}

/// The last final block of a view (oldest first, beginning with the one that was the last final one) after a node told
/// its own: never an earlier one, and only a block that the view has under the same hash. What lies below a final block
/// that the view has not reached yet is final too.
pub(crate) fn last_final_of(
    blocks: &[BlockId],
    told: Option<FinalBlock>,
) -> Result<Option<BlockId>, FinalityConflict> {
    let Some(told) = told else { return Ok(blocks.first().copied()) };
    let Some(ours) = blocks.iter().rev().find(|block| block.number <= told.number) else {
        return Ok(blocks.first().copied());
    };
    if ours.number == told.number && ours.hash != told.hash {
        return Err(FinalityConflict { number: told.number, ours: ours.hash, theirs: told.hash });
    }
    if planted!(ConfirmedEarly) {
        return Ok(blocks.iter().find(|block| block.number == ours.number + 1).or(Some(ours)).copied());
    }
    Ok(Some(*ours))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn view(from: u64, to: u64) -> Vec<BlockId> {
        let hash = |number: u64| B256::with_last_byte(u8::try_from(number).unwrap());
        (from..=to).map(|number| BlockId { number, hash: hash(number), parent: hash(number - 1) }).collect()
    }

    proptest! {
        /// Whatever a node tells, in whatever order: finality never falls, and no other hash becomes final.
        #[test]
        fn finality_never_decreases(told in prop::collection::vec((1_u64..40, any::<bool>()), 1..40)) {
            let mut blocks = view(10, 30);
            for (number, honest) in told {
                let hash = if honest { B256::with_last_byte(number as u8) } else { B256::repeat_byte(0xee) };
                let before = blocks[0];
                match last_final_of(&blocks, Some(FinalBlock { number, hash })) {
                    Ok(last_final) => {
                        let last_final = last_final.unwrap();
                        prop_assert!(last_final.number >= before.number);
                        prop_assert_eq!(last_final.number, number.clamp(before.number, 30));
                        prop_assert!(honest || last_final.number != number);
                        blocks.retain(|block| block.number >= last_final.number);
                    }
                    Err(conflict) => {
                        prop_assert!(!honest && (before.number..=30).contains(&number));
                        prop_assert_eq!(conflict.theirs, hash);
                    }
                }
            }
        }
    }

    #[test]
    fn without_an_answer_nothing_changes() {
        assert_eq!(last_final_of(&view(10, 12), None), Ok(Some(view(10, 10)[0])));
        assert_eq!(last_final_of(&[], None), Ok(None));
    }
}
