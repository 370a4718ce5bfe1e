//! The grants that batches in some blocks settle, in the order of their places: a place is for life, and a batch has few runs of them.

use laurel_ledger::LedgerError;
use sqlx::PgConnection;

use super::{Candidates, Key, Search};

/// A segment holds at most this many places, so that the segments of a place begin within this many before it.
const SEGMENT_MAX: i64 = 1_000;

/// How many segments are looked at together: where each has a single place, a few rounds make a page.
const SEGMENTS: i64 = 256;

/// Places of a campaign, from the first one on, before the last one.
struct Places {
    campaign: i64,
    first: i64,
    until: i64,
}

impl Search<'_> {
    pub(super) async fn in_blocks(&self, conn: &mut PgConnection) -> Result<Candidates, LedgerError> {
        let after = (self.after.0, place_of(conn, self.after).await?);
        let (places, more) = self.settled(conn, after).await?;
        let campaigns: Vec<i64> = places.iter().map(|places| places.campaign).collect();
        let firsts: Vec<i64> = places.iter().map(|places| places.first).collect();
        let untils: Vec<i64> = places.iter().map(|places| places.until).collect();
        let rows = sqlx::query!(
            r#"
            SELECT DISTINCT s.campaign AS "campaign!", r.first_seq + n.at - 1 AS "seq!", n.number AS "number!"
            FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS s (campaign, first_seq, until)
            CROSS JOIN LATERAL (
                -- Runs do not overlap, so the one that holds the first place is the last that begins at or before it.
                SELECT r.first_seq, r.numbers FROM runs r
                WHERE r.campaign = s.campaign AND r.first_seq < s.until
                  AND r.first_seq >= (SELECT max(f.first_seq) FROM runs f
                                      WHERE f.campaign = s.campaign AND f.first_seq <= s.first_seq)
            ) r
            CROSS JOIN LATERAL unnest(r.numbers) WITH ORDINALITY AS n (number, at)
            WHERE r.first_seq + n.at - 1 >= s.first_seq AND r.first_seq + n.at - 1 < s.until
            ORDER BY 1, 2
            LIMIT $4
            "#,
            &campaigns,
            &firsts,
            &untils,
            self.limit,
        )
        .fetch_all(conn)
        .await?;
        let keys: Vec<Key> = rows.into_iter().map(|row| (row.campaign, row.number)).collect();
        let last = keys.last().copied().filter(|_| more);
        let found = Candidates::of(keys, self.limit);
        Ok(Candidates { next: found.next.or(last), ..found })
    }

    /// The next places that batches in the blocks settle, enough for a round, and whether there are more.
    async fn settled(&self, conn: &mut PgConnection, after: Key) -> Result<(Vec<Places>, bool), LedgerError> {
        let (from, until) = self.filter.blocks;
        let bound = |block: u64| i64::try_from(block).unwrap_or(i64::MAX);
        let rows = sqlx::query!(
            r#"
            SELECT s.campaign, s.first_seq, s.first_seq + s.count AS "until!"
            FROM segments s JOIN batches b ON b.id = s.batch
            WHERE s.campaign = ANY ($1) AND (s.campaign, s.first_seq) > ($2, $3::bigint - $4)
              AND (s.campaign, s.first_seq + s.count - 1) > ($2, $3) AND b.block_number BETWEEN $5 AND $6
            ORDER BY s.campaign, s.first_seq
            LIMIT $7
            "#,
            &self.scope.columns().campaigns,
            after.0,
            after.1,
            SEGMENT_MAX,
            from.map_or(0, bound),
            until.map_or(i64::MAX, bound),
            SEGMENTS,
        )
        .fetch_all(conn)
        .await?;
        let all = rows.len();
        let mut left = self.limit;
        let mut places = Vec::new();
        for row in rows {
            let next = if row.campaign == after.0 { after.1.saturating_add(1) } else { 0 };
            let first = row.first_seq.max(next);
            places.push(Places { campaign: row.campaign, first, until: row.until });
            left -= row.until - first;
            if left <= 0 {
                break;
            }
        }
        let full = i64::try_from(all).is_ok_and(|found| found >= SEGMENTS);
        let more = full || places.len() < all;
        Ok((places, more))
    }
}

/// The place of a grant; before all of its campaign's where it has none.
async fn place_of(conn: &mut PgConnection, (campaign, number): Key) -> Result<i64, LedgerError> {
    if number == i64::MAX {
        return Ok(i64::MAX);
    }
    let place = sqlx::query_scalar!(
        "SELECT seq FROM grant_states WHERE campaign = $1 AND number = $2",
        campaign,
        number
    );
    Ok(place.fetch_optional(conn).await?.flatten().unwrap_or(-1))
}
