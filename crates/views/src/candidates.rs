//! Which grants may be on a page: found where the wanted state lives, not by deriving the state of every grant.
//!
//! ```text
//!   awaiting_wallet, held, failed, compensated ──► exceptions            exactly those
//!   submitted, mined, confirmed ─────────────────► segments under way    and a few that went on
//!   queued ──────────────────────────────────────► the end of queues, requeues
//!   requested ───────────────────────────────────► numbers that no run and no exception holds, a window at a time
//!   completed, any ──────────────────────────────► grants
//!   a player's ──────────────────────────────────► that player's grants
//! ```

use laurel_events::{CampaignId, OrgId, PlayerId};
use laurel_ledger::LedgerError;
use sqlx::PgConnection;

use crate::GrantFilter;

/// A grant's campaign and number.
pub(crate) type Key = (i64, i64);

/// How many grants at most are looked at in one statement where not all of them will be in the wanted state: some ten
/// milliseconds of deriving states.
const SUPERSET: i64 = 250;

/// How many numbers are compared with the runs in one statement: a fifth of a second at the most.
const WINDOW: i64 = 20_000;

/// Grants that may be on the page.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    /// In the order of their ids.
    pub(crate) keys: Vec<Key>,
    /// Behind which there may be more.
    pub(crate) next: Option<Key>,
}

impl Candidates {
    fn of(keys: Vec<Key>, limit: i64) -> Self {
        let full = i64::try_from(keys.len()).is_ok_and(|found| found >= limit);
        Self { next: keys.last().filter(|_| full).copied(), keys }
    }
}

/// What every statement needs.
#[derive(Clone, Copy)]
struct Scope {
    org: i32,
    campaign: Option<i64>,
    after: Key,
    limit: i64,
}

/// The next grants behind `after` that may pass the filter. Who passes all but the filter's state passes everything.
pub(crate) async fn candidates(
    conn: &mut PgConnection,
    org: OrgId,
    filter: &GrantFilter<'_>,
    after: Key,
    limit: i64,
) -> Result<Candidates, LedgerError> {
    let superset = limit.max(SUPERSET);
    let scope = Scope { org: org.0, campaign: filter.campaign.map(CampaignId::number), after, limit };
    let wide = Scope { limit: superset, ..scope };
    let exception =
        filter.state.filter(|state| matches!(*state, "awaiting_wallet" | "held" | "failed" | "compensated"));
    match (filter.player, filter.state, exception) {
        (Some(player), None, _) => of_player(conn, scope, player, None).await,
        (Some(player), Some(_), None) => of_player(conn, wide, player, None).await,
        (Some(player), Some(_), exception) => of_player(conn, scope, player, exception).await,
        (None, None, _) => all(conn, scope).await,
        (None, Some(_), Some(exception)) => exceptional(conn, scope, exception).await,
        (None, Some(state @ ("submitted" | "mined" | "confirmed")), None) => {
            under_way(conn, wide, state).await
        }
        (None, Some("queued"), None) => queued(conn, wide).await,
        (None, Some("requested"), None) => requested(conn, scope).await,
        (None, Some(_), None) => all(conn, wide).await,
    }
}

async fn all(conn: &mut PgConnection, scope: Scope) -> Result<Candidates, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT c.id AS campaign, g.number
        FROM campaigns c
        CROSS JOIN LATERAL (
            SELECT g.number FROM grants g
            WHERE g.campaign = c.id AND g.number > CASE WHEN c.id = $3 THEN $4::bigint ELSE -1 END
            ORDER BY g.number
            LIMIT $5
        ) g
        WHERE c.org = $1 AND ($2::bigint IS NULL OR c.id = $2) AND c.id >= $3
        ORDER BY c.id, g.number
        LIMIT $5
        "#,
        scope.org,
        scope.campaign,
        scope.after.0,
        scope.after.1,
        scope.limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(Candidates::of(rows.into_iter().map(|row| (row.campaign, row.number)).collect(), scope.limit))
}

