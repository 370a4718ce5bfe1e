//! How much is in each stage at the moment.

use sqlx::PgPool;

/// How far everything that was recorded has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pipeline {
    /// Outcomes recorded.
    pub(crate) outcomes: u64,
    /// Outcomes that no campaign has looked at yet.
    pub(crate) undecided: u64,
    /// Decisions against an outcome.
    pub(crate) declined: u64,
    /// Grants made.
    pub(crate) grants: u64,
    /// Grants that wait for a wallet, or for something else.
    pub(crate) waiting: u64,
    /// Grants whose hold was voided.
    pub(crate) compensated: u64,
    /// Grants with a place on the chain.
    pub(crate) queued: u64,
    /// Grants in a signed transaction.
    pub(crate) submitted: u64,
    /// Grants in a block.
    pub(crate) mined: u64,
    /// Grants that the books have as paid.
    pub(crate) completed: u64,
    /// Transactions in a final block.
    pub(crate) transactions: u64,
}

impl Pipeline {
    /// Whether there is nothing left to do but to wait for players.
    pub(crate) const fn drained(&self) -> bool {
        self.undecided == 0 && self.completed + self.waiting + self.compensated == self.grants
    }
}

/// Counts what is in each stage. Cheap: no table is read row by row but outcomes and the exceptions.
pub(crate) async fn pipeline(pool: &PgPool) -> anyhow::Result<Pipeline> {
    let row = sqlx::query!(
        r#"
        SELECT (SELECT count(*) FROM outcomes) AS "outcomes!",
               (SELECT coalesce(sum(j.entries), 0)::bigint
                FROM heads h LEFT JOIN cursors c ON c.part = h.part AND c.stage = 'campaign'
                JOIN journal j ON j.part = h.part AND j.position >= coalesce(c.next, 0)
                WHERE j.kind = 'GameOutcomeRecorded') AS "undecided!",
               (SELECT coalesce(sum(declines), 0)::bigint FROM accounts) AS "declined!",
               (SELECT coalesce(sum(grants), 0)::bigint FROM accounts) AS "grants!",
               (SELECT count(*) FROM exceptions WHERE state IN ('awaiting_wallet', 'held')) AS "waiting!",
               (SELECT count(*) FROM voids) AS "compensated!",
               (SELECT coalesce(sum(next_seq), 0)::bigint FROM queues) AS "queued!",
               (SELECT coalesce(sum(batched_to), 0)::bigint FROM queues) AS "submitted!",
               (SELECT coalesce(sum(grants), 0)::bigint FROM batches
                WHERE state IN ('mined', 'confirmed')) AS "mined!",
               (SELECT coalesce(sum(grants), 0)::bigint FROM postings) AS "completed!",
               (SELECT count(*) FROM batches WHERE state = 'confirmed') AS "transactions!"
        "#,
    )
    .fetch_one(pool)
    .await?;
    Ok(Pipeline {
        outcomes: row.outcomes.unsigned_abs(),
        undecided: row.undecided.unsigned_abs(),
        declined: row.declined.unsigned_abs(),
        grants: row.grants.unsigned_abs(),
        waiting: row.waiting.unsigned_abs(),
        compensated: row.compensated.unsigned_abs(),
        queued: row.queued.unsigned_abs(),
        submitted: row.submitted.unsigned_abs(),
        mined: row.mined.unsigned_abs(),
        completed: row.completed.unsigned_abs(),
        transactions: row.transactions.unsigned_abs(),
    })
}
