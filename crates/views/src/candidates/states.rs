//! Grants by the state that they are in.

use laurel_ledger::LedgerError;
use sqlx::PgConnection;

use super::{Candidates, Key, Search};

/// How many numbers are compared with the runs in one statement: some ten milliseconds.
const WINDOW: i64 = 5_000;

impl Search<'_> {
    pub(super) async fn exceptional(
        &self,
        conn: &mut PgConnection,
        state: &str,
    ) -> Result<Candidates, LedgerError> {
        let ranges = self.scope.columns();
        // That the state is not `queued` is said for the partial index.
        let rows = sqlx::query!(
            r#"
            SELECT c.id AS "campaign!", e.number AS "number!"
            FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS c (id, first, last)
            CROSS JOIN LATERAL (
                SELECT e.number FROM exceptions e
                WHERE e.campaign = c.id AND e.state = $4 AND e.state <> 'queued' AND e.number BETWEEN c.first AND c.last
                  AND ($5::numeric IS NULL OR e.amount >= $5) AND ($6::numeric IS NULL OR e.amount <= $6)
                ORDER BY e.number
                LIMIT $7
            ) e
            ORDER BY 1, 2
            LIMIT $7
            "#,
            &ranges.campaigns,
            &ranges.firsts,
            &ranges.lasts,
            state,
            self.own.amount_min,
            self.own.amount_max,
            self.limit,
        )
        .fetch_all(conn)
        .await?;
        Ok(Candidates::of(rows.into_iter().map(|row| (row.campaign, row.number)).collect(), self.limit))
    }

    pub(super) async fn under_way(
        &self,
        conn: &mut PgConnection,
        state: &str,
    ) -> Result<Candidates, LedgerError> {
        let places = sqlx::query!(
            r#"
            SELECT s.campaign, s.first_seq, s.first_seq + s.count AS "until!"
            FROM segments s JOIN batches b ON b.id = s.batch
            WHERE s.campaign = ANY ($1) AND s.posted_at IS NULL AND b.state = $2
            "#,
            &self.scope.columns().campaigns,
            state,
        )
        .fetch_all(&mut *conn)
        .await?;
        let places = places.into_iter().map(|place| (place.campaign, place.first_seq, place.until)).collect();
        self.in_places(conn, places).await
    }

    pub(super) async fn queued(&self, conn: &mut PgConnection) -> Result<Candidates, LedgerError> {
        let places = sqlx::query!(
            r#"
            SELECT q.campaign AS "campaign!", q.batched_to AS "first_seq!", q.next_seq AS "until!" FROM queues q
            WHERE q.campaign = ANY ($1) AND q.batched_to < q.next_seq
            UNION ALL
            SELECT r.campaign, r.first_seq, r.first_seq + r.count FROM requeues r WHERE r.campaign = ANY ($1)
            "#,
            &self.scope.columns().campaigns,
        )
        .fetch_all(&mut *conn)
        .await?;
        let places = places.into_iter().map(|place| (place.campaign, place.first_seq, place.until)).collect();
        self.in_places(conn, places).await
    }

    /// The grants that have the places `first_seq..until` of campaigns.
    async fn in_places(
        &self,
        conn: &mut PgConnection,
        places: Vec<(i64, i64, i64)>,
    ) -> Result<Candidates, LedgerError> {
        let ranges = self.scope.columns();
        let campaigns: Vec<i64> = places.iter().map(|place| place.0).collect();
        let firsts: Vec<i64> = places.iter().map(|place| place.1).collect();
        let untils: Vec<i64> = places.iter().map(|place| place.2).collect();
        let rows = sqlx::query!(
            r#"
            SELECT DISTINCT s.campaign AS "campaign!", n.number AS "number!"
            FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS s (campaign, first_seq, until)
            JOIN unnest($4::bigint[], $5::bigint[], $6::bigint[]) AS c (id, first, last) ON c.id = s.campaign
            CROSS JOIN LATERAL (
                -- Runs do not overlap, so the one that holds the first place is the last that begins at or before it.
                SELECT r.first_seq, r.numbers FROM runs r
                WHERE r.campaign = s.campaign AND r.first_seq < s.until
                  AND r.first_seq >= (SELECT max(f.first_seq) FROM runs f
                                      WHERE f.campaign = s.campaign AND f.first_seq <= s.first_seq)
            ) r
            CROSS JOIN LATERAL unnest(
                r.numbers[(greatest(s.first_seq - r.first_seq, 0) + 1)::integer
                          : least(s.until - r.first_seq, cardinality(r.numbers))::integer]
            ) AS n (number)
            WHERE n.number BETWEEN c.first AND c.last
            ORDER BY 1, 2
            LIMIT $7
            "#,
            &campaigns,
            &firsts,
            &untils,
            &ranges.campaigns,
            &ranges.firsts,
            &ranges.lasts,
            self.limit,
        )
        .fetch_all(conn)
        .await?;
        Ok(Candidates::of(rows.into_iter().map(|row| (row.campaign, row.number)).collect(), self.limit))
    }

    pub(super) async fn requested(&self, conn: &mut PgConnection) -> Result<Candidates, LedgerError> {
        let with_requests = self.with_requests(conn).await?;
        let mut scope = self.scope.clone();
        scope.ranges.retain(|range| with_requests.contains(&range.campaign));
        let (ranges, end) = scope.window(WINDOW);
        let rows = sqlx::query!(
            r#"
            WITH ends AS (
                SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS c (campaign, first, last)
            ), taken AS MATERIALIZED (
                SELECT r.campaign, n.number
                FROM ends w
                JOIN runs r ON r.campaign = w.campaign AND r.first_number > w.first - 10000 AND r.first_number <= w.last
                CROSS JOIN LATERAL unnest(r.numbers) AS n (number)
                UNION ALL
                SELECT e.campaign, e.number
                FROM ends w
                JOIN exceptions e ON e.campaign = w.campaign AND e.number BETWEEN w.first AND w.last
            )
            SELECT w.campaign AS "campaign!", n.number AS "number!"
            FROM ends w
            CROSS JOIN LATERAL generate_series(w.first, w.last) AS n (number)
            LEFT JOIN taken t ON t.campaign = w.campaign AND t.number = n.number
            WHERE t.number IS NULL
            ORDER BY 1, 2
            LIMIT $4
            "#,
            &ranges.campaigns,
            &ranges.firsts,
            &ranges.lasts,
            self.limit,
        )
        .fetch_all(conn)
        .await?;
        let keys: Vec<Key> = rows.into_iter().map(|row| (row.campaign, row.number)).collect();
        let found = Candidates::of(keys, self.limit);
        Ok(Candidates { next: found.next.or(end), ..found })
    }

    /// The campaigns that have more grants than places given and grants without one.
    async fn with_requests(&self, conn: &mut PgConnection) -> Result<Vec<i64>, LedgerError> {
        let campaigns = sqlx::query_scalar!(
            r#"
            SELECT a.campaign
            FROM accounts a
            LEFT JOIN queues q ON q.campaign = a.campaign
            WHERE a.campaign = ANY ($1)
              AND a.grants > coalesce(q.next_seq, 0) + (
                  SELECT count(*) FROM exceptions e
                  WHERE e.campaign = a.campaign AND e.state <> 'queued' AND e.seq IS NULL)
            "#,
            &self.scope.columns().campaigns,
        )
        .fetch_all(conn)
        .await?;
        Ok(campaigns)
    }
}
