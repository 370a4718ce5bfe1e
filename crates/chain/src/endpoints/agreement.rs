//! What several endpoints agree on to be final.

use std::{collections::BTreeMap, time::Duration};

use alloy::primitives::B256;
use chrono::TimeDelta;

use super::Endpoints;
use crate::{Block, BlockRef, ChainError, FinalBlock, Finality};

/// How often all endpoints are asked for what is final. What is final on a chain with several endpoints takes seconds to
/// minutes; every question has its price there.
const AGREED_LASTS: TimeDelta = TimeDelta::seconds(1);

/// How long an endpoint is left alone that calls another block final than a quorum: long enough to be seen, and to be
/// mended. It is asked again after that, and outvoted again.
const OUTVOTED_REST: Duration = Duration::from_secs(60);

/// How long what a quorum calls final may stand while somebody calls a later block final, before people are told that others stay
/// behind: more than two epochs of Ethereum, in each of which the tag moves once. Whoever is early by one of them is no trouble.
const TAG_STANDS_MAX: TimeDelta = TimeDelta::minutes(15);

/// The same where what is final moves with every block.
const DEPTH_STANDS_MAX: TimeDelta = TimeDelta::seconds(60);

const fn stands_max(finality: Finality) -> TimeDelta {
    match finality {
        Finality::Finalized => TAG_STANDS_MAX,
        Finality::Depth { .. } => DEPTH_STANDS_MAX,
    }
}

/// What the endpoints' words for one height come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// A quorum has this block, and no quorum another.
    Agreed(B256),
    /// Too few have spoken.
    Undecided,
    /// They can never agree.
    Disagreement(B256, B256),
}

/// Judges the words for one height. `silent`: how many have not come as far, or do not answer, and may yet decide.
fn verdict(votes: &[(usize, B256)], quorum: usize, silent: usize) -> Verdict {
    let mut counts: BTreeMap<B256, usize> = BTreeMap::new();
    for (_, hash) in votes {
        *counts.entry(*hash).or_default() += 1;
    }
    let mut hashes: Vec<(usize, B256)> = counts.into_iter().map(|(hash, count)| (count, hash)).collect();
    hashes.sort_unstable_by(|one, other| other.cmp(one));
    match hashes[..] {
        [(first, one), (second, other), ..] if second >= quorum || first + silent < quorum => {
            Verdict::Disagreement(one, other)
        }
        [(first, one), ..] if first >= quorum => Verdict::Agreed(one),
        _ => Verdict::Undecided,
    }
}

impl Endpoints {
    /// The highest block that a quorum calls final, or has below one that it calls final.
    pub(super) async fn agreed_final(&self, finality: Finality) -> Result<Option<FinalBlock>, ChainError> {
        if self.endpoints.len() == 1 {
            return self.ask(move |node| node.last_final(finality)).await;
        }
        let now = self.clock.now();
        let (agreed, at, preferred) = {
            let state = self.lock();
            (state.agreed, state.agreed_at, state.preferred)
        };
        if agreed.is_some() && at.is_some_and(|at| at <= now && now - at < AGREED_LASTS) {
            return Ok(agreed);
        }
        let words = self.words(finality).await?;
        let found = self.highest_agreed(&words, agreed).await?;
        self.note_progress(finality, &words, agreed, found);
        let mut state = self.lock();
        // Whoever is asked first by now has not been compared yet.
        state.agreed_at = (state.preferred == preferred).then_some(now);
        state.agreed = found;
        Ok(found)
    }

    /// The block `number` as a quorum has it of those who call that or a later one final.
    pub(super) async fn agreed_at(
        &self,
        finality: Finality,
        number: u64,
    ) -> Result<Option<FinalBlock>, ChainError> {
        if self.endpoints.len() == 1 {
            return self.ask(move |node| node.final_at(finality, number)).await;
        }
        let words = self.words(finality).await?;
        let votes = self.votes(&words, number).await;
        match verdict(&votes, self.quorum, self.endpoints.len() - votes.len()) {
            Verdict::Agreed(hash) => {
                let block = FinalBlock { number, hash };
                let others = votes.iter().filter(|(_, vote)| *vote != hash).map(|(index, _)| *index);
                self.outvote(others.collect(), block).await;
                Ok(Some(block))
            }
            Verdict::Disagreement(one, other) => Err(ChainError::Disagreement { number, one, other }),
            Verdict::Undecided => Ok(None),
        }
    }

    /// What each that answers calls final, where it calls anything so.
    async fn words(&self, finality: Finality) -> Result<Vec<(usize, FinalBlock)>, ChainError> {
        let told = self.ask_all(&self.all_fit(), move |node| node.last_final(finality)).await;
        let answered = told.iter().filter(|(_, word)| word.is_ok()).count();
        let short = answered < self.quorum;
        self.lock().short = short;
        self.metrics.short_of_quorum.with_label_values(&[self.chain_id.to_string()]).set(short.into());
        let mut words = Vec::new();
        let mut error = None;
        for (index, word) in told {
            match word {
                Ok(word) => words.extend(word.map(|block| (index, block))),
                Err(told) => _ = error.get_or_insert(told),
            }
        }
        if answered == 0 {
            return Err(error.unwrap_or_else(|| self.no_endpoint()));
        }
        Ok(words)
    }

