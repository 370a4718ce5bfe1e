//! Giving committed bytes to the chain, and again until it has them.

use std::{collections::HashMap, time::Duration};

use alloy::primitives::{B256, Bytes};
use chrono::{DateTime, TimeDelta, Utc};
use laurel_chain::{NextStep, Refusal, SendError, TxStatus};
use laurel_events::{AttemptId, BatchId, EventKind, alert};

use super::{LaneDriver, LaneError, unmined::Unmined};
use crate::submit::SignedBatch;

/// The longest rest before bytes that no node took are sent again.
const RESEND_REST_MAX: TimeDelta = TimeDelta::seconds(30);

/// How often the rest doubles: beyond, it is at its longest anyway.
const DOUBLINGS_MAX: u32 = 8;

/// What a node made of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has them.
    Taken,
    /// It does not take them.
    Refused(Refusal),
    /// Nobody knows.
    Unknown,
}

/// The last time that a batch was given to a node.
#[derive(Clone, Copy, Debug)]
struct Tried {
    attempt: AttemptId,
    answer: Answer,
    /// How often in a row it was not taken.
    failures: u32,
    again_at: DateTime<Utc>,
    /// The batch's when it was looked at first since then.
    transition: Option<i64>,
}

/// What this replica knows of the sending of a lane's unmined batches. Lost with the replica: whoever comes next sends all of
/// them again.
#[derive(Debug, Default)]
pub(super) struct Tries(HashMap<BatchId, Tried>);

impl Tries {
    /// Forgets all but the batches that are still unmined, and those that a block had and lost meanwhile: they are sent again at once.
    pub(super) fn retain(&mut self, unmined: &[Unmined]) {
        self.0.retain(|batch, tried| {
            let unmined = unmined.iter().find(|unmined| unmined.batch == *batch);
            unmined.is_some_and(|unmined| {
                *tried.transition.get_or_insert(unmined.transition) == unmined.transition
            })
        });
    }

    /// Whether a batch's latest attempt is to be sent.
    pub(super) fn is_due(&self, unmined: &Unmined, now: DateTime<Utc>) -> bool {
        let tried = self.0.get(&unmined.batch).filter(|tried| tried.attempt == unmined.attempt);
        tried.is_none_or(|tried| now >= tried.again_at)
    }

    /// Why a node does not take a batch's latest attempt.
    pub(super) fn refusal(&self, unmined: &Unmined) -> Option<Refusal> {
        let tried = self.0.get(&unmined.batch).filter(|tried| tried.attempt == unmined.attempt)?;
        match tried.answer {
            Answer::Refused(refusal) => Some(refusal),
            Answer::Taken | Answer::Unknown => None,
        }
    }

    /// Has everything but this batch sent again at once: a node lacks one of the nonces before it.
    fn fill_gap(&mut self, batch: BatchId) {
        self.0.retain(|tried, _| *tried == batch);
    }

    fn note(
        &mut self,
        batch: BatchId,
        attempt: AttemptId,
        answer: Answer,
        now: DateTime<Utc>,
        (timeout, interval): (TimeDelta, TimeDelta),
    ) {
        let before = self.0.get(&batch).filter(|tried| tried.attempt == attempt);
        let failures = before.map_or(0, |tried| tried.failures);
        let (failures, rest) = match answer {
            Answer::Taken => (0, timeout),
            Answer::Refused(_) | Answer::Unknown => {
                let rest = interval * (1 << failures.min(DOUBLINGS_MAX));
                (failures.saturating_add(1), rest.min(RESEND_REST_MAX))
            }
        };
        self.0.insert(batch, Tried { attempt, answer, failures, again_at: now + rest, transition: None });
    }
}

/// A duration of the settings, which are far below what a difference of times can hold.
pub(super) fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

impl LaneDriver {
    /// Tells everybody of a batch that is in the database.
    pub(super) async fn committed(&self, signed: &SignedBatch) {
        self.metrics.batches_total.inc();
        self.metrics.batch_grants.observe(signed.plan.segment.words.len() as f64);
        self.wakes.committed([EventKind::BlockchainTxSubmitted]).await;
        tracing::debug!(
            lane.id = %self.lane,
            batch.id = %signed.batch,
            tx.hash = %signed.signed.hash,
            tx.nonce = signed.request.nonce,
            grants = signed.plan.segment.words.len(),
            "a batch is committed",
        );
    }

    /// Gives committed bytes to the node. Whatever it answers, the monitor will look again.
    pub(super) async fn send(
        &mut self,
        batch: BatchId,
        attempt: AttemptId,
        hash: B256,
        raw: Bytes,
    ) -> Result<(), LaneError> {
        let answer = self.node.send(raw).await;
        let label = answer.as_ref().map_or_else(SendError::as_str, |_| "accepted");
        self.metrics.broadcasts_total.with_label_values(&[label]).inc();
        let answer = match answer {
            Ok(_) => Answer::Taken,
            Err(error) => self.judge_answer(batch, hash, &error).await?,
        };
        let now = self.clock.now();
        let pace = (delta(self.settings.monitor_timeout), delta(self.settings.monitor_interval));
        self.tries.note(batch, attempt, answer, now, pace);
        if answer == Answer::Taken {
            self.accepted(batch).await?;
        }
        Ok(())
    }

    /// What is known after an answer that is no plain yes.
    async fn judge_answer(
        &mut self,
        batch: BatchId,
        hash: B256,
        error: &SendError,
    ) -> Result<Answer, LaneError> {
        let Some(refusal) = error.refusal() else {
            tracing::info!(batch.id = %batch, %error, "nobody knows whether a batch was sent");
            return Ok(Answer::Unknown);
        };
        match refusal.next() {
            // Some clients say so of what they have just thrown away, and of what was never mined: look for it.
            NextStep::Confirm | NextStep::FindReceipt => {
                let known = self.node.transaction(hash).await? != TxStatus::Unknown;
                return Ok(if known { Answer::Taken } else { Answer::Refused(refusal) });
            }
            NextStep::FillGap => {
                self.tries.fill_gap(batch);
                self.check_at = None;
            }
            NextStep::OtherEndpoint | NextStep::Abandon => {
                self.tell(&format!("{}{}", alert::SEND, refusal.as_str()), error.to_string()).await?;
            }
            NextStep::RaiseFees | NextStep::Later | NextStep::Park => {}
        }
        tracing::info!(batch.id = %batch, %error, "the node does not take a batch");
        Ok(Answer::Refused(refusal))
    }

    async fn accepted(&self, batch: BatchId) -> Result<(), LaneError> {
        sqlx::query!(
            "UPDATE batches SET accepted_at = $2 WHERE id = $1 AND accepted_at IS NULL",
            batch.uuid(),
            self.clock.now(),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
