//! Books that follow a chain which took back what was final.

use alloy_primitives::B256;
use chrono::{DateTime, Utc};
use laurel_bus::StageError;
use laurel_events::{
    BlockchainTxUndone, BudgetReheld, BudgetUnposted, CampaignId, Event, GrantId, PaidSegment, SettledSegment,
};
use laurel_ledger::{forget_unpaid, planted, undo_suspense, unfund, unpost, unvoid};
use sqlx::PgConnection;

use crate::{counters::take_counters_again, find_campaign};

/// How many holds are made again at once, of all that one transaction had proven to be void.
const REHELD_MAX: i64 = 1_000;

/// Undoes what the chain took back.
pub(crate) async fn undo(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    event: &Event,
) -> Result<Vec<Event>, StageError> {
    match event {
        Event::BlockchainTxUndone(undone) => return unpost_batch(conn, now, undone).await,
        Event::CampaignFundingUndone(event) => {
            unfund(conn, now, &event.undone).await?;
        }
        Event::GrantsCancelUndone(event) => {
            return rehold(conn, now, event.undone.campaign, event.undone.tx).await;
        }
        Event::CampaignReleaseUndone(event) => {
            return rehold(conn, now, event.undone.campaign, event.undone.tx).await;
        }
        _ => {}
    }
    Ok(Vec::new())
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

/// Holds again what was void by `tx`.
async fn rehold(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: CampaignId,
    tx: B256,
) -> Result<Vec<Event>, StageError> {
    let mut events = Vec::new();
    let mut after: Option<GrantId> = None;
    loop {
        let held = unvoid(conn, now, (campaign, tx), after, REHELD_MAX).await?;
        let Some((last, _)) = held.last() else { return Ok(events) };
        after = Some(*last);
        let known = find_campaign(conn, campaign).await.map_err(StageError::from)?;
        let known = known.ok_or_else(|| StageError::poison("a hold without its campaign"))?;
        let kept = known.definition.kept().map_err(StageError::poison)?;
        let numbers: Vec<i64> = held.iter().map(|(grant, _)| grant.number.cast_signed()).collect();
        take_counters_again(conn, campaign, &numbers, kept).await?;
        events.extend(held.into_iter().map(|(grant, amount)| BudgetReheld { grant, amount }.into()));
    }
}
