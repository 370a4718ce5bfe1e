//! Another attempt of a nonce: committed first, like the first one, and then sent.

use chrono::{DateTime, Utc};
use laurel_chain::{SignedTx, TxRequest};
use laurel_events::{AttemptId, BlockchainTxReplaced, EventKind, alert::FEE_ABOVE_CAP};
use laurel_ledger::{Context, LedgerError, append, commit, is_chain_stopped, planted};
use sqlx::PgConnection;

use super::{
    LaneDriver, LaneError,
    monitor::Trouble,
    unmined::{Unmined, attempt_bytes},
};
use crate::{
    fees::Raise,
    lanes::Lease,
    submit::{Committed, NewAttempt, insert_attempt},
};

/// What an empty transaction may use: 21,000, and what rollups add to that for their parent chain.
const EMPTY_GAS: u64 = 200_000;

/// What takes the place of an attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replacement {
    /// It settles nothing.
    pub(super) empty: bool,
    /// How much more it offers.
    pub(super) raise: Raise,
    /// The latest block's time.
    pub(super) chain_time: u64,
}

impl LaneDriver {
    /// Outbids the latest attempt of a batch. Says what keeps it from that, while something does.
    pub(super) async fn replace(
        &mut self,
        now: DateTime<Utc>,
        lease: Lease,
        unmined: &Unmined,
        to: Replacement,
    ) -> Result<Option<Trouble>, LaneError> {
        let market = self.node.fees().await?;
        let price = match unmined.price.outbid(market, to.raise, self.settings.max_fee_per_gas) {
            Ok(price) => price,
            Err(above) => return Ok(Some(Trouble { code: FEE_ABOVE_CAP, detail: above.to_string() })),
        };
        let mut tx = self.pool.begin().await?;
        let raw = attempt_bytes(&mut tx, unmined.attempt).await?;
        let wrong = || LedgerError::Inconsistent {
            table: "attempts",
            column: "raw",
            id: unmined.attempt.to_string(),
        };
        let before = TxRequest::decode(&raw).ok_or_else(wrong)?;
        let request =
            TxRequest { max_fee_per_gas: price.max_fee, max_priority_fee_per_gas: price.tip, ..before };
        let request = if to.empty && !unmined.empty {
            TxRequest { to: Some(self.address()), data: Default::default(), gas_limit: EMPTY_GAS, ..request }
        } else {
            request
        };
        #[cfg(feature = "faults")]
        let request =
            if planted!(BumpChangesPayload) { crate::planted::pay_another(request) } else { request };
        let signed = self.signer.sign(&request)?;
        let attempt = NewAttempt {
            id: AttemptId::generate(now, &mut self.rng),
            batch: unmined.batch,
            number: unmined.number + 1,
            empty: to.empty,
            request: &request,
            signed: &signed,
            chain_time: to.chain_time,
        };
        match self.write_replacement(&mut tx, now, lease, unmined, &attempt).await? {
            Committed::Yes => commit(tx, "replacement").await?,
            Committed::Overtaken | Committed::LeaseLost => {
                tx.rollback().await?;
                return Ok(None);
            }
        }
        self.replaced(unmined, &attempt).await;
        let (id, SignedTx { hash, raw }) = (attempt.id, signed);
        self.send(unmined.batch, id, hash, raw).await?;
        Ok(None)
    }

    /// Writes an attempt under the lane's fence, if the batch is still in no block.
    async fn write_replacement(
        &self,
        conn: &mut PgConnection,
        now: DateTime<Utc>,
        lease: Lease,
        unmined: &Unmined,
        attempt: &NewAttempt<'_>,
    ) -> Result<Committed, LedgerError> {
        let held = sqlx::query_scalar!(
            r#"SELECT true AS "held!" FROM lanes WHERE id = $1 AND fence = $2 AND state <> 'halted' FOR NO KEY UPDATE"#,
            self.lane.0,
            lease.fence,
        );
        if held.fetch_optional(&mut *conn).await?.is_none()
            || is_chain_stopped(conn, self.vault.identity.chain_id).await?
        {
            return Ok(Committed::LeaseLost);
        }
        let waits = sqlx::query_scalar!(
            r#"SELECT true AS "waits!" FROM batches WHERE id = $1 AND state = 'submitted' FOR SHARE"#,
            unmined.batch.uuid(),
        );
        if waits.fetch_optional(&mut *conn).await?.is_none() {
            return Ok(Committed::Overtaken);
        }
        if !planted!(AttemptNotKept) {
            insert_attempt(conn, now, attempt).await?;
        }
        #[cfg(feature = "faults")]
        if planted!(VoidOnTimeout) && attempt.empty {
            let failed = crate::compensation::fail_timed_out(conn, now, unmined.batch).await?;
            append(conn, &Context::at(now), &failed).await?;
        }
        let replaced = BlockchainTxReplaced {
            batch: unmined.batch,
            attempt: attempt.id,
            lane: self.lane,
            tx: attempt.signed.hash,
            replaces: unmined.tx,
            empty: attempt.empty,
        };
        append(conn, &Context::at(now), &[replaced.into()]).await?;
        Ok(Committed::Yes)
    }

    async fn replaced(&self, unmined: &Unmined, attempt: &NewAttempt<'_>) {
        let kind = if attempt.empty { "empty" } else { "settlement" };
        self.metrics.replacements_total.with_label_values(&[kind]).inc();
        self.wakes.committed([EventKind::BlockchainTxReplaced]).await;
        tracing::info!(
            lane.id = %self.lane,
            batch.id = %unmined.batch,
            tx.hash = %attempt.signed.hash,
            tx.nonce = unmined.nonce,
            tx.replaces = %unmined.tx,
            tx.max_fee_per_gas = attempt.request.max_fee_per_gas,
            attempt.empty,
            "a transaction is outbid",
        );
    }
}
