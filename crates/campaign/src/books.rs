//! The stage that turns what the chain did into postings, fundings and voids.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use laurel_bus::{OnPoison, Stage, StageError};
use laurel_chain::PaidMask;
use laurel_events::{
    Amount, BlockchainTxConfirmed, BudgetFunded, BudgetPosted, BudgetReleased, CampaignFunded, CampaignId,
    CampaignReleased, Envelope, Event, EventId, EventKind, NewEvent, OperatorAlertRaised, PaidSegment,
    SegmentRef, SettledSegment, TokenGrantFailed,
    alert::{FUNDING_MISMATCH, PAYMENT_WITHOUT_HOLD},
};
use laurel_ledger::{
    Funding, LedgerError, Posting, Written, clear_alert, find_grant, find_places, find_segments, fund,
    halt_queues, lock_accounts, note_release, note_unpaid, planted, post, raise_alert, void,
};
use sqlx::PgConnection;

use crate::{
    CampaignState, Move,
    change::set_state,
    closing::settle_released,
    counters::give_back_counters,
    find_campaign,
    funding::forget_request,
    overdrafts::judge_overdrafts,
    undoing::{rehold_next, undo},
    unexplained::suspend,
    why::LAUREL,
};

/// Turns what the chain did into postings, fundings and voids.
#[derive(Clone, Copy, Debug, Default)]
pub struct BooksStage;

#[async_trait]
impl Stage for BooksStage {
    fn name(&self) -> &'static str {
        "books"
    }

    fn kinds(&self) -> &'static [EventKind] {
        &[
            EventKind::BlockchainTxConfirmed,
            EventKind::CampaignFunded,
            EventKind::CampaignReleased,
            EventKind::TokenGrantFailed,
            EventKind::BlockchainTxUndone,
            EventKind::CampaignFundingUndone,
            EventKind::GrantsCancelUndone,
            EventKind::CampaignReleaseUndone,
            EventKind::BudgetReheld,
        ]
    }

    fn on_poison(&self, kind: EventKind) -> OnPoison {
        match kind {
            EventKind::TokenGrantFailed => OnPoison::Park,
            EventKind::BlockchainTxConfirmed if planted!(FinalFactDeadLettered) => OnPoison::Park,
            // Final facts of a chain, and their undoing: the books must not go on without them.
            _ => OnPoison::Halt,
        }
    }

    async fn handle(
        &self,
        conn: &mut PgConnection,
        now: DateTime<Utc>,
        events: &[Envelope],
    ) -> Result<Vec<NewEvent>, StageError> {
        let before = lock_accounts(conn, &campaigns_of(events)).await?;
        let mut effects = Vec::new();
        let mut suspended = BTreeSet::new();
        let mut reheld_of: BTreeMap<CampaignId, EventId> = BTreeMap::new();
        for envelope in events {
            let events = match &envelope.event {
                Event::BlockchainTxConfirmed(confirmed) => {
                    post_confirmed(conn, now, confirmed, &mut suspended).await?
                }
                Event::CampaignFunded(funded) => post_funding(conn, now, funded).await?,
                Event::CampaignReleased(released) => end_released(conn, now, released).await?,
                Event::TokenGrantFailed(failed) => release(conn, now, failed).await?,
                Event::BudgetReheld(reheld) => {
                    reheld_of.insert(reheld.grant.campaign, envelope.id);
                    Vec::new()
                }
                event => undo(conn, now, event).await?,
            };
            effects.extend(events.into_iter().map(|event| NewEvent::caused_by(envelope.id, event)));
        }
        for (campaign, cause) in reheld_of {
            let events = rehold_next(conn, now, campaign).await?;
            effects.extend(events.into_iter().map(|event| NewEvent::caused_by(cause, event)));
        }
        effects.extend(settle_released(conn, now, events).await?);
        // Queues are locked after everything else.
        let suspended: Vec<CampaignId> = suspended.into_iter().collect();
        if !suspended.is_empty() {
            halt_queues(conn, &suspended, PAYMENT_WITHOUT_HOLD).await?;
        }
        effects.extend(judge_overdrafts(conn, now, &before, events).await?.into_iter().map(NewEvent::from));
        Ok(effects)
    }
}

/// All campaigns that the events touch, so that their books are locked in one order.
fn campaigns_of(events: &[Envelope]) -> Vec<CampaignId> {
    let mut campaigns: Vec<CampaignId> =
        events.iter().flat_map(|envelope| touched_by(&envelope.event)).collect();
    campaigns.sort_unstable();
    campaigns.dedup();
    campaigns
}

