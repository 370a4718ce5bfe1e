//! Places that go into a batch again, as they are.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use laurel_events::{BatchId, CampaignId, SegmentRef};
use laurel_ledger::{LedgerError, find_places};
use sqlx::PgConnection;

use crate::compensation::failed_among;

/// How long places rest whose settlement failed a second time; doubled with every time after that. The first time they go
/// again at once: a settlement that came too late fails once.
const FAILED_REST_S: f64 = 15.0;

/// How long they rest at most.
const FAILED_REST_MAX_S: f64 = 600.0;

/// Has places go again from `at` on, unless they do so already. Those that follow each other stay together.
pub(crate) async fn requeue(
    conn: &mut PgConnection,
    campaign: CampaignId,
    seqs: impl IntoIterator<Item = u64>,
    at: DateTime<Utc>,
    setbacks: i32,
) -> Result<(), LedgerError> {
    let seqs: Vec<u64> = seqs.into_iter().collect();
    let (Some(first), Some(last)) = (seqs.iter().min(), seqs.iter().max()) else { return Ok(()) };
    let waiting = waiting_among(conn, campaign, *first, *last + 1).await?;
    let runs = runs_of(seqs.into_iter().filter(|seq| !waiting.contains(seq)));
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
    .execute(conn)
    .await?;
    Ok(())
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
            WHERE s.campaign = $4 AND s.first_seq <= $5 AND s.first_seq > $5 - 1000 AND s.first_seq + s.count > $5
              AND b.state = 'reverted' AND b.id <> $6
            "#,
            now,
            FAILED_REST_S,
            FAILED_REST_MAX_S,
            segment.campaign.number(),
            segment.first_seq.cast_signed(),
            batch.uuid(),
        );
        let at = rest.fetch_one(&mut *conn).await?;
        let seqs = segment.first_seq..segment.first_seq + u64::from(segment.count);
        let adopted = adopted_among(conn, segment).await?;
        let elsewhere = elsewhere(conn, batch, segment).await?;
        let open =
            seqs.filter(|seq| segment.settles(*seq) && !adopted.contains(seq) && !elsewhere.contains(seq));
        requeue(conn, segment.campaign, open, at, 0).await?;
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
    let places = find_places(conn, campaign, cancel.seq.cast_unsigned(), 1).await?;
    let failed = failed_among(conn, campaign, &places).await?;
    let seqs = places.iter().map(|place| place.seq).filter(|seq| !failed.contains(seq));
    requeue(conn, campaign, seqs, at, 0).await?;
    Ok(Some(campaign))
}

/// The places of a batch's segment that are in another batch which may yet pay them or has, or that go again already. There are
/// such only where the chain took back what was final.
pub(crate) async fn elsewhere(
    conn: &mut PgConnection,
    batch: BatchId,
    segment: &SegmentRef,
) -> Result<HashSet<u64>, LedgerError> {
    let seqs = sqlx::query_scalar!(
        r#"
        SELECT p.seq AS "seq!"
        FROM generate_series($2::bigint, $3::bigint - 1) AS p (seq)
        WHERE EXISTS (SELECT FROM segments s JOIN batches b ON b.id = s.batch
                      WHERE s.campaign = $1 AND s.first_seq < $3 AND s.first_seq > $2 - 1000
                        AND s.first_seq <= p.seq AND s.first_seq + s.count > p.seq AND p.seq <> ALL (s.holes)
                        AND s.batch <> $4
                        AND (b.state IN ('submitted', 'mined')
                             OR (s.posted_at IS NOT NULL
                                 AND NOT EXISTS (SELECT FROM exceptions e
                                                 WHERE e.campaign = $1 AND e.seq = p.seq AND e.state <> 'queued'))))
           OR EXISTS (SELECT FROM requeues r
                      WHERE r.campaign = $1 AND r.first_seq <= p.seq AND r.first_seq + r.count > p.seq)
        "#,
        segment.campaign.number(),
        segment.first_seq.cast_signed(),
        segment.first_seq.cast_signed() + i64::from(segment.count),
        batch.uuid(),
    );
    Ok(seqs.fetch_all(conn).await?.into_iter().map(i64::cast_unsigned).collect())
}

/// Those of a segment's places that go again.
pub(crate) async fn requeued_among(
    conn: &mut PgConnection,
    segment: &SegmentRef,
) -> Result<Vec<u64>, LedgerError> {
    let end = segment.first_seq + u64::from(segment.count);
    waiting_among(conn, segment.campaign, segment.first_seq, end).await
}

/// The places from `first` up to `end` that go again.
async fn waiting_among(
    conn: &mut PgConnection,
    campaign: CampaignId,
    first: u64,
    end: u64,
) -> Result<Vec<u64>, LedgerError> {
    let runs = sqlx::query!(
        r#"
        SELECT greatest(first_seq, $2) AS "first!", least(first_seq + count, $3) AS "end!" FROM requeues
        WHERE campaign = $1 AND first_seq < $3 AND first_seq + count > $2
        ORDER BY first_seq
        "#,
        campaign.number(),
        first.cast_signed(),
        end.cast_signed(),
    );
    let runs = runs.fetch_all(conn).await?;
    Ok(runs.into_iter().flat_map(|run| run.first.cast_unsigned()..run.end.cast_unsigned()).collect())
}

/// The places of a segment that were found to be paid by a settlement that this ledger had not signed.
async fn adopted_among(conn: &mut PgConnection, segment: &SegmentRef) -> Result<HashSet<u64>, LedgerError> {
    let adopted = sqlx::query!(
        r#"
        SELECT s.first_seq, s.count FROM adoptions a JOIN segments s USING (batch, campaign, first_seq)
        WHERE a.campaign = $1 AND s.first_seq < $3 AND s.first_seq + s.count > $2
        "#,
        segment.campaign.number(),
        segment.first_seq.cast_signed(),
        segment.first_seq.cast_signed() + i64::from(segment.count),
    )
    .fetch_all(conn)
    .await?;
    let places = |first: i64, count: i32| {
        let first = first.cast_unsigned();
        first..first + u64::from(count.unsigned_abs())
    };
    Ok(adopted.into_iter().flat_map(|row| places(row.first_seq, row.count)).collect())
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
                DELETE FROM requeues WHERE campaign = $1 AND first_seq <= $2 AND first_seq + count > $2
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
