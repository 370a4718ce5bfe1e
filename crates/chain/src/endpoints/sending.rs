//! Sending: what several endpoints answer to the same bytes, as one answer.

use alloy::primitives::{B256, Bytes, keccak256};
use futures::future::join_all;

use super::{Endpoints, health::Outcome};
use crate::{NextStep, Refusal, SendError};

/// How many transactions are remembered as given once: as many as sixteen lanes have unmined.
const SENT_MAX: usize = 256;

impl Endpoints {
    /// Gives a transaction to the endpoints. The first time, to one after the other until one takes it: that costs one
    /// request, and one endpoint that takes it is enough for the network. Whoever gives the same bytes again has waited for
    /// a block in vain, so then all get it at once: the first one may have thrown it away. Sending twice is always safe.
    pub(super) async fn send_to_some(&self, raw: Bytes) -> Result<B256, SendError> {
        let mut answers = Vec::new();
        if self.is_sent_again(keccak256(&raw)) {
            let asked = self.all_fit();
            let asked = asked.iter().map(|&index| self.send_to(index, &raw));
            answers = join_all(asked).await.into_iter().flatten().collect();
        } else {
            for index in self.order() {
                let Some(answer) = self.send_to(index, &raw).await else { continue };
                let taken = rank(&answer) <= TAKEN;
                answers.push(answer);
                if taken {
                    break;
                }
            }
        }
        combined(answers).unwrap_or_else(|| Err(SendError::NotSent(self.no_endpoint())))
    }

    /// Whether these bytes were given before, as far as that is remembered.
    fn is_sent_again(&self, hash: B256) -> bool {
        let mut state = self.lock();
        if state.sent.contains(&hash) {
            return true;
        }
        state.sent.push_back(hash);
        if state.sent.len() > SENT_MAX {
            state.sent.pop_front();
        }
        false
    }

    async fn send_to(&self, index: usize, raw: &Bytes) -> Option<Result<B256, SendError>> {
        let pass = self.ready(index).await?;
        let began = self.clock.now();
        let under_way = self.under_way(index, pass);
        let answer = self.endpoints[index].node.send(raw.clone()).await;
        under_way.answered();
        self.took(index, began);
        let labels = self.labels(index);
        let [chain, place, host] = labels.each_ref().map(String::as_str);
        let label = answer.as_ref().map_or_else(SendError::as_str, |_| "accepted");
        self.metrics.sends_total.with_label_values(&[chain, place, host, label]).inc();
        match &answer {
            Err(SendError::NotSent(error) | SendError::PerhapsSent(error)) => {
                let outcome = Outcome::of(error);
                self.note(index, pass, outcome, || error.in_short());
                if outcome == Outcome::Refused {
                    self.judge_refusal(index, pass, false);
                }
            }
            Err(SendError::Refused { refusal: Refusal::RateLimited, rest, .. }) => {
                self.note(index, pass, Outcome::RateLimited(*rest), || "it was asked too often".to_owned());
            }
            // A refusal is an answer: the endpoint works, also one that takes no transactions.
            Ok(_) | Err(SendError::Refused { .. }) => self.note(index, pass, Outcome::Answered, String::new),
        }
        Some(answer)
    }
}

/// Up to this rank somebody has it.
const TAKEN: u8 = 1;

/// The lower, the more an answer counts among several. That somebody has it beats everything; that somebody may have it
/// beats every refusal. Of several refusals the one with the mildest consequence counts: lanes stop only if every endpoint
/// that looked at the bytes says so.
fn rank(answer: &Result<B256, SendError>) -> u8 {
    match answer {
        Ok(_) => 0,
        Err(SendError::PerhapsSent(_)) => 2,
        Err(SendError::NotSent(_)) => 10,
        Err(SendError::Refused { refusal, .. }) => match refusal.next() {
            NextStep::Confirm => TAKEN,
            NextStep::FindReceipt => 3,
            NextStep::FillGap => 4,
            NextStep::RaiseFees => 5,
            NextStep::Later => 6,
            NextStep::Park => 7,
            NextStep::Abandon => 8,
            // It says something of itself only.
            NextStep::OtherEndpoint => 9,
        },
    }
}

/// One answer for several; the first of equal ones.
fn combined(answers: Vec<Result<B256, SendError>>) -> Option<Result<B256, SendError>> {
    answers.into_iter().min_by_key(rank)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::ChainError;

    fn refused(refusal: Refusal) -> Result<B256, SendError> {
        Err(SendError::Refused { refusal, code: -32_000, message: refusal.as_str().to_owned(), rest: None })
    }

    fn lost() -> ChainError {
        ChainError::Untrue("lost".to_owned())
    }

    fn answer(name: &str) -> Result<B256, SendError> {
        match name {
            "accepted" => Ok(B256::ZERO),
            "perhaps_sent" => Err(SendError::PerhapsSent(lost())),
            "not_sent" => Err(SendError::NotSent(lost())),
            name => refused(Refusal::ALL.into_iter().find(|refusal| refusal.as_str() == name).unwrap()),
        }
    }

    #[rstest]
    #[case(&["endpoint", "accepted"], "accepted")]
    #[case(&["malformed", "not_sent", "accepted"], "accepted")]
    #[case(&["perhaps_sent", "already_known"], "already_known")]
    #[case(&["malformed", "malformed"], "malformed")]
    #[case(&["malformed", "not_sent"], "malformed")]
    #[case(&["underpriced", "perhaps_sent"], "perhaps_sent")]
    #[case(&["endpoint", "underpriced"], "underpriced")]
    #[case(&["endpoint", "insufficient_funds"], "insufficient_funds")]
    #[case(&["malformed", "rate_limited"], "rate_limited")]
    #[case(&["nonce_gap", "nonce_too_low"], "nonce_too_low")]
    #[case(&["endpoint", "not_sent"], "endpoint")]
    #[case(&["not_sent", "perhaps_sent"], "perhaps_sent")]
    #[case(&["not_sent", "not_sent"], "not_sent")]
    fn one_answer_for_several(#[case] answers: &[&str], #[case] one: &str) {
        for answers in [answers.to_vec(), answers.iter().rev().copied().collect()] {
            let found = combined(answers.iter().map(|name| answer(name)).collect()).unwrap();
            assert_eq!(found.as_ref().map_or_else(SendError::as_str, |_| "accepted"), one, "{answers:?}");
        }
        assert!(combined(Vec::new()).is_none());
    }
}
