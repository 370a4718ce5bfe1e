//! Which sequence numbers a mask names.

use alloy::primitives::U256;

/// The bits that a settlement set, in bitmap words from the one that holds its first sequence number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidMask {
    first_word: u64,
    words: Vec<U256>,
}

impl PaidMask {
    /// The mask as a settlement's log holds it.
    pub fn new(first_seq: u64, words: Vec<U256>) -> Self {
        Self { first_word: first_seq >> 8, words }
    }

    /// The mask of `count` places that follow each other.
    pub fn run(first_seq: u64, count: u64) -> Self {
        let end = first_seq.saturating_add(count);
        let words = (end.saturating_sub(1) >> 8).saturating_sub(first_seq >> 8) + 1;
        let mut mask = Self::new(first_seq, vec![U256::ZERO; usize::try_from(words).unwrap_or(0)]);
        for seq in first_seq..end {
            let index = usize::try_from((seq >> 8) - mask.first_word).unwrap_or(usize::MAX);
            if let Some(word) = mask.words.get_mut(index) {
                word.set_bit((seq & 0xff) as usize, true);
            }
        }
        mask
    }

    /// Its bitmap words, as a settlement's log holds them.
    pub fn into_words(self) -> Vec<U256> {
        self.words
    }

    /// Whether the bit of `seq` is set.
    pub fn contains(&self, seq: u64) -> bool {
        (seq >> 8)
            .checked_sub(self.first_word)
            .and_then(|index| self.words.get(usize::try_from(index).ok()?))
            .is_some_and(|word| word.bit(usize::from((seq & 0xff) as u8)))
    }

    /// How many bits are set.
    pub fn count(&self) -> u64 {
        self.words.iter().map(|word| word.count_ones() as u64).sum()
    }

    /// The sequence numbers whose bits are set, in ascending order.
    pub fn seqs(&self) -> impl Iterator<Item = u64> + '_ {
        self.words.iter().zip(self.first_word..).flat_map(|(word, number)| {
            (0..256_u64).filter(|bit| word.bit(*bit as usize)).map(move |bit| (number << 8) | bit)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_run_is_what_follows_from_its_first_place(first in 0_u64..1 << 40, count in 1_u64..600) {
            let mask = PaidMask::run(first, count);
            prop_assert!(mask.seqs().eq(first..first + count));
            prop_assert_eq!(PaidMask::new(first, mask.clone().into_words()), mask);
        }

        #[test]
        fn it_holds_exactly_what_was_set(first in 0_u64..1 << 40, offsets in prop::collection::btree_set(0_u64..700, 0..300)) {
            let seqs: BTreeSet<u64> = offsets.iter().map(|offset| first + offset).collect();
            let mut words = vec![U256::ZERO; 4];
            for seq in &seqs {
                let index = usize::try_from((seq >> 8) - (first >> 8)).unwrap();
                words[index].set_bit((seq & 0xff) as usize, true);
            }
            let mask = PaidMask::new(first, words);
            prop_assert_eq!(mask.seqs().collect::<BTreeSet<_>>(), seqs.clone());
            prop_assert_eq!(mask.count(), seqs.len() as u64);
            for seq in first.saturating_sub(300)..first + 1_100 {
                prop_assert_eq!(mask.contains(seq), seqs.contains(&seq));
            }
        }
    }
}
