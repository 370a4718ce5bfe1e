//! The grants of some players.

use laurel_events::PlayerId;
use laurel_ledger::LedgerError;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Candidates, Search, is_exceptional};

impl Search<'_> {
    pub(super) async fn of_players(
        &self,
        conn: &mut PgConnection,
        players: &[PlayerId],
    ) -> Result<Candidates, LedgerError> {
        let players: Vec<Uuid> = players.iter().map(|player| player.uuid()).collect();
        let exception = self.filter.state.filter(|state| is_exceptional(state));
        let ranges = self.scope.columns();
        // The players' grants first: to walk through all campaigns until enough of them are theirs would be far more.
        let rows = sqlx::query!(
            r#"
            WITH own AS MATERIALIZED (
                SELECT g.campaign, g.number FROM grants g
                WHERE g.player = ANY ($4)
                  AND ($5::timestamptz IS NULL OR g.recorded_at >= $5) AND ($6::timestamptz IS NULL OR g.recorded_at < $6)
                  AND ($7::numeric IS NULL OR g.amount >= $7) AND ($8::numeric IS NULL OR g.amount <= $8)
                  AND ($11::integer IS NULL OR g.rule_version = $11)
            )
            SELECT o.campaign, o.number
            FROM own o
            JOIN unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS c (id, first, last)
              ON c.id = o.campaign AND o.number BETWEEN c.first AND c.last
            LEFT JOIN exceptions e ON e.campaign = o.campaign AND e.number = o.number
            WHERE $9::text IS NULL OR e.state = $9
            ORDER BY o.campaign, o.number
            LIMIT $10
            "#,
            &ranges.campaigns,
            &ranges.firsts,
            &ranges.lasts,
            &players,
            self.own.from,
            self.own.until,
            self.own.amount_min,
            self.own.amount_max,
            exception,
            self.limit,
            self.own.rule_version,
        )
        .fetch_all(conn)
        .await?;
        Ok(Candidates::of(rows.into_iter().map(|row| (row.campaign, row.number)).collect(), self.limit))
    }
}
