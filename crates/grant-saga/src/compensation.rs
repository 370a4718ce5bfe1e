//! Grants that will never be paid, by proof of the chain: their places were burned, or their campaign was released.

use std::collections::HashSet;

use alloy::primitives::{Address, B256};
use chrono::{DateTime, Utc};
use laurel_bus::StageError;
use laurel_chain::PaidMask;
use laurel_events::{
    BlockchainTxConfirmed, CampaignId, CampaignReleased, EventId, GrantId, GrantsCancelled, NewEvent,
    Sighting, TokenGrantFailed, VoidProof,
};
use laurel_ledger::{
    ChainPlace, LedgerError, amount_from_sql, find_given_places, find_places, in_quarantine,
};
use sqlx::PgConnection;

use crate::{
    AHEAD_MAX,
    alerts::end_alerts,
    requeues::{SEGMENT_MAX, take_out},
    skipping::{Queue, lock_queue, move_on},
};

/// Fails the grants whose places a final block burned.
pub(crate) async fn cancelled(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    cause: EventId,
    cancelled: &GrantsCancelled,
) -> Result<Vec<NewEvent>, StageError> {
    let &GrantsCancelled { campaign, chain_id, vault, word, mask, .. } = cancelled;
    if !is_of_vault(conn, campaign, (chain_id, vault)).await? {
        tracing::warn!(%campaign, word, %vault, "places were burned that are none of ours");
        return Ok(Vec::new());
    }
    let queue = lock_queue(conn, campaign).await?;
    if word > (queue.next_seq.max(queue.burned_to) + AHEAD_MAX) >> 8 {
        tracing::error!(%campaign, word, tx = %cancelled.tx, "places were burned that nobody will be given for long");
        return Ok(Vec::new());
    }
    let mask = PaidMask::new(word << 8, vec![mask]);
    if let Some(last) = mask.seqs().last().filter(|seq| *seq >= queue.next_seq) {
        skip(conn, now, campaign, &queue, last + 1).await?;
    }
    let seqs: Vec<u64> = mask.seqs().filter(|seq| *seq < queue.next_seq).collect();
    if let Some(paid) = paid_among(conn, cancelled.campaign, &seqs).await? {
        return Err(StageError::poison(format!(
            "seq {paid} of campaign {} was burned by {} and paid before",
            cancelled.campaign, cancelled.tx
        )));
    }
    take_out(conn, campaign, &seqs).await?;
    let mut places = Vec::new();
    for seq in seqs {
        places.extend(find_given_places(conn, campaign, seq, 1).await?);
    }
    let proof = |seq| VoidProof::Cancelled { seq, tx: cancelled.tx };
    Ok(fail(conn, now, Some(cause), (campaign, "refused"), &places, proof).await?)
}

/// Has nobody be given places that a settlement has paid which is none of ours.
pub(crate) async fn pass_over(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    confirmed: &BlockchainTxConfirmed,
) -> Result<(), StageError> {
    let Sighting { chain_id, vault, tx, .. } = confirmed.sighting;
    for segment in &confirmed.segments {
        let campaign = segment.campaign;
        let Some(last) = PaidMask::new(segment.first_seq, segment.paid.clone()).seqs().last() else {
            continue;
        };
        if !is_of_vault(conn, campaign, (chain_id, vault)).await? {
            continue;
        }
        let queue = lock_queue(conn, campaign).await?;
        if last > queue.next_seq.max(queue.burned_to) + AHEAD_MAX {
            tracing::error!(%campaign, seq = last, %tx, "a place was paid that nobody will be given for long");
        } else if last >= queue.next_seq {
            skip(conn, now, campaign, &queue, last + 1).await?;
        }
    }
    Ok(())
}

/// Notes that the vault pays nothing of a campaign any more, and fails what is under way in no batch.
pub(crate) async fn released(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    cause: EventId,
    released: &CampaignReleased,
) -> Result<Vec<NewEvent>, StageError> {
    let &CampaignReleased { campaign, chain_id, vault, .. } = released;
    if !is_of_vault(conn, campaign, (chain_id, vault)).await? {
        tracing::warn!(%campaign, %vault, "another vault has released a campaign of this number");
        return Ok(Vec::new());
    }
    // Whoever ends the last batch of it has either committed by now, or sees that it was released.
    sqlx::query!("SELECT true AS locked FROM queues WHERE campaign = $1 FOR UPDATE", campaign.number())
        .fetch_optional(&mut *conn)
        .await?;
    sqlx::query!(
        r#"
        INSERT INTO queues (campaign, vault, released_tx) SELECT id, vault, $2 FROM campaigns WHERE id = $1
        ON CONFLICT (campaign) DO UPDATE SET released_tx = EXCLUDED.released_tx
        "#,
        released.campaign.number(),
        released.tx.as_slice(),
    )
    .execute(&mut *conn)
    .await?;
    fail_released(conn, now, Some(cause), &[released.campaign]).await
}

