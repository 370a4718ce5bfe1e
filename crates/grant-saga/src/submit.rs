//! The signing commit: nonce, segments, deadline and signed bytes, in one transaction, before anything is sent.

use chrono::{DateTime, Utc};
use laurel_chain::{SignedTx, TxRequest};
use laurel_events::{Amount, AttemptId, BatchId, BlockchainTxSubmitted, CancelRef, LaneId, SegmentRef};
use laurel_ledger::{Context, LedgerError, Stop, Vault, amount_to_sql, append, planted};
use sqlx::PgConnection;

use crate::{
    alerts::end_alerts,
    lanes::Lease,
    plan::{Plan, Source},
    setbacks::leave_out,
};

/// A batch that is signed and not yet committed.
#[derive(Clone, Debug)]
pub(crate) struct SignedBatch {
    pub(crate) batch: BatchId,
    pub(crate) attempt: AttemptId,
    pub(crate) plan: Plan,
    /// The plan's only place is burned instead of settled.
    pub(crate) cancels: bool,
    pub(crate) deadline: u64,
    /// The latest block's time, in seconds since 1970.
    pub(crate) chain_time: u64,
    pub(crate) request: TxRequest,
    pub(crate) signed: SignedTx,
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Committed {
    /// It is in the database: it may be sent.
    Yes,
    /// Another lane took these grants first; nothing is written.
    Overtaken,
    /// Another replica has the lane; nothing is written.
    LeaseLost,
}

/// Writes a signed batch under the lane's fence. The caller commits, or rolls back unless the answer is yes.
pub(crate) async fn write_batch(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    vault: &Vault,
    lane: LaneId,
    lease: Lease,
    signed: &SignedBatch,
) -> Result<Committed, LedgerError> {
    if !take_places(conn, &signed.plan).await? {
        return Ok(Committed::Overtaken);
    }
    if !take_nonce(conn, vault, lane, lease, signed).await? {
        return Ok(Committed::LeaseLost);
    }
    let segments = if signed.cancels { Vec::new() } else { vec![segment_ref(signed)?] };
    let cancels = signed.plan.open().next().filter(|_| signed.cancels);
    let cancels = cancels.map(|place| CancelRef { campaign: signed.plan.segment.campaign, seq: place.seq });
    insert_batch(conn, now, lane, signed).await?;
    insert_content(conn, signed, &segments, cancels).await?;
    let submitted = BlockchainTxSubmitted {
        batch: signed.batch,
        attempt: signed.attempt,
        lane,
        chain_id: vault.identity.chain_id,
        vault: vault.identity.vault,
        nonce: signed.request.nonce,
        tx: signed.signed.hash,
        deadline: signed.deadline,
        segments,
        cancels,
    };
    let Plan { segment, .. } = &signed.plan;
    let seqs: Vec<u64> = (segment.first_seq..).take(segment.words.len()).collect();
    let mut events = end_alerts(conn, segment.campaign, &seqs).await?;
    events.extend(leave_out(conn, now, &signed.plan).await?);
    events.push(submitted.into());
    append(conn, &Context::at(now), &events).await?;
    Ok(Committed::Yes)
}

/// Moves the lane's nonce on, if the lane is still ours, nothing is stopped, and this is the database that it was. Whoever stops waits for the lane's row, which
/// is held from here to the commit.
async fn take_nonce(
    conn: &mut PgConnection,
    vault: &Vault,
    lane: LaneId,
    lease: Lease,
    signed: &SignedBatch,
) -> Result<bool, LedgerError> {
    let moved = sqlx::query!(
        r#"
        UPDATE lanes SET next_nonce = next_nonce + 1
        WHERE id = $1 AND fence = $2 AND next_nonce = $3 AND state = 'active'
          AND NOT EXISTS (SELECT FROM vaults v JOIN chains c ON c.id = v.chain_id
                          WHERE v.id = lanes.vault AND c.halted IS NOT NULL)
        "#,
        lane.0,
        lease.fence,
        signed.request.nonce.cast_signed(),
    )
    .execute(&mut *conn)
    .await?;
    if moved.rows_affected() != 1 {
        return Ok(false);
    }
    let stops = [
        Stop::All.about(),
        Stop::Chain(vault.identity.chain_id).about(),
        Stop::Campaign(signed.plan.segment.campaign).about(),
    ];
    let stopped = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (SELECT FROM stops WHERE about = ANY ($1)) OR in_quarantine() AS "stopped!"
        "#,
        &stops
    );
    Ok(planted!(QuarantineSkipped) || !stopped.fetch_one(conn).await?)
}

/// Passes over a plan of which nothing is sent. Says whether its places were still there.
pub(crate) async fn pass_over(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    plan: &Plan,
) -> Result<bool, LedgerError> {
    if !take_places(conn, plan).await? {
        return Ok(false);
    }
    let events = leave_out(conn, now, plan).await?;
    append(conn, &Context::at(now), &events).await?;
    Ok(true)
}

