//! Grants by their numbers, a window at a time.

use laurel_ledger::LedgerError;
use sqlx::PgConnection;

use super::{Candidates, Search};

/// How many rows are looked at in the first round where not all of them will be wanted, and how many at the most in a later one: few
/// where what is wanted is common, some ten milliseconds where it is rare.
const WINDOW: i64 = 1_000;
const WINDOW_MAX: i64 = 16_000;

impl Search<'_> {
    pub(super) async fn numbered(&self, conn: &mut PgConnection) -> Result<Candidates, LedgerError> {
        let window = if self.own.is_asked() {
            let grown = WINDOW.saturating_mul(4_i64.saturating_pow(self.rounds)).min(WINDOW_MAX);
            grown.max(self.limit)
        } else {
            self.limit
        };
        let (ranges, end) = self.scope.window(window);
        let rows = sqlx::query!(
            r#"
            SELECT c.id AS "campaign!", g.number AS "number!"
            FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS c (id, first, last)
            CROSS JOIN LATERAL (
                SELECT g.number, g.amount, g.rule_version, g.recorded_at FROM grants g
                WHERE g.campaign = c.id AND g.number BETWEEN c.first AND c.last
                ORDER BY g.number
                LIMIT $9
            ) g
            WHERE ($4::timestamptz IS NULL OR g.recorded_at >= $4) AND ($5::timestamptz IS NULL OR g.recorded_at < $5)
              AND ($6::numeric IS NULL OR g.amount >= $6) AND ($7::numeric IS NULL OR g.amount <= $7)
              AND ($10::integer IS NULL OR g.rule_version = $10)
            ORDER BY c.id, g.number
            LIMIT $8
            "#,
            &ranges.campaigns,
            &ranges.firsts,
            &ranges.lasts,
            self.own.from,
            self.own.until,
            self.own.amount_min,
            self.own.amount_max,
            self.limit,
            window,
            self.own.rule_version,
        )
        .fetch_all(conn)
        .await?;
        let found =
            Candidates::of(rows.into_iter().map(|row| (row.campaign, row.number)).collect(), self.limit);
        Ok(Candidates { next: found.next.or(end), ..found })
    }
}
