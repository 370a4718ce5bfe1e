//! Which numbers of which campaigns are looked at: a range for each campaign.
//!
//! Numbers rise in the order in which grants are committed, so a span of time is a range of numbers, whose ends the campaign's journal knows.
//! What that has not come to yet is behind the last one, and looked at as well.

use chrono::{DateTime, Utc};
use laurel_events::{CampaignId, OrgId};
use laurel_ledger::LedgerError;
use sqlx::PgConnection;

use super::Key;
use crate::GrantFilter;

/// How many campaigns at most are looked at together: where a span of time is wanted, each costs some index lookups.
const CAMPAIGNS_MAX: i64 = 256;

/// Numbers of a campaign, from the first one to the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) campaign: i64,
    pub(crate) first: i64,
    pub(crate) last: i64,
}

impl Range {
    fn len(self) -> i64 {
        self.last - self.first + 1
    }
}

/// The ranges of some campaigns, in the order of their ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    pub(crate) ranges: Vec<Range>,
    /// Behind which there are more campaigns.
    pub(crate) more: Option<Key>,
}

impl Scope {
    /// What the filter says of campaigns and of time, behind `after`.
    pub(crate) async fn load(
        conn: &mut PgConnection,
        org: OrgId,
        filter: &GrantFilter<'_>,
        after: Key,
    ) -> Result<Self, LedgerError> {
        let (from, until) = filter.granted;
        let rows = sqlx::query!(
            r#"
            SELECT c.id, coalesce(f.granted, 0) AS "first!", coalesce(u.before, a.grants) - 1 AS "last!"
            FROM campaigns c
            JOIN vaults v ON v.id = c.vault
            JOIN accounts a ON a.campaign = c.id
            LEFT JOIN LATERAL (
                SELECT j.granted FROM campaign_journal j
                WHERE j.campaign = c.id AND j.peak_at < $6
                ORDER BY j.peak_at DESC, j.position DESC, j.idx DESC
                LIMIT 1
            ) f ON true
            LEFT JOIN LATERAL (
                SELECT j.granted - CASE WHEN j.kind = 'TokenGrantRequested' THEN j.events ELSE 0 END AS before
                FROM campaign_journal j
                WHERE j.campaign = c.id AND j.peak_at >= $7::timestamptz + (
                    SELECT l.lateness FROM campaign_journal l
                    WHERE l.campaign = c.id
                    ORDER BY l.position DESC, l.idx DESC
                    LIMIT 1
                ) * interval '1 microsecond'
                ORDER BY j.peak_at, j.position, j.idx
                LIMIT 1
            ) u ON true
            WHERE c.org = $1 AND ($2::bigint IS NULL OR c.id = $2) AND ($3::bytea IS NULL OR c.token = $3)
              AND ($4::bigint IS NULL OR v.chain_id = $4) AND c.id >= $5 AND a.grants > 0
            ORDER BY c.id
            LIMIT $8
            "#,
            org.0,
            filter.campaign.map(CampaignId::number),
            filter.token.as_ref().map(|token| token.as_slice()),
            filter.chain_id.map(u64::cast_signed),
            after.0,
            from,
            until,
            CAMPAIGNS_MAX,
        )
        .fetch_all(conn)
        .await?;
        let full = i64::try_from(rows.len()).is_ok_and(|found| found >= CAMPAIGNS_MAX);
        let more = rows.last().filter(|_| full).map(|row| (row.id, i64::MAX));
        let ranges = rows.into_iter().map(|row| Range { campaign: row.id, first: row.first, last: row.last });
        let mut scope = Self { ranges: ranges.collect(), more };
        scope.advance(after);
        Ok(scope)
    }

    /// Leaves out what is not behind `after`.
    pub(crate) fn advance(&mut self, after: Key) {
        for range in &mut self.ranges {
            if range.campaign < after.0 {
                range.last = -1;
            } else if range.campaign == after.0 {
                range.first = range.first.max(after.1.saturating_add(1));
            }
        }
        self.ranges.retain(|range| range.first <= range.last);
    }

    /// The first `numbers` of it, and behind which there are more.
    pub(crate) fn window(&self, numbers: i64) -> (Columns, Option<Key>) {
        let mut left = numbers;
        let mut columns = Columns::default();
        for range in &self.ranges {
            if left == 0 {
                break;
            }
            let taken = range.len().min(left);
            left -= taken;
            columns.push(Range { last: range.first + taken - 1, ..*range });
        }
        let end = columns.end();
        let whole = self.ranges.last().map(|range| (range.campaign, range.last));
        (columns, if end == whole { None } else { end })
    }

    /// All of it.
    pub(crate) fn columns(&self) -> Columns {
        let mut columns = Columns::default();
        self.ranges.iter().for_each(|range| columns.push(*range));
        columns
    }
}

/// Ranges, column by column.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    pub(crate) campaigns: Vec<i64>,
    pub(crate) firsts: Vec<i64>,
    pub(crate) lasts: Vec<i64>,
}

impl Columns {
    fn push(&mut self, range: Range) {
        self.campaigns.push(range.campaign);
        self.firsts.push(range.first);
        self.lasts.push(range.last);
    }

    fn end(&self) -> Option<Key> {
        Some((*self.campaigns.last()?, *self.lasts.last()?))
    }
}

/// A span of time: from its beginning on, before its end.
pub type Span = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        let range = |campaign, first, last| Range { campaign, first, last };
        Scope { ranges: vec![range(1, 0, 4), range(2, 3, 3), range(5, 0, 9)], more: None }
    }

    #[test]
    fn a_window_ends_where_it_is_full_and_the_next_one_begins_there() {
        let mut scope = scope();
        let mut seen = Vec::new();
        loop {
            let (columns, next) = scope.window(4);
            for (at, campaign) in columns.campaigns.iter().enumerate() {
                seen.extend((columns.firsts[at]..=columns.lasts[at]).map(|number| (*campaign, number)));
            }
            let Some(next) = next else { break };
            scope.advance(next);
        }
        let all = self::scope()
            .ranges
            .into_iter()
            .flat_map(|range| (range.first..=range.last).map(move |n| (range.campaign, n)));
        assert_eq!(seen, all.collect::<Vec<_>>());
    }

    #[test]
    fn what_is_behind_is_left_out() {
        let mut scope = scope();
        scope.advance((2, 3));
        assert_eq!(scope.ranges, [Range { campaign: 5, first: 0, last: 9 }]);
        scope.advance((5, i64::MAX));
        assert!(scope.ranges.is_empty());
    }
}