/// How many places of a released campaign fail in one transaction, or up to twice as many: there may be a million. The next ones
/// follow when the books have released the holds of these.
const RELEASED_MAX: i64 = 1_000;

/// Why grants of a released campaign fail.
const RELEASED: &str = "campaign_released";

/// Fails grants of released campaigns, as many as [`RELEASED_MAX`] with a place and without, once none of their batches can pay any more:
/// whatever is in no batch then was never paid. In quarantine nothing fails: the chain may have paid it before this database knew of a batch.
pub(crate) async fn fail_released(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    cause: Option<EventId>,
    campaigns: &[CampaignId],
) -> Result<Vec<NewEvent>, StageError> {
    if campaigns.is_empty() {
        return Ok(Vec::new());
    }
    let campaigns: Vec<i64> = campaigns.iter().map(|campaign| campaign.number()).collect();
    // Whoever releases one of them waits for this, or has committed.
    let released = sqlx::query_scalar!(
        r#"
        SELECT released_tx IS NOT NULL AS "released!" FROM queues
        WHERE campaign = ANY ($1)
        ORDER BY campaign
        FOR KEY SHARE
        "#,
        &campaigns,
    );
    if !released.fetch_all(&mut *conn).await?.contains(&true) {
        return Ok(Vec::new());
    }
    // Of two batches that end at once each would see the other one open: the second waits, and then sees that the first has ended.
    sqlx::query!(
        r#"
        SELECT FROM queues WHERE campaign = ANY ($1) AND released_tx IS NOT NULL ORDER BY campaign FOR NO KEY UPDATE
        "#,
        &campaigns,
    )
    .execute(&mut *conn)
    .await?;
    // Only where something is released. Who ends a quarantine locks in the other order; PostgreSQL ends one of both, and it is
    // tried again.
    if in_quarantine(conn).await? {
        return Ok(Vec::new());
    }
    let over = sqlx::query!(
        r#"
        SELECT campaign, released_tx AS "released_tx!" FROM queues q
        WHERE campaign = ANY ($1) AND released_tx IS NOT NULL
          AND NOT EXISTS (SELECT FROM segments s JOIN batches b ON b.id = s.batch
                          WHERE s.campaign = q.campaign AND s.posted_at IS NULL AND b.state <> 'reverted')
          AND NOT EXISTS (SELECT FROM cancels c JOIN batches b ON b.id = c.batch
                          WHERE c.campaign = q.campaign AND b.state IN ('submitted', 'mined'))
        ORDER BY campaign
        "#,
        &campaigns,
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut failed = Vec::new();
    for queue in over {
        let wrong =
            |column| LedgerError::Inconsistent { table: "queues", column, id: queue.campaign.to_string() };
        let campaign = CampaignId::try_from(queue.campaign).map_err(|_| wrong("campaign"))?;
        let tx = B256::try_from(queue.released_tx.as_slice()).map_err(|_| wrong("released_tx"))?;
        failed.extend(fail_waiting(conn, now, cause, campaign).await?);
        let proof = |seq| VoidProof::Released { seq, tx };
        // Places may have failed before; only one that does now has the next ones follow.
        loop {
            let places = take_unsent(conn, campaign).await?;
            let seqs: Vec<u64> = places.iter().map(|place| place.seq).collect();
            if let Some(paid) = paid_among(conn, campaign, &seqs).await? {
                return Err(StageError::poison(format!(
                    "seq {paid} of campaign {campaign} was paid, and is sent again"
                )));
            }
            let failed_now = fail(conn, now, cause, (campaign, RELEASED), &places, proof).await?;
            let goes_on = failed_now.is_empty() && !places.is_empty();
            failed.extend(failed_now);
            if !goes_on {
                break;
            }
        }
    }
    Ok(failed)
}

/// Fails the next grants of a released campaign, whose queue the caller has locked, that have no place yet: a wallet would come too late.
async fn fail_waiting(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    cause: Option<EventId>,
    campaign: CampaignId,
) -> Result<Vec<NewEvent>, LedgerError> {
    let failed = sqlx::query!(
        r#"
        UPDATE exceptions SET state = 'failed', reason = $4, wallet_until = NULL, updated_at = $3
        WHERE campaign = $1 AND number IN (
            SELECT number FROM exceptions
            WHERE campaign = $1 AND seq IS NULL AND state IN ('awaiting_wallet', 'held')
            ORDER BY number
            LIMIT $2
            FOR NO KEY UPDATE
        )
        RETURNING number, player, amount
        "#,
        campaign.number(),
        RELEASED_MAX,
        now,
        RELEASED,
    )
    .fetch_all(conn)
    .await?;
    let failed = failed.into_iter().map(|row| {
        let grant = GrantId { campaign, number: row.number.cast_unsigned() };
        let failed = TokenGrantFailed {
            grant,
            player: row.player.into(),
            amount: amount_from_sql(&row.amount, "exceptions", "amount", grant)?,
            reason: RELEASED.to_owned(),
            proof: VoidProof::NeverQueued,
        };
        Ok(NewEvent { event: failed.into(), occurred_at: None, cause })
    });
    failed.collect()
}

/// Takes the next places of a campaign, whose queue the caller has locked, that wait to be sent, or to be sent again.
async fn take_unsent(conn: &mut PgConnection, campaign: CampaignId) -> Result<Vec<ChainPlace>, LedgerError> {
    let requeued = sqlx::query!(
        r#"
        DELETE FROM requeues WHERE campaign = $1 AND first_seq IN (
            SELECT first_seq FROM (
                SELECT first_seq, sum(count) OVER (ORDER BY first_seq) - count AS before FROM requeues WHERE campaign = $1
            ) r
            WHERE before < $2
        )
        RETURNING first_seq, count
        "#,
        campaign.number(),
        RELEASED_MAX,
    );
    let mut ranges: Vec<(i64, i32)> =
        requeued.fetch_all(&mut *conn).await?.iter().map(|row| (row.first_seq, row.count)).collect();
    ranges.sort_unstable();
    let taken: i64 = ranges.iter().map(|(_, count)| i64::from(*count)).sum();
    if taken < RELEASED_MAX {
        let waiting = sqlx::query!(
            r#"
            UPDATE queues q SET batched_to = q.batched_to + w.count
            FROM (SELECT batched_to, least(next_seq - batched_to, $2) AS count FROM queues WHERE campaign = $1) w
            WHERE q.campaign = $1 AND w.count > 0
            RETURNING w.batched_to AS "first_seq!", w.count::integer AS "count!"
            "#,
            campaign.number(),
            RELEASED_MAX - taken,
        );
        ranges.extend(waiting.fetch_optional(&mut *conn).await?.map(|row| (row.first_seq, row.count)));
    }
    let mut places = Vec::new();
    for (first_seq, count) in ranges {
        places.extend(find_places(conn, campaign, first_seq.cast_unsigned(), count.unsigned_abs()).await?);
    }
    Ok(places)
}

/// Whether a vault is that of a campaign: others may have one of its number.
async fn is_of_vault(
    conn: &mut PgConnection,
    campaign: CampaignId,
    (chain_id, vault): (u64, Address),
) -> Result<bool, LedgerError> {
    let of_vault = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (SELECT FROM campaigns c JOIN vaults v ON v.id = c.vault
                       WHERE c.id = $1 AND v.chain_id = $2 AND v.address = $3) AS "of_vault!"
        "#,
        campaign.number(),
        chain_id.cast_signed(),
        vault.as_slice(),
    );
    Ok(of_vault.fetch_one(conn).await?)
}