/// Takes the plan's places out of the queue, if they are still there.
async fn take_places(conn: &mut PgConnection, plan: &Plan) -> Result<bool, LedgerError> {
    let segment = &plan.segment;
    let (campaign, first_seq) = (segment.campaign.number(), segment.first_seq.cast_signed());
    let taken = segment.words.len() as i64;
    let done = match plan.source {
        Source::Queue => {
            sqlx::query!(
                r#"
                UPDATE queues SET batched_to = batched_to + $3
                WHERE campaign = $1 AND batched_to = $2 AND batched_to + $3 <= next_seq AND halted = '{}'
                "#,
                campaign,
                first_seq,
                taken,
            )
            .execute(conn)
            .await?
        }
        Source::Requeue { count } => {
            // Whoever halts the campaign waits for this batch, or is seen.
            let goes_on = sqlx::query_scalar!(
                "SELECT true FROM queues WHERE campaign = $1 AND halted = '{}' FOR SHARE",
                campaign,
            );
            if goes_on.fetch_optional(&mut *conn).await?.is_none() {
                return Ok(false);
            }
            let rest = i64::from(count) - taken;
            sqlx::query!(
                r#"
                WITH taken AS (
                    DELETE FROM requeues WHERE campaign = $1 AND first_seq = $2 AND count = $3
                    RETURNING campaign, first_seq, queued_at, setbacks
                ), left_over AS (
                    INSERT INTO requeues (campaign, first_seq, count, queued_at, setbacks)
                    SELECT campaign, first_seq + $4, $5, queued_at, setbacks FROM taken WHERE $5 > 0
                )
                SELECT FROM taken
                "#,
                campaign,
                first_seq,
                count.cast_signed(),
                taken,
                i32::try_from(rest).unwrap_or(0),
            )
            .execute(conn)
            .await?
        }
    };
    Ok(done.rows_affected() == 1)
}

fn segment_ref(signed: &SignedBatch) -> Result<SegmentRef, LedgerError> {
    let segment = &signed.plan.segment;
    Ok(SegmentRef {
        campaign: segment.campaign,
        first_seq: segment.first_seq,
        count: u32::try_from(segment.words.len()).unwrap_or(u32::MAX),
        total: segment.total()?,
        words_hash: segment.words_hash(),
        holes: signed.plan.holes(),
    })
}

async fn insert_content(
    conn: &mut PgConnection,
    signed: &SignedBatch,
    segments: &[SegmentRef],
    cancels: Option<CancelRef>,
) -> Result<(), LedgerError> {
    for segment in segments {
        let holes: Vec<i64> = segment.holes.iter().map(|seq| seq.cast_signed()).collect();
        sqlx::query!(
            r#"
            INSERT INTO segments (batch, campaign, first_seq, count, total, words_hash, holes)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            "#,
            signed.batch.uuid(),
            segment.campaign.number(),
            segment.first_seq.cast_signed(),
            segment.count.cast_signed(),
            amount_to_sql(segment.total),
            segment.words_hash.as_slice(),
            &holes,
        )
        .execute(&mut *conn)
        .await?;
    }
    if let Some(cancels) = cancels {
        sqlx::query!(
            "INSERT INTO cancels (batch, campaign, seq) VALUES ($1, $2, $3)",
            signed.batch.uuid(),
            cancels.campaign.number(),
            cancels.seq.cast_signed(),
        )
        .execute(conn)
        .await?;
    }
    Ok(())
}

async fn insert_batch(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    lane: LaneId,
    signed: &SignedBatch,
) -> Result<(), LedgerError> {
    let grants = if signed.cancels { 0 } else { signed.plan.open().count() };
    sqlx::query!(
        r#"
        INSERT INTO batches (id, lane, nonce, state, deadline, grants, created_at)
        VALUES ($1, $2, $3, 'submitted', $4, $5, $6)
        "#,
        signed.batch.uuid(),
        lane.0,
        signed.request.nonce.cast_signed(),
        signed.deadline.cast_signed(),
        i32::try_from(grants).unwrap_or(i32::MAX),
        now,
    )
    .execute(&mut *conn)
    .await?;
    let attempt = NewAttempt {
        id: signed.attempt,
        batch: signed.batch,
        number: 0,
        empty: false,
        request: &signed.request,
        signed: &signed.signed,
        chain_time: signed.chain_time,
    };
    insert_attempt(conn, now, &attempt).await
}

/// A signed transaction that is about to be stored.
#[derive(Debug)]
pub(crate) struct NewAttempt<'a> {
    pub(crate) id: AttemptId,
    pub(crate) batch: BatchId,
    pub(crate) number: u32,
    pub(crate) empty: bool,
    pub(crate) request: &'a TxRequest,
    pub(crate) signed: &'a SignedTx,
    pub(crate) chain_time: u64,
}

/// Stores a signed transaction.
pub(crate) async fn insert_attempt(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    attempt: &NewAttempt<'_>,
) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        INSERT INTO attempts
            (id, batch, number, empty, tx, raw, gas_limit, max_fee_per_gas, max_priority_fee_per_gas, signed_at,
             chain_time)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        "#,
        attempt.id.uuid(),
        attempt.batch.uuid(),
        attempt.number.cast_signed(),
        attempt.empty,
        attempt.signed.hash.as_slice(),
        attempt.signed.raw.as_ref(),
        attempt.request.gas_limit.cast_signed(),
        amount_to_sql(Amount::from(attempt.request.max_fee_per_gas)),
        amount_to_sql(Amount::from(attempt.request.max_priority_fee_per_gas)),
        now,
        attempt.chain_time.cast_signed(),
    )
    .execute(conn)
    .await?;
    Ok(())
}
