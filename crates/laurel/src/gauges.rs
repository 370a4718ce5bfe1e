//! What is measured by looking at the database from time to time: grants by state.

use prometheus::{IntGaugeVec, Opts, Registry};
use sqlx::PgPool;

/// Gauges of the whole system; every replica shows the same.
#[derive(Clone, Debug)]
pub(crate) struct Gauges {
    /// Grants that are in each state at the moment.
    grants: IntGaugeVec,
}

impl Gauges {
    /// Registers the gauges.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let options = Opts::new("laurel_grants", "Grants that are in each state at the moment.");
        let gauges = Self { grants: IntGaugeVec::new(options, &["state"])? };
        registry.register(Box::new(gauges.grants.clone()))?;
        Ok(gauges)
    }

    /// Looks. Every sum is over rows per campaign, per batch in flight, or per exception: none is over all grants.
    pub(crate) async fn look(&self, pool: &PgPool) -> sqlx::Result<()> {
        let row = sqlx::query!(
            r#"
            SELECT (SELECT coalesce(sum(grants), 0)::bigint FROM accounts) AS "grants!",
                   (SELECT coalesce(sum(next_seq), 0)::bigint FROM queues) AS "seated!",
                   (SELECT coalesce(sum(batched_to), 0)::bigint FROM queues) AS "batched!",
                   (SELECT coalesce(sum(count), 0)::bigint FROM requeues) AS "requeued!",
                   (SELECT count(*) FROM exceptions WHERE state = 'awaiting_wallet') AS "awaiting!",
                   (SELECT count(*) FROM exceptions WHERE state = 'held' AND seq IS NULL) AS "held!",
                   (SELECT count(*) FROM exceptions WHERE state = 'held' AND seq IS NOT NULL) AS "refused!",
                   (SELECT count(*) FROM exceptions WHERE state = 'failed') AS "failed!",
                   (SELECT count(*) FROM exceptions WHERE state = 'compensated') AS "compensated!",
                   (SELECT count(*) FROM exceptions
                    WHERE state IN ('failed', 'compensated') AND seq IS NOT NULL) AS "given_up!",
                   (SELECT coalesce(sum(grants), 0)::bigint FROM batches WHERE state = 'submitted') AS "submitted!",
                   (SELECT coalesce(sum(grants), 0)::bigint FROM batches WHERE state = 'mined') AS "mined!",
                   (SELECT coalesce(sum(grants), 0)::bigint FROM postings) AS "completed!"
            "#,
        )
        .fetch_one(pool)
        .await?;
        let seatless = row.awaiting + row.held + row.failed + row.compensated - row.given_up;
        let in_flight = row.submitted + row.mined;
        // What is batched and neither in flight nor back in the queue, posted or given up is confirmed, and about to be
        // posted.
        let confirmed = row.batched - row.requeued - in_flight - row.completed - row.given_up;
        let states = [
            ("requested", row.grants - row.seated - seatless),
            ("awaiting_wallet", row.awaiting),
            ("held", row.held + row.refused),
            ("queued", row.seated - row.batched + row.requeued - row.refused),
            ("submitted", row.submitted),
            ("mined", row.mined),
            ("confirmed", confirmed),
            ("completed", row.completed),
            ("failed", row.failed),
            ("compensated", row.compensated),
        ];
        for (state, count) in states {
            // The parts of the sum are read at one moment, but a race between stages may show a grant in two of them.
            self.grants.with_label_values(&[state]).set(count.max(0));
        }
        Ok(())
    }
}