/// The campaigns that an event touches.
pub(crate) fn touched_by(event: &Event) -> Vec<CampaignId> {
    match event {
        Event::BlockchainTxConfirmed(confirmed) => {
            confirmed.segments.iter().map(|segment| segment.campaign).collect()
        }
        Event::CampaignFunded(funded) => vec![funded.campaign],
        Event::CampaignReleased(released) => vec![released.campaign],
        Event::TokenGrantFailed(failed) => vec![failed.grant.campaign],
        Event::BlockchainTxUndone(undone) => undone.segments.iter().map(|segment| segment.campaign).collect(),
        Event::CampaignFundingUndone(event) => vec![event.undone.campaign],
        Event::GrantsCancelUndone(event) => vec![event.undone.campaign],
        Event::CampaignReleaseUndone(event) => vec![event.undone.campaign],
        Event::BudgetReheld(reheld) => vec![reheld.grant.campaign],
        _ => Vec::new(),
    }
}

/// Posts what a settlement paid, campaign by campaign. What it paid without a hold goes to suspense, and the campaign
/// is paused; its queue is to be halted as one of `suspended`.
async fn post_confirmed(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    confirmed: &BlockchainTxConfirmed,
    suspended: &mut BTreeSet<CampaignId>,
) -> Result<Vec<Event>, StageError> {
    let ours = match confirmed.sighting.batch {
        Some(batch) => find_segments(conn, batch).await?,
        None => Vec::new(),
    };
    let paid_nothing = confirmed.segments.iter().all(|settled| settled.total.is_zero());
    if let (None, true, Some(first)) = (confirmed.sighting.batch, paid_nothing, confirmed.segments.first()) {
        note_unpaid(conn, &confirmed.sighting, first).await?;
    }
    let mut events = Vec::new();
    let mut postings: BTreeMap<CampaignId, BudgetPosted> = BTreeMap::new();
    for settled in confirmed.segments.iter().filter(|settled| !settled.total.is_zero()) {
        let matches = |ours: &&SegmentRef| {
            (ours.campaign, ours.first_seq, ours.words_hash)
                == (settled.campaign, settled.first_seq, settled.words_hash)
        };
        match (confirmed.sighting.batch, ours.iter().find(matches)) {
            (Some(batch), Some(segment)) => {
                let (grants, amount) = proven(conn, segment, settled).await?;
                let posting = postings.entry(settled.campaign).or_insert_with(|| BudgetPosted {
                    campaign: settled.campaign,
                    batch,
                    grants: 0,
                    amount: Amount::ZERO,
                    tx: confirmed.sighting.tx,
                    segments: Vec::new(),
                });
                posting.grants += grants;
                posting.amount = posting.amount.plus(amount).map_err(LedgerError::from)?;
                let paid = settled.paid.clone();
                posting.segments.push(PaidSegment { first_seq: settled.first_seq, paid });
            }
            _ => {
                if let Some(told) = suspend(conn, now, confirmed, settled).await? {
                    suspended.insert(settled.campaign);
                    events.extend(told);
                }
            }
        }
    }
    for posted in postings.into_values() {
        let BudgetPosted { batch, campaign, grants, amount, tx, .. } = posted;
        if post(conn, now, &Posting { batch, campaign, grants, amount, tx }).await? == Written::Created {
            events.push(posted.into());
        }
    }
    Ok(events)
}

/// How many grants a settled segment paid, and how much, by our own words: the bits that were set, each with the word
/// that was given to it for life. The chain's total must say the same.
async fn proven(
    conn: &mut PgConnection,
    segment: &SegmentRef,
    settled: &SettledSegment,
) -> Result<(u32, Amount), StageError> {
    let mask = PaidMask::new(settled.first_seq, settled.paid.clone());
    let places = find_places(conn, segment.campaign, segment.first_seq, segment.count).await?;
    let mut grants = 0;
    let mut amount = Amount::ZERO;
    for place in places.iter().filter(|place| mask.contains(place.seq)) {
        let word = laurel_chain::GrantWord::decode(place.word)
            .ok_or_else(|| StageError::poison(format!("seq {} has no word", place.seq)))?;
        amount = amount.plus(word.amount()).map_err(LedgerError::from)?;
        grants += 1;
    }
    if amount != settled.total || u64::from(grants) != mask.count() {
        return Err(StageError::poison(format!(
            "campaign {}: the chain paid {} for {} grants from seq {}, our words say {amount} for {grants}",
            segment.campaign,
            settled.total,
            mask.count(),
            segment.first_seq,
        )));
    }
    Ok((grants, amount))
}

