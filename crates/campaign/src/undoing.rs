//! Books that follow a chain which took back what was final.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256};
use chrono::{DateTime, Utc};
use laurel_bus::StageError;
use laurel_events::{
    Amount, BlockchainTxUndone, BudgetReheld, BudgetUnposted, CampaignFunded, CampaignId, Event, GrantId,
    OperatorAlertRaised, PaidSegment, alert::BUDGET_SHORT,
};
use laurel_ledger::{
    Reheld, Unfunded, forget_owed, forget_unpaid, owed_holds, planted, raise_alert, undo_suspense, unfund,
    unpost, unvoid, voided_by,
};
use sqlx::PgConnection;

use crate::{counters::take_counters_again, find_campaign};

/// Undoes what the chain took back. Queues of campaigns that hold more than they have are to be halted as `short`.
pub(crate) async fn undo(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    event: &Event,
    short: &mut BTreeSet<CampaignId>,
) -> Result<Vec<Event>, StageError> {
    match event {
        Event::BlockchainTxUndone(undone) => unpost_batch(conn, now, undone).await,
        Event::CampaignFundingUndone(event) => undo_funding(conn, now, &event.undone, short).await,
        Event::GrantsCancelUndone(event) => {
            rehold(conn, now, event.undone.campaign, event.undone.tx, short).await
        }
        Event::CampaignReleaseUndone(event) => {
            rehold(conn, now, event.undone.campaign, event.undone.tx, short).await
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
        let paid = |segment: &laurel_events::SettledSegment| PaidSegment {
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

async fn undo_funding(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    funded: &CampaignFunded,
    short: &mut BTreeSet<CampaignId>,
) -> Result<Vec<Event>, StageError> {
    let Some(Unfunded { removed, missing }) = unfund(conn, now, funded).await? else { return Ok(Vec::new()) };
    if missing.is_zero() {
        return Ok(Vec::new());
    }
    let detail = format!(
        "the chain took back the cap of {} that transaction {} had set; {removed} of it was free, and on {missing} grants stand",
        funded.cap, funded.tx,
    );
    fall_short(conn, now, funded.campaign, detail, short).await
}

/// Holds again what was void by `tx`.
async fn rehold(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: CampaignId,
    tx: B256,
    short: &mut BTreeSet<CampaignId>,
) -> Result<Vec<Event>, StageError> {
    let mut events = Vec::new();
    for grant in voided_by(conn, campaign, tx).await? {
        match unvoid(conn, now, grant).await? {
            Some(Reheld::Held(amount)) => events.push(held_again(conn, grant, amount).await?),
            Some(Reheld::Short(amount)) => {
                let detail = format!(
                    "the chain took back transaction {tx}, which had proven that grant {grant} is never paid; its {amount} \
                     are granted to others by now"
                );
                events.extend(fall_short(conn, now, campaign, detail, short).await?);
            }
            None => {}
        }
    }
    Ok(events)
}

async fn held_again(conn: &mut PgConnection, grant: GrantId, amount: Amount) -> Result<Event, StageError> {
    let campaign = find_campaign(conn, grant.campaign).await.map_err(StageError::from)?;
    let campaign = campaign.ok_or_else(|| StageError::poison("a hold without its campaign"))?;
    take_counters_again(conn, grant, campaign.definition.kept().map_err(StageError::poison)?).await?;
    Ok(BudgetReheld { grant, amount }.into())
}

/// Holds again what a campaign, which has more money now, owes. Says whether it owes nothing any more.
pub(crate) async fn hold_owed(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: CampaignId,
) -> Result<(Vec<Event>, bool), StageError> {
    let mut events = Vec::new();
    for (grant, _) in owed_holds(conn, campaign).await? {
        match unvoid(conn, now, grant).await? {
            Some(Reheld::Held(amount)) => events.push(held_again(conn, grant, amount).await?),
            Some(Reheld::Short(_)) => return Ok((events, false)),
            None => {}
        }
    }
    Ok((events, true))
}

/// Notes that the grants of these places are never paid, after all, by the word of a vault: others may have a campaign of that
/// number.
pub(crate) async fn burned_again(
    conn: &mut PgConnection,
    campaign: CampaignId,
    (chain_id, vault): (u64, Address),
    is_burned: impl Fn(u64) -> bool,
) -> Result<(), StageError> {
    let owed = owed_holds(conn, campaign).await?;
    if owed.is_empty() {
        return Ok(());
    }
    let known = find_campaign(conn, campaign).await.map_err(StageError::from)?;
    if known.is_none_or(|known| (known.definition.chain_id, known.vault) != (chain_id, vault)) {
        return Ok(());
    }
    let burned: Vec<GrantId> =
        owed.into_iter().filter(|(_, seq)| is_burned(*seq)).map(|(grant, _)| grant).collect();
    Ok(forget_owed(conn, &burned).await?)
}

async fn fall_short(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: CampaignId,
    detail: String,
    short: &mut BTreeSet<CampaignId>,
) -> Result<Vec<Event>, StageError> {
    short.insert(campaign);
    let about = format!("campaign:{campaign}");
    let alert = OperatorAlertRaised { code: BUDGET_SHORT.to_owned(), about, detail };
    Ok(raise_alert(conn, now, alert).await?.map(Event::from).into_iter().collect())
}