/// Has nobody be given the places before `end`, some of which are burned or paid. In quarantine that is noted for the recovery.
async fn skip(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: CampaignId,
    queue: &Queue,
    end: u64,
) -> Result<(), LedgerError> {
    if !in_quarantine(conn).await? {
        return move_on(conn, now, campaign, queue, &[], end, 0).await;
    }
    sqlx::query!(
        "UPDATE queues SET burned_to = greatest(burned_to, $2) WHERE campaign = $1",
        campaign.number(),
        end.cast_signed(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// One of the places that a final settlement is known to have paid. Known to this stage: the books may be ahead of it, and what
/// was refused is written down by this one only.
async fn paid_among(
    conn: &mut PgConnection,
    campaign: CampaignId,
    seqs: &[u64],
) -> Result<Option<u64>, LedgerError> {
    let seqs: Vec<i64> = seqs.iter().map(|seq| seq.cast_signed()).collect();
    let paid = sqlx::query_scalar!(
        r#"
        SELECT p.seq AS "seq!" FROM unnest($2::bigint[]) AS p (seq)
        WHERE EXISTS (SELECT FROM segments s JOIN batches b ON b.id = s.batch AND b.state = 'confirmed'
                      WHERE s.campaign = $1 AND s.first_seq <= p.seq AND s.first_seq > p.seq - $3
                        AND s.first_seq + s.count > p.seq AND p.seq <> ALL (s.holes) AND p.seq <> ALL (s.unpaid))
        LIMIT 1
        "#,
        campaign.number(),
        &seqs,
        SEGMENT_MAX,
    );
    Ok(paid.fetch_optional(conn).await?.map(i64::cast_unsigned))
}

/// Fails the grants of places that are proven to be never paid, but for those that have failed before.
async fn fail(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    cause: Option<EventId>,
    (campaign, reason): (CampaignId, &str),
    places: &[ChainPlace],
    proof: impl Fn(u64) -> VoidProof,
) -> Result<Vec<NewEvent>, LedgerError> {
    let numbers: Vec<i64> = places.iter().map(|place| place.number.cast_signed()).collect();
    let seqs: Vec<i64> = places.iter().map(|place| place.seq.cast_signed()).collect();
    let failed = sqlx::query!(
        r#"
        INSERT INTO exceptions AS e (campaign, number, state, reason, player, chain_id, amount, seq, updated_at)
        SELECT g.campaign, g.number, 'failed', $5, g.player, v.chain_id, g.amount, p.seq, $4
        FROM unnest($2::bigint[], $3::bigint[]) AS p (number, seq)
        JOIN grants g ON g.campaign = $1 AND g.number = p.number
        JOIN campaigns c ON c.id = g.campaign
        JOIN vaults v ON v.id = c.vault
        ORDER BY p.seq
        ON CONFLICT (campaign, number) DO UPDATE
        SET state = 'failed', reason = EXCLUDED.reason, seq = EXCLUDED.seq, wallet_until = NULL,
            updated_at = EXCLUDED.updated_at
        WHERE e.state NOT IN ('failed', 'compensated')
        RETURNING number, seq AS "seq!", player, amount
        "#,
        campaign.number(),
        &numbers,
        &seqs,
        now,
        reason,
    )
    .fetch_all(&mut *conn)
    .await?;
    let ended: Vec<u64> = failed.iter().map(|row| row.seq.cast_unsigned()).collect();
    let mut events = if ended.is_empty() { Vec::new() } else { end_alerts(conn, campaign, &ended).await? };
    for row in failed {
        let grant = GrantId { campaign, number: row.number.cast_unsigned() };
        let failed = TokenGrantFailed {
            grant,
            player: row.player.into(),
            amount: amount_from_sql(&row.amount, "exceptions", "amount", grant)?,
            reason: reason.to_owned(),
            proof: proof(row.seq.cast_unsigned()),
        };
        events.push(NewEvent { event: failed.into(), occurred_at: None, cause });
    }
    Ok(events)
}

/// Fails the grants of a batch without proof, which is a bug that a simulation plants.
#[cfg(feature = "faults")]
pub(crate) async fn fail_timed_out(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    batch: laurel_events::BatchId,
) -> Result<Vec<NewEvent>, LedgerError> {
    let mut failed = Vec::new();
    for segment in laurel_ledger::find_segments(conn, batch).await? {
        let mut places = find_places(conn, segment.campaign, segment.first_seq, segment.count).await?;
        places.retain(|place| segment.settles(place.seq));
        let proof = |_| VoidProof::NeverQueued;
        failed.extend(fail(conn, now, None, (segment.campaign, "timed_out"), &places, proof).await?);
    }
    Ok(failed)
}

/// The grants among these places that have failed: nothing of theirs is sent or tried again.
pub(crate) async fn failed_among(
    conn: &mut PgConnection,
    campaign: CampaignId,
    places: &[ChainPlace],
) -> Result<HashSet<u64>, LedgerError> {
    let numbers: Vec<i64> = places.iter().map(|place| place.number.cast_signed()).collect();
    let failed = sqlx::query_scalar!(
        r#"
        SELECT seq AS "seq!" FROM exceptions
        WHERE campaign = $1 AND number = ANY ($2) AND seq IS NOT NULL AND state IN ('failed', 'compensated')
        "#,
        campaign.number(),
        &numbers,
    );
    Ok(failed.fetch_all(conn).await?.into_iter().map(i64::cast_unsigned).collect())
}
