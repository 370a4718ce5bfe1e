//! Grants and batches that follow a chain which took back what was final.
//!
//! ```text
//!   BlockchainTxUndone ──► the batch is under way again ──► the lane sends the same bytes, or fills the nonce when they are too old
//!   BudgetUnposted ──────► TokenGrantReopened
//!   BudgetReheld ────────► the place goes again
//! ```

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use laurel_bus::StageError;
use laurel_chain::PaidMask;
use laurel_events::{BudgetUnposted, CampaignId, EventId, GrantId, NewEvent, Sighting, TokenGrantReopened};
use laurel_ledger::{LedgerError, find_places, find_segments};
use sqlx::PgConnection;

use crate::{
    compensation::fail_released,
    requeues::{lock_places, requeue, take_out, take_out_segment},
};

/// Has a batch be under way again. Its places go with it, and not by themselves any more.
pub(crate) async fn undo(conn: &mut PgConnection, sighting: &Sighting) -> Result<(), StageError> {
    let Some(batch) = sighting.batch else { return Ok(()) };
    let moved = sqlx::query!(
        r#"
        UPDATE batches
        SET state = 'submitted', transition = $2, mined_tx = NULL, block_number = NULL, block_hash = NULL, gas_used = NULL,
            effective_gas_price = NULL, displaced_by = NULL
        WHERE id = $1 AND transition < $2
        "#,
        batch.uuid(),
        sighting.transition.cast_signed(),
    )
    .execute(&mut *conn)
    .await?;
    if moved.rows_affected() == 0 {
        return Ok(());
    }
    sqlx::query!("UPDATE segments SET posted_at = NULL, unpaid = '{}' WHERE batch = $1", batch.uuid())
        .execute(&mut *conn)
        .await?;
    for segment in find_segments(conn, batch).await? {
        lock_places(conn, segment.campaign).await?;
        take_out_segment(conn, &segment).await?;
    }
    let cancel = sqlx::query!("SELECT campaign, seq FROM cancels WHERE batch = $1", batch.uuid());
    if let Some(cancel) = cancel.fetch_optional(&mut *conn).await? {
        let campaign = CampaignId::try_from(cancel.campaign).map_err(|_| LedgerError::Inconsistent {
            table: "cancels",
            column: "campaign",
            id: batch.to_string(),
        })?;
        lock_places(conn, campaign).await?;
        take_out(conn, campaign, &[cancel.seq.cast_unsigned()]).await?;
    }
    Ok(())
}

/// Tells of every grant that was complete and is under way again.
pub(crate) async fn reopen(
    conn: &mut PgConnection,
    cause: EventId,
    unposted: &BudgetUnposted,
) -> Result<Vec<NewEvent>, StageError> {
    let mut reopened = Vec::new();
    for segment in find_segments(conn, unposted.batch).await? {
        let paid = unposted.segments.iter().find(|paid| paid.first_seq == segment.first_seq);
        let Some(paid) = paid.filter(|_| segment.campaign == unposted.campaign) else { continue };
        // That it was posted may have been read here after the batch was under way again.
        sqlx::query!(
            "UPDATE segments SET posted_at = NULL WHERE campaign = $1 AND first_seq = $2 AND batch = $3",
            segment.campaign.number(),
            segment.first_seq.cast_signed(),
            unposted.batch.uuid(),
        )
        .execute(&mut *conn)
        .await?;
        let mask = PaidMask::new(paid.first_seq, paid.paid.clone());
        let places = find_places(conn, segment.campaign, segment.first_seq, segment.count).await?;
        for place in places.iter().filter(|place| mask.contains(place.seq)) {
            let grant = GrantId { campaign: segment.campaign, number: place.number };
            reopened.push(NewEvent::caused_by(cause, TokenGrantReopened { grant, batch: unposted.batch }));
        }
    }
    Ok(reopened)
}

/// Has grants go again, each with the place that it has, whose end the chain took back. In a batch that is under way they do so
/// already, and so they do where they wait in the queue, as those do that were burned before they were sent. Those of a campaign that
/// is released fail again. None is burned again by now: of what the chain says next nobody is told before all this was read.
pub(crate) async fn rehold(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    reheld: &[(EventId, GrantId)],
) -> Result<Vec<NewEvent>, StageError> {
    let mut campaigns: BTreeMap<CampaignId, (EventId, Vec<i64>)> = BTreeMap::new();
    for (cause, grant) in reheld {
        let (_, numbers) = campaigns.entry(grant.campaign).or_insert((*cause, Vec::new()));
        numbers.push(grant.number.cast_signed());
    }
    let mut effects = Vec::new();
    for (campaign, (cause, numbers)) in campaigns {
        // Before its grants, which have places.
        lock_places(conn, campaign).await?;
        let seqs = sqlx::query_scalar!(
            r#"
            UPDATE exceptions SET state = 'queued', reason = NULL, refused_since = NULL, updated_at = $3
            WHERE campaign = $1 AND number = ANY ($2) AND state IN ('failed', 'compensated') AND seq IS NOT NULL
            RETURNING seq AS "seq!"
            "#,
            campaign.number(),
            &numbers,
            now,
        );
        let mut seqs: Vec<u64> =
            seqs.fetch_all(&mut *conn).await?.into_iter().map(i64::cast_unsigned).collect();
        seqs.sort_unstable();
        requeue(conn, campaign, seqs, now, 0).await?;
        effects.extend(fail_released(conn, now, Some(cause), &[campaign]).await?);
    }
    Ok(effects)
}