    /// Notes since when what a quorum calls final stands while somebody is beyond it. An endpoint that answers with an old block is not
    /// outvoted, because it contradicts nobody, and may be the one without which there is no quorum.
    fn note_progress(
        &self,
        finality: Finality,
        words: &[(usize, FinalBlock)],
        known: Option<FinalBlock>,
        found: Option<FinalBlock>,
    ) {
        let now = self.clock.now();
        let number = |block: Option<FinalBlock>| block.map(|block| block.number);
        let is_beyond = words.iter().any(|(_, block)| Some(block.number) > number(found));
        let mut state = self.lock();
        if number(found) > number(known) || !is_beyond {
            (state.stands_since, state.behind) = (None, None);
            return;
        }
        let since = *state.stands_since.get_or_insert(now);
        if now - since < stands_max(finality) {
            return;
        }
        let agreed = number(found).map_or_else(|| "nothing".to_owned(), |number| format!("block {number}"));
        let told =
            words.iter().map(|(index, block)| format!("{}: {}", self.endpoints[*index].host, block.number));
        let told = told.collect::<Vec<_>>().join(", ");
        state.behind = Some(format!(
            "since {since} a quorum calls {agreed} final and nothing later, because endpoints stay behind ({told})"
        ));
    }

    /// Why nothing becomes final, as it was when they were asked last.
    pub(super) fn why_held_up(&self) -> Option<String> {
        let state = self.lock();
        let short = || state.short.then(|| "fewer endpoints than the quorum say what is final".to_owned());
        short().or_else(|| state.behind.clone())
    }

    /// The highest of the told blocks that a quorum agrees on; the one that was known where none is higher.
    async fn highest_agreed(
        &self,
        words: &[(usize, FinalBlock)],
        known: Option<FinalBlock>,
    ) -> Result<Option<FinalBlock>, ChainError> {
        let mut heights: Vec<u64> = words.iter().map(|(_, block)| block.number).collect();
        heights.sort_unstable_by(|one, other| other.cmp(one));
        let mut heights: Vec<u64> = heights.into_iter().skip(self.quorum - 1).collect();
        heights.dedup();
        for number in heights {
            if let Some(known) = known.filter(|known| number < known.number) {
                return Ok(Some(known));
            }
            let votes = self.votes(words, number).await;
            let silent = self.endpoints.len() - votes.len();
            match verdict(&votes, self.quorum, silent) {
                Verdict::Agreed(hash) => {
                    let block = FinalBlock { number, hash };
                    let contradicting = self.contradicting(words, &votes, block).await;
                    if let Some((_, theirs, one)) = contradicting.first()
                        && contradicting.len() >= self.quorum
                    {
                        let (number, one, other) = (theirs.number, *one, theirs.hash);
                        return Err(ChainError::Disagreement { number, one, other });
                    }
                    let others = votes.iter().filter(|(_, vote)| *vote != hash).map(|(index, _)| *index);
                    let others = others.chain(contradicting.iter().map(|(index, ..)| *index)).collect();
                    self.outvote(others, block).await;
                    return Ok(Some(block));
                }
                Verdict::Disagreement(one, other) => {
                    return Err(ChainError::Disagreement { number, one, other });
                }
                Verdict::Undecided => {}
            }
        }
        Ok(known)
    }

    /// The block `number` as everybody has it who calls that or a later one final.
    async fn votes(&self, words: &[(usize, FinalBlock)], number: u64) -> Vec<(usize, B256)> {
        let here = words.iter().filter(|(_, block)| block.number == number);
        let mut votes: Vec<(usize, B256)> = here.map(|(index, block)| (*index, block.hash)).collect();
        let beyond = words.iter().filter(|(_, block)| block.number > number);
        let beyond: Vec<usize> = beyond.map(|(index, _)| *index).collect();
        let told = self.ask_all(&beyond, move |node| node.block(BlockRef::Number(number))).await;
        for (index, block) in told {
            votes.extend(block.ok().flatten().map(|block| (index, block.hash)));
        }
        votes
    }

    /// Who calls an earlier block final that is not below the one that was agreed on, each with the block that is.
    async fn contradicting(
        &self,
        words: &[(usize, FinalBlock)],
        votes: &[(usize, B256)],
        agreed: FinalBlock,
    ) -> Vec<(usize, FinalBlock, B256)> {
        let mut contradicting = Vec::new();
        let witnesses = votes.iter().filter(|(_, hash)| *hash == agreed.hash);
        let witnesses: Vec<usize> = witnesses.map(|(index, _)| *index).collect();
        for (index, earlier) in words.iter().filter(|(_, block)| block.number < agreed.number) {
            let number = earlier.number;
            // One of them may say of an earlier block what it likes.
            let told = self.ask_all(&witnesses, move |node| node.block(BlockRef::Number(number))).await;
            let others = told.into_iter().filter_map(|(_, block)| block.ok().flatten());
            let others: Vec<B256> =
                others.map(|block| block.hash).filter(|hash| *hash != earlier.hash).collect();
            if let [other, ..] = others[..]
                && others.len() >= self.quorum
            {
                contradicting.push((*index, *earlier, other));
            }
        }
        contradicting
    }

    /// Leaves those alone that have another block than a quorum. The one that is asked first must not be among them, whether
    /// or not it calls the block final already: what is read from it would contradict what is final.
    async fn outvote(&self, mut others: Vec<usize>, agreed: FinalBlock) {
        let preferred = self.lock().preferred;
        if !others.contains(&preferred) {
            let told =
                self.ask_all(&[preferred], move |node| node.block(BlockRef::Number(agreed.number))).await;
            let differs = |block: &Block| block.hash != agreed.hash;
            if told.into_iter().any(|(_, block)| block.is_ok_and(|block| block.as_ref().is_some_and(differs)))
            {
                others.push(preferred);
            }
        }
        for index in others {
            let FinalBlock { number, hash } = agreed;
            self.metrics.outvoted_total.with_label_values(&self.labels(index)).inc();
            self.leave_alone(index, OUTVOTED_REST, format!("block {number} is {hash}, but it has another"));
        }
        if let Some(fittest) = self.order().first() {
            self.prefer(*fittest);
        }
    }
}
