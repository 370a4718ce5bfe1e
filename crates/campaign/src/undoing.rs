//! Books that follow a chain which took back what was final.

use alloy_primitives::B256;
use chrono::{DateTime, Utc};
use laurel_bus::StageError;
use laurel_events::{
    BlockchainTxUndone, BudgetReheld, BudgetUnfunded, BudgetUnposted, CampaignFunded, CampaignId, Event,
    PaidSegment, SettledSegment,
};
use laurel_ledger::{
    begin_rehold, forget_unpaid, move_rehold, next_rehold, planted, undo_suspense, unfund, unpost, unvoid,
};
use sqlx::PgConnection;

use crate::{closing::reclaim, counters::take_counters_again, find_campaign};

/// How many holds are made again in one transaction, of all that another one had proven to be void: there may be a million.
const REHELD_MAX: i64 = 1_000;

/// Undoes what the chain took back.
pub(crate) async fn undo(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    event: &Event,
) -> Result<Vec<Event>, StageError> {
    match event {
        Event::BlockchainTxUndone(undone) => unpost_batch(conn, now, undone).await,
        Event::CampaignFundingUndone(_) if planted!(CapStaysBooked) => Ok(Vec::new()),
        Event::CampaignFundingUndone(event) => {
            let CampaignFunded { campaign, tx, block_number, log_index, .. } = event.undone;
            let undone = unfund(conn, now, &event.undone).await?;
            let unfunded =
                undone.map(|amount| BudgetUnfunded { campaign, amount, tx, block_number, log_index });
            Ok(unfunded.map(Event::from).into_iter().collect())
        }
        Event::GrantsCancelUndone(event) => rehold(conn, now, event.undone.campaign, event.undone.tx).await,
        Event::CampaignReleaseUndone(event) => {
            let mut events = reclaim(conn, now, &event.undone).await?;
            events.extend(rehold(conn, now, event.undone.campaign, event.undone.tx).await?);
            Ok(events)
        }
        _ => Ok(Vec::new()),
    }
}

/// Takes back what a transaction had paid: from what is paid, or out of suspense.
async fn unpost_batch(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    undone: &BlockchainTxUndone,
) -> Result<Vec<Event>, StageError> {
    let mut campaigns: Vec<CampaignId> = undone.segments.iter().map(|segment| segment.campaign).collect();
    campaigns.sort_unstable();
    campaigns.dedup();
    let mut events = Vec::new();
    for campaign in campaigns {
        if planted!(UndoneStaysPosted) {
            break;
        }
        let Some(batch) = undone.sighting.batch else { break };
        let Some(posting) = unpost(conn, now, batch, campaign, undone.sighting.tx).await? else { continue };
        let segments = undone.segments.iter().filter(|segment| segment.campaign == campaign);
        let paid = |segment: &SettledSegment| PaidSegment {
            first_seq: segment.first_seq,
            paid: segment.paid.clone(),
        };
        events.push(
            BudgetUnposted {
                campaign,
                batch,
                grants: posting.grants,
                amount: posting.amount,
                tx: posting.tx,
                segments: segments.map(paid).collect(),
            }
            .into(),
        );
    }
    forget_unpaid(conn, &undone.sighting).await?;
    for settled in &undone.segments {
        undo_suspense(conn, now, &undone.sighting, settled).await?;
    }
    Ok(events)
}

/// Holds again the first of what was void by `tx`; the others follow when that is read.
async fn rehold(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: CampaignId,
    tx: B256,
) -> Result<Vec<Event>, StageError> {
    begin_rehold(conn, campaign, tx).await?;
    rehold_next(conn, now, campaign).await
}

/// Holds again the next of what a campaign has to hold again.
pub(crate) async fn rehold_next(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: CampaignId,
) -> Result<Vec<Event>, StageError> {
    // Only a hold that is made now has the next ones follow.
    let held = loop {
        let Some((tx, after)) = next_rehold(conn, campaign).await? else { return Ok(Vec::new()) };
        let held = unvoid(conn, now, (campaign, tx), after, REHELD_MAX).await?;
        let goes_on = held.last().filter(|_| held.len() as i64 == REHELD_MAX).map(|(last, _)| *last);
        move_rehold(conn, (campaign, tx), goes_on).await?;
        if !held.is_empty() {
            break held;
        }
    };
    let known = find_campaign(conn, campaign).await.map_err(StageError::from)?;
    let known = known.ok_or_else(|| StageError::poison("a hold without its campaign"))?;
    let kept = known.definition.kept().map_err(StageError::poison)?;
    let numbers: Vec<i64> = held.iter().map(|(grant, _)| grant.number.cast_signed()).collect();
    take_counters_again(conn, campaign, &numbers, kept).await?;
    Ok(held.into_iter().map(|(grant, amount)| BudgetReheld { grant, amount }.into()).collect())
}
