//! Places that go into a batch again, as they are.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use laurel_events::{BatchId, CampaignId, SegmentRef};
use laurel_ledger::LedgerError;
use sqlx::PgConnection;

/// How long places rest whose settlement failed a second time; doubled with every time after that. The first time they go
/// again at once: a settlement that came too late fails once.
const FAILED_REST_S: f64 = 15.0;

/// How long they rest at most.
const FAILED_REST_MAX_S: f64 = 600.0;

/// A segment holds at most this many places, so that the segments of a place begin within this many before it.
pub(crate) const SEGMENT_MAX: i64 = 1_000;

/// How many places a statement moves: a whole queue may be a million, of which each takes some microseconds, and statements have limits.
const REQUEUED_MAX: usize = 10_000;

/// Has nobody move places of a campaign until the transaction ends: between looking where places are and moving them nobody
/// puts them elsewhere. Whoever plans them waits for this, or has committed.
pub(crate) async fn lock_places(conn: &mut PgConnection, campaign: CampaignId) -> Result<(), LedgerError> {
    sqlx::query!("SELECT FROM queues WHERE campaign = $1 FOR NO KEY UPDATE", campaign.number())
        .execute(conn)
        .await?;
    Ok(())
}

/// Has places go again from `at` on: those that are nowhere else, because only they need it. Those that follow each other stay
/// together. The caller has locked the campaign's places.
pub(crate) async fn requeue(
    conn: &mut PgConnection,
    campaign: CampaignId,
    seqs: impl IntoIterator<Item = u64>,
    at: DateTime<Utc>,
    setbacks: i32,
) -> Result<(), LedgerError> {
    let seqs: Vec<u64> = seqs.into_iter().collect();
    for seqs in seqs.chunks(REQUEUED_MAX) {
        let runs = runs_of(nowhere_among(conn, campaign, seqs).await?);
        let first: Vec<i64> = runs.keys().map(|seq| seq.cast_signed()).collect();
        let counts: Vec<i32> = runs.values().copied().collect();
        sqlx::query!(
            r#"
            INSERT INTO requeues (campaign, first_seq, count, queued_at, setbacks)
            SELECT $1, r.first_seq, r.count, $4, $5 FROM unnest($2::bigint[], $3::integer[]) AS r (first_seq, count)
            "#,
            campaign.number(),
            &first,
            &counts,
            at,
            setbacks,
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Those of these places, in ascending order, that would be lost if nobody had them go again: no batch that may yet pay or burn
/// them has them, none has paid them, their grants have not failed, and they wait nowhere.
pub(crate) async fn nowhere_among(
    conn: &mut PgConnection,
    campaign: CampaignId,
    seqs: &[u64],
) -> Result<Vec<u64>, LedgerError> {
    let seqs: Vec<i64> = seqs.iter().map(|seq| seq.cast_signed()).collect();
    let nowhere = sqlx::query_scalar!(
        r#"
        SELECT p.seq AS "seq!" FROM unnest($2::bigint[]) AS p (seq)
        WHERE NOT EXISTS (SELECT FROM queues WHERE campaign = $1 AND batched_to <= p.seq AND next_seq > p.seq)
          AND NOT coalesce((SELECT r.first_seq + r.count > p.seq FROM requeues r
                            WHERE r.campaign = $1 AND r.first_seq <= p.seq
                            ORDER BY r.first_seq DESC LIMIT 1), false)
          AND NOT EXISTS (SELECT FROM segments s JOIN batches b ON b.id = s.batch
                          WHERE s.campaign = $1 AND s.first_seq <= p.seq AND s.first_seq > p.seq - $3
                            AND s.first_seq + s.count > p.seq AND p.seq <> ALL (s.holes)
                            AND (b.state IN ('submitted', 'mined')
                                 OR (b.state = 'confirmed' AND p.seq <> ALL (s.unpaid))))
          AND NOT EXISTS (SELECT FROM cancels c JOIN batches b ON b.id = c.batch
                          WHERE c.campaign = $1 AND c.seq = p.seq AND b.state IN ('submitted', 'mined'))
          AND NOT EXISTS (SELECT FROM exceptions e
                          WHERE e.campaign = $1 AND e.seq = p.seq AND e.state IN ('failed', 'compensated'))
        ORDER BY p.seq
        "#,
        campaign.number(),
        &seqs,
        SEGMENT_MAX,
    );
    Ok(nowhere.fetch_all(conn).await?.into_iter().map(i64::cast_unsigned).collect())
}

/// Runs of ascending numbers that follow each other: the first of each, and how many they are.
fn runs_of(seqs: impl IntoIterator<Item = u64>) -> BTreeMap<u64, i32> {
    let mut runs: BTreeMap<u64, i32> = BTreeMap::new();
    for seq in seqs {
        match runs.last_entry() {
            Some(mut run) if run.key() + u64::from(run.get().unsigned_abs()) == seq => *run.get_mut() += 1,
            _ => {
                runs.insert(seq, 1);
            }
        }
    }
    runs
}

/// Puts a batch that ended without paying back into the queue, place by place as it was.
pub(crate) async fn requeue_batch(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    batch: BatchId,
    segments: &[SegmentRef],
) -> Result<(), LedgerError> {
    for segment in segments {
        let rest = sqlx::query_scalar!(
            r#"
            SELECT $1::timestamptz + make_interval(secs => CASE
                       WHEN count(*) = 0 THEN 0 ELSE least($2 * power(2, least(count(*) - 1, 16)), $3) END) AS "at!"
            FROM segments s JOIN batches b ON b.id = s.batch
            WHERE s.campaign = $4 AND s.first_seq <= $5 AND s.first_seq > $5 - $7 AND s.first_seq + s.count > $5
              AND b.state = 'reverted' AND b.id <> $6
            "#,
            now,
            FAILED_REST_S,
            FAILED_REST_MAX_S,
            segment.campaign.number(),
            segment.first_seq.cast_signed(),
            batch.uuid(),
            SEGMENT_MAX,
        );
        let at = rest.fetch_one(&mut *conn).await?;
        lock_places(conn, segment.campaign).await?;
        let seqs = segment.first_seq..segment.first_seq + u64::from(segment.count);
        requeue(conn, segment.campaign, seqs.filter(|seq| segment.settles(*seq)), at, 0).await?;
    }
    Ok(())
}

/// A place that a batch was to burn goes again, unless its grant has failed: what the transaction burned is told by itself,
/// and takes it out again.
pub(crate) async fn requeue_cancel(
    conn: &mut PgConnection,
    at: DateTime<Utc>,
    batch: BatchId,
) -> Result<Option<CampaignId>, LedgerError> {
    let cancel = sqlx::query!("SELECT campaign, seq FROM cancels WHERE batch = $1", batch.uuid());
    let Some(cancel) = cancel.fetch_optional(&mut *conn).await? else { return Ok(None) };
    let campaign = CampaignId::try_from(cancel.campaign).map_err(|_| LedgerError::Inconsistent {
        table: "cancels",
        column: "campaign",
        id: batch.to_string(),
    })?;
    lock_places(conn, campaign).await?;
    requeue(conn, campaign, [cancel.seq.cast_unsigned()], at, 0).await?;
    Ok(Some(campaign))
}

/// Takes those of a segment's places that go again out of the runs that hold them. The caller has locked the campaign's places.
pub(crate) async fn take_out_segment(
    conn: &mut PgConnection,
    segment: &SegmentRef,
) -> Result<(), LedgerError> {
    let runs = sqlx::query!(
        r#"
        SELECT greatest(first_seq, $2) AS "first!", least(first_seq + count, $3) AS "end!" FROM requeues
        WHERE campaign = $1 AND first_seq < $3 AND first_seq + count > $2
        ORDER BY first_seq
        "#,
        segment.campaign.number(),
        segment.first_seq.cast_signed(),
        segment.first_seq.cast_signed() + i64::from(segment.count),
    );
    let runs = runs.fetch_all(&mut *conn).await?;
    let seqs = runs.into_iter().flat_map(|run| run.first.cast_unsigned()..run.end.cast_unsigned());
    let settled: Vec<u64> = seqs.filter(|seq| segment.settles(*seq)).collect();
    take_out(conn, segment.campaign, &settled).await
}

/// Takes places out of the requeued runs that hold them; the others of these runs stay as they are.
pub(crate) async fn take_out(
    conn: &mut PgConnection,
    campaign: CampaignId,
    seqs: &[u64],
) -> Result<(), LedgerError> {
    for seq in seqs {
        let seq = seq.cast_signed();
        sqlx::query!(
            r#"
            WITH taken AS (
                DELETE FROM requeues WHERE campaign = $1 AND first_seq + count > $2 AND first_seq = (
                    SELECT first_seq FROM requeues WHERE campaign = $1 AND first_seq <= $2
                    ORDER BY first_seq DESC LIMIT 1)
                RETURNING first_seq, count, queued_at, setbacks
            ), parts AS (
                SELECT first_seq, ($2 - first_seq)::integer AS count, queued_at, setbacks FROM taken
                UNION ALL
                SELECT $2 + 1, (first_seq + count - $2 - 1)::integer, queued_at, setbacks FROM taken
            )
            INSERT INTO requeues (campaign, first_seq, count, queued_at, setbacks)
            SELECT $1, first_seq, count, queued_at, setbacks FROM parts WHERE count > 0
            "#,
            campaign.number(),
            seq,
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_stay_together() {
        let runs: Vec<(u64, i32)> = runs_of([3, 4, 5, 8, 9, 11]).into_iter().collect();
        assert_eq!(runs, [(3, 3), (8, 2), (11, 1)]);
        assert_eq!(runs_of([]).len(), 0);
    }
}