async fn of_player(
    conn: &mut PgConnection,
    scope: Scope,
    player: PlayerId,
    exception: Option<&str>,
) -> Result<Candidates, LedgerError> {
    // The player's grants first: to walk through all campaigns until enough of them are this player's would be far more.
    let rows = sqlx::query!(
        r#"
        WITH own AS MATERIALIZED (SELECT g.campaign, g.number FROM grants g WHERE g.player = $6)
        SELECT o.campaign, o.number
        FROM own o
        JOIN campaigns c ON c.id = o.campaign
        LEFT JOIN exceptions e ON e.campaign = o.campaign AND e.number = o.number
        WHERE c.org = $1 AND ($2::bigint IS NULL OR c.id = $2) AND (o.campaign, o.number) > ($3, $4)
          AND ($7::text IS NULL OR e.state = $7)
        ORDER BY o.campaign, o.number
        LIMIT $5
        "#,
        scope.org,
        scope.campaign,
        scope.after.0,
        scope.after.1,
        scope.limit,
        player.uuid(),
        exception,
    )
    .fetch_all(conn)
    .await?;
    Ok(Candidates::of(rows.into_iter().map(|row| (row.campaign, row.number)).collect(), scope.limit))
}

async fn exceptional(conn: &mut PgConnection, scope: Scope, state: &str) -> Result<Candidates, LedgerError> {
    // That the state is not `queued` is said for the partial index.
    let rows = sqlx::query!(
        r#"
        SELECT c.id AS campaign, e.number
        FROM campaigns c
        CROSS JOIN LATERAL (
            SELECT e.number FROM exceptions e
            WHERE e.campaign = c.id AND e.state = $6 AND e.state <> 'queued'
              AND e.number > CASE WHEN c.id = $3 THEN $4::bigint ELSE -1 END
            ORDER BY e.number
            LIMIT $5
        ) e
        WHERE c.org = $1 AND ($2::bigint IS NULL OR c.id = $2) AND c.id >= $3
        ORDER BY c.id, e.number
        LIMIT $5
        "#,
        scope.org,
        scope.campaign,
        scope.after.0,
        scope.after.1,
        scope.limit,
        state,
    )
    .fetch_all(conn)
    .await?;
    Ok(Candidates::of(rows.into_iter().map(|row| (row.campaign, row.number)).collect(), scope.limit))
}

async fn under_way(conn: &mut PgConnection, scope: Scope, state: &str) -> Result<Candidates, LedgerError> {
    let ranges = sqlx::query!(
        r#"
        SELECT s.campaign, s.first_seq, s.first_seq + s.count AS "until!"
        FROM campaigns c
        JOIN segments s ON s.campaign = c.id AND s.posted_at IS NULL
        JOIN batches b ON b.id = s.batch
        WHERE c.org = $1 AND ($2::bigint IS NULL OR c.id = $2) AND c.id >= $3 AND b.state = $4
        "#,
        scope.org,
        scope.campaign,
        scope.after.0,
        state,
    )
    .fetch_all(&mut *conn)
    .await?;
    let ranges = ranges.into_iter().map(|range| (range.campaign, range.first_seq, range.until)).collect();
    in_places(conn, scope, ranges).await
}

async fn queued(conn: &mut PgConnection, scope: Scope) -> Result<Candidates, LedgerError> {
    let ranges = sqlx::query!(
        r#"
        SELECT w.campaign AS "campaign!", w.first_seq AS "first_seq!", w.until AS "until!"
        FROM campaigns c
        JOIN (
            SELECT q.campaign, q.batched_to AS first_seq, q.next_seq AS until FROM queues q
            WHERE q.batched_to < q.next_seq
            UNION ALL
            SELECT r.campaign, r.first_seq, r.first_seq + r.count FROM requeues r
        ) w ON w.campaign = c.id
        WHERE c.org = $1 AND ($2::bigint IS NULL OR c.id = $2) AND c.id >= $3
        "#,
        scope.org,
        scope.campaign,
        scope.after.0,
    )
    .fetch_all(&mut *conn)
    .await?;
    let ranges = ranges.into_iter().map(|range| (range.campaign, range.first_seq, range.until)).collect();
    in_places(conn, scope, ranges).await
}