async fn post_funding(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    funded: &CampaignFunded,
) -> Result<Vec<Event>, StageError> {
    let known = find_campaign(conn, funded.campaign).await.map_err(StageError::from)?;
    let problem = match &known {
        None => Some("the vault has a campaign that this ledger does not know".to_owned()),
        Some(campaign)
            if (campaign.definition.chain_id, campaign.vault) != (funded.chain_id, funded.vault) =>
        {
            Some(format!(
                "vault {} on chain {} has a campaign of this id, but vault {} on chain {} pays it",
                funded.vault, funded.chain_id, campaign.vault, campaign.definition.chain_id
            ))
        }
        Some(campaign) if campaign.definition.token != funded.token => Some(format!(
            "the vault pays {} for a campaign whose token is {}",
            funded.token, campaign.definition.token
        )),
        Some(_) => None,
    };
    let about = format!("campaign:{}", funded.campaign);
    if let Some(detail) = problem {
        let alert = OperatorAlertRaised { code: FUNDING_MISMATCH.to_owned(), about, detail };
        return Ok(raise_alert(conn, now, alert).await?.map(Event::from).into_iter().collect());
    }
    // Opened now, and funded later.
    if funded.cap.is_zero() {
        return Ok(clear_alert(conn, FUNDING_MISMATCH, &about).await?.map(Event::from).into_iter().collect());
    }
    let funding = Funding {
        campaign: funded.campaign,
        block_number: funded.block_number,
        log_index: funded.log_index,
        tx: funded.tx,
        cap: funded.cap,
    };
    let added = fund(conn, now, &funding).await?;
    let mut events: Vec<Event> = Vec::new();
    events.extend(added.map(|amount| booked(funded, amount).into()));
    forget_request(conn, funded.campaign, funded.cap).await?;
    events.extend(clear_alert(conn, FUNDING_MISMATCH, &about).await?.map(Event::from));
    Ok(events)
}

/// What a funding that is booked says.
fn booked(funded: &CampaignFunded, amount: Amount) -> BudgetFunded {
    let CampaignFunded { campaign, cap, tx, block_number, log_index, .. } = *funded;
    BudgetFunded { campaign, amount, cap, tx, block_number, log_index }
}

/// Ends a campaign of which the vault pays nothing any more: what it would grant could only fail.
async fn end_released(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    released: &CampaignReleased,
) -> Result<Vec<Event>, StageError> {
    let id = released.campaign;
    let known = find_campaign(conn, id).await.map_err(StageError::from)?;
    let ours = known.filter(|campaign| {
        (campaign.definition.chain_id, campaign.vault) == (released.chain_id, released.vault)
    });
    let Some(campaign) = ours.filter(|campaign| campaign.state != CampaignState::Deleted) else {
        return Ok(Vec::new());
    };
    note_release(conn, now, released).await?;
    if campaign.state.is_over() {
        return Ok(Vec::new());
    }
    let ended = set_state(conn, now, id, Move::End, LAUREL, Some("campaign_released")).await;
    Ok(vec![ended.map_err(StageError::from)?.into()])
}

/// Voids a hold, exactly as it was made.
async fn release(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    failed: &TokenGrantFailed,
) -> Result<Vec<Event>, StageError> {
    let held = find_grant(conn, failed.grant).await?;
    if held.is_none_or(|held| (held.player, held.amount) != (failed.player, failed.amount)) {
        return Err(StageError::poison(format!(
            "no hold of {} for player {} is grant {}",
            failed.amount, failed.player, failed.grant
        )));
    }
    let written = void(conn, now, failed.grant, failed.amount, &failed.proof).await?;
    if written == Written::Exists {
        return Ok(Vec::new());
    }
    let campaign = find_campaign(conn, failed.grant.campaign).await.map_err(StageError::from)?;
    let campaign = campaign.ok_or_else(|| StageError::poison("a hold without its campaign"))?;
    let kept = campaign.definition.kept().map_err(StageError::poison)?;
    if !planted!(CounterNotGivenBack) {
        give_back_counters(conn, failed, kept).await?;
    }
    Ok(vec![BudgetReleased { grant: failed.grant, amount: failed.amount }.into()])
}
