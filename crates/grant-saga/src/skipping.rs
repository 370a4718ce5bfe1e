//! Moving a queue past places that the chain has seen and this ledger never gave.

use chrono::{DateTime, Utc};
use laurel_events::CampaignId;
use laurel_ledger::{LedgerError, find_given_places};
use sqlx::PgConnection;

use crate::requeues::requeue;

/// Where a campaign's queue stands.
pub(crate) struct Queue {
    pub(crate) next_seq: u64,
    pub(crate) batched_to: u64,
    pub(crate) burned_to: u64,
}

/// The campaign's queue, which begins here if it has none.
pub(crate) async fn lock_queue(conn: &mut PgConnection, campaign: CampaignId) -> Result<Queue, LedgerError> {
    sqlx::query!(
        "INSERT INTO queues (campaign, vault) SELECT id, vault FROM campaigns WHERE id = $1 ON CONFLICT DO NOTHING",
        campaign.number(),
    )
    .execute(&mut *conn)
    .await?;
    let row = sqlx::query!(
        "SELECT next_seq, batched_to, burned_to FROM queues WHERE campaign = $1 FOR UPDATE",
        campaign.number(),
    )
    .fetch_one(conn)
    .await?;
    Ok(Queue {
        next_seq: row.next_seq.cast_unsigned(),
        batched_to: row.batched_to.cast_unsigned(),
        burned_to: row.burned_to.cast_unsigned(),
    })
}

/// Has places be given from `end` on. What waited in the queue and was not paid goes again by itself: behind it are places that
/// were never given.
pub(crate) async fn move_on(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: CampaignId,
    queue: &Queue,
    paid: &[u64],
    end: u64,
    orphans: usize,
) -> Result<(), LedgerError> {
    let waiting = u32::try_from(queue.next_seq - queue.batched_to).unwrap_or(u32::MAX);
    let given = find_given_places(conn, campaign, queue.batched_to, waiting).await?;
    if end > queue.next_seq {
        sqlx::query!(
            "INSERT INTO skipped_seqs (campaign, first_seq, count, skipped_at) VALUES ($1, $2, $3, $4)",
            campaign.number(),
            queue.next_seq.cast_signed(),
            (end - queue.next_seq).cast_signed(),
            now,
        )
        .execute(&mut *conn)
        .await?;
    }
    sqlx::query!(
        "UPDATE queues SET next_seq = $2, batched_to = $2, orphans = orphans + $3 WHERE campaign = $1",
        campaign.number(),
        end.cast_signed(),
        orphans as i64,
    )
    .execute(&mut *conn)
    .await?;
    let open = given.iter().map(|place| place.seq).filter(|seq| !paid.contains(seq));
    requeue(conn, campaign, open, now, 0).await
}