/// The grants that have the places `first_seq..until` of campaigns.
async fn in_places(
    conn: &mut PgConnection,
    scope: Scope,
    ranges: Vec<(i64, i64, i64)>,
) -> Result<Candidates, LedgerError> {
    let campaigns: Vec<i64> = ranges.iter().map(|range| range.0).collect();
    let firsts: Vec<i64> = ranges.iter().map(|range| range.1).collect();
    let untils: Vec<i64> = ranges.iter().map(|range| range.2).collect();
    let rows = sqlx::query!(
        r#"
        SELECT DISTINCT s.campaign AS "campaign!", n.number AS "number!"
        FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS s (campaign, first_seq, until)
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
        WHERE (s.campaign, n.number) > ($4, $5)
        ORDER BY 1, 2
        LIMIT $6
        "#,
        &campaigns,
        &firsts,
        &untils,
        scope.after.0,
        scope.after.1,
        scope.limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(Candidates::of(rows.into_iter().map(|row| (row.campaign, row.number)).collect(), scope.limit))
}

async fn requested(conn: &mut PgConnection, scope: Scope) -> Result<Candidates, LedgerError> {
    let campaigns = with_requests(conn, scope).await?;
    let rows = sqlx::query!(
        r#"
        WITH seen AS MATERIALIZED (
            SELECT c.id AS campaign, g.number
            FROM unnest($1::bigint[]) AS c (id)
            CROSS JOIN LATERAL (
                SELECT g.number FROM grants g
                WHERE g.campaign = c.id AND g.number > CASE WHEN c.id = $2 THEN $3::bigint ELSE -1 END
                ORDER BY g.number
                LIMIT $4
            ) g
            ORDER BY c.id, g.number
            LIMIT $4
        ), ends AS (
            SELECT campaign, min(number) AS low, max(number) AS high FROM seen GROUP BY campaign
        ), taken AS MATERIALIZED (
            SELECT r.campaign, n.number
            FROM ends w
            JOIN runs r ON r.campaign = w.campaign AND r.first_number > w.low - 10000 AND r.first_number <= w.high
            CROSS JOIN LATERAL unnest(r.numbers) AS n (number)
            UNION ALL
            SELECT e.campaign, e.number
            FROM ends w
            JOIN exceptions e ON e.campaign = w.campaign AND e.number BETWEEN w.low AND w.high
        )
        SELECT s.campaign AS "campaign!", s.number AS "number!", t.number IS NULL AS "requested!"
        FROM (SELECT campaign, number, row_number() OVER (ORDER BY campaign DESC, number DESC) = 1 AS last FROM seen) s
        LEFT JOIN taken t ON t.campaign = s.campaign AND t.number = s.number
        WHERE t.number IS NULL OR s.last
        ORDER BY s.campaign, s.number
        "#,
        &campaigns,
        scope.after.0,
        scope.after.1,
        WINDOW,
    )
    .fetch_all(conn)
    .await?;
    // The window's last number tells where the next one begins, whether or not it is one of them.
    let end = rows.last().map(|row| (row.campaign, row.number));
    let keys = rows.into_iter().filter(|row| row.requested).map(|row| (row.campaign, row.number));
    let keys: Vec<Key> = keys.take(usize::try_from(scope.limit).unwrap_or(usize::MAX)).collect();
    let full = Candidates::of(keys, scope.limit);
    Ok(Candidates { next: full.next.or(end), ..full })
}

/// The campaigns that have more grants than places given and grants without one.
async fn with_requests(conn: &mut PgConnection, scope: Scope) -> Result<Vec<i64>, LedgerError> {
    let campaigns = sqlx::query_scalar!(
        r#"
        SELECT c.id
        FROM campaigns c
        JOIN accounts a ON a.campaign = c.id
        LEFT JOIN queues q ON q.campaign = c.id
        WHERE c.org = $1 AND ($2::bigint IS NULL OR c.id = $2) AND c.id >= $3
          AND a.grants > coalesce(q.next_seq, 0) + (
              SELECT count(*) FROM exceptions e
              WHERE e.campaign = c.id AND e.state <> 'queued' AND e.seq IS NULL)
        ORDER BY c.id
        "#,
        scope.org,
        scope.campaign,
        scope.after.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(campaigns)
}
