//! Giving committed bytes to the chain, and again until it has them.

use alloy::primitives::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use laurel_chain::{Refusal, SendError};
use laurel_events::{BatchId, EventKind, NewEvent, OperatorAlertRaised};
use laurel_ledger::{Context, append, clear_alert, commit};

use super::{LaneDriver, LaneError};
use crate::submit::SignedBatch;

/// What the code of an alert about a refusal begins with.
const SEND_ALERT: &str = "send_";

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
    pub(super) async fn send(&self, batch: BatchId, raw: &Bytes) -> Result<(), LaneError> {
        let answer = self.node.send(raw.clone()).await;
        let label = answer.as_ref().map_or_else(SendError::as_str, |_| "accepted");
        self.metrics.broadcasts_total.with_label_values(&[label]).inc();
        let error = match answer {
            Ok(_) => return self.accepted(batch).await,
            Err(error) => error,
        };
        match error.refusal() {
            Some(Refusal::AlreadyKnown) => self.accepted(batch).await?,
            Some(refusal) if refusal.lasts() => {
                let about = format!("lane:{}", self.lane);
                let code = format!("{SEND_ALERT}{label}");
                let mut tx = self.pool.begin().await?;
                self.raise(&mut tx, OperatorAlertRaised { code, about, detail: error.to_string() }).await?;
                commit(tx, "send_alert").await?;
            }
            _ => tracing::info!(batch.id = %batch, %error, "the node did not plainly accept a batch"),
        }
        Ok(())
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

    /// The transaction monitor: sends batches again that are in no block for too long, and all of them when the lane is
    /// taken over. Returns how many there are.
    pub(super) async fn monitor(&mut self, now: DateTime<Utc>) -> Result<usize, LaneError> {
        let unmined = sqlx::query!(
            r#"
            SELECT b.id, b.created_at, b.accepted_at FROM batches b
            WHERE b.lane = $1 AND b.state = 'submitted'
            ORDER BY b.nonce
            "#,
            self.lane.0,
        )
        .fetch_all(&self.pool)
        .await?;
        let lane = self.lane.to_string();
        let oldest = unmined.first().map_or(0, |batch| (now - batch.created_at).num_seconds());
        self.metrics.unmined.with_label_values(&[&lane]).set(unmined.len() as i64);
        self.metrics.oldest_unmined_seconds.with_label_values(&[&lane]).set(oldest);
        let takeover = self.check_at.is_none();
        if self.check_at.is_some_and(|check_at| now < check_at) {
            return Ok(unmined.len());
        }
        self.check_at =
            Some(now + TimeDelta::from_std(self.settings.monitor_interval).unwrap_or(TimeDelta::MAX));
        let timeout = TimeDelta::from_std(self.settings.monitor_timeout).unwrap_or(TimeDelta::MAX);
        for batch in &unmined {
            let late = batch.accepted_at.is_none_or(|accepted_at| now - accepted_at >= timeout);
            if takeover || late {
                self.resend(batch.id.into()).await?;
            }
        }
        if !unmined.is_empty() {
            return Ok(unmined.len());
        }
        let mut tx = self.pool.begin().await?;
        let mut cleared: Vec<NewEvent> = Vec::new();
        for refusal in Refusal::ALL.into_iter().filter(|refusal| refusal.lasts()) {
            let code = format!("{SEND_ALERT}{}", refusal.as_str());
            cleared.extend(clear_alert(&mut tx, &code, &format!("lane:{lane}")).await?.map(NewEvent::from));
        }
        if !cleared.is_empty() {
            append(&mut tx, &Context::at(now), &cleared).await?;
        }
        commit(tx, "send_alerts_cleared").await?;
        Ok(0)
    }

    async fn resend(&self, batch: BatchId) -> Result<(), LaneError> {
        let raw = sqlx::query_scalar!(
            "SELECT raw FROM attempts WHERE batch = $1 ORDER BY signed_at DESC, id DESC LIMIT 1",
            batch.uuid(),
        )
        .fetch_one(&self.pool)
        .await?;
        tracing::info!(batch.id = %batch, "sending a batch again");
        self.send(batch, &raw.into()).await
    }
}
