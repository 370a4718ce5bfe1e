//! The stage that gives grants their places and tells when they are complete.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use laurel_bus::{Stage, StageError, schedule_timers};
use laurel_chain::{GrantWord, PaidMask};
use laurel_events::{
    BudgetPosted, CampaignId, Envelope, Event, EventId, EventKind, GrantId, NewEvent, PlayerId,
    TokenGrantAwaitingWallet, TokenGrantCompleted, TokenGrantFailed, TokenGrantHeld, TokenGrantRequested,
    TokenGrantStarted, VoidProof, WalletDeadlinePassed, WalletLinked,
};
use laurel_ledger::{ChainPlace, LedgerError, find_places, find_segments, in_quarantine, planted};
use laurel_players::{Wallet, keep_wallets};
use sqlx::PgConnection;

use crate::{
    compensation::fail_released,
    exceptions::{
        Awaiting, WALLET_CHECK, WALLET_REFUSED, Waiting, insert_waiting, lock_awaiting, lock_overdue,
        set_compensated, set_failed, set_held, waiting_player,
    },
    queue::{Enqueued, Seated, enqueue},
    recipients::{Recipient, recipients},
    seats::seat_waiting,
    settlements::mark_posted,
    undoing::{rehold, reopen},
};

/// How long after its deadline a grant is still held for a wallet that nobody could ask yet.
const WALLET_CHECK_GRACE: TimeDelta = TimeDelta::days(1);

/// Gives grants their places and tells when they are complete.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrantStage;

#[async_trait]
impl Stage for GrantStage {
    fn name(&self) -> &'static str {
        "grant-saga"
    }

    fn kinds(&self) -> &'static [EventKind] {
        &[
            EventKind::TokenGrantRequested,
            EventKind::WalletLinked,
            EventKind::WalletDeadlinePassed,
            EventKind::BudgetPosted,
            EventKind::BudgetReleased,
            EventKind::BudgetUnposted,
            EventKind::BudgetReheld,
        ]
    }

    async fn handle(
        &self,
        conn: &mut PgConnection,
        now: DateTime<Utc>,
        events: &[Envelope],
    ) -> Result<Vec<NewEvent>, StageError> {
        // Queues are locked before grants that have places.
        let mut effects = fail_released(conn, now, None, &given_back(events)).await?;
        let mut requests: Vec<(EventId, &TokenGrantRequested)> = Vec::new();
        let mut reheld: Vec<(EventId, GrantId)> = Vec::new();
        for envelope in events {
            match &envelope.event {
                Event::TokenGrantRequested(requested) => {
                    requests.push((envelope.id, requested));
                    continue;
                }
                Event::BudgetReheld(event) => {
                    reheld.push((envelope.id, event.grant));
                    continue;
                }
                _ => {}
            }
            // The order within a partition is kept: what was requested before comes first.
            effects.extend(start(conn, now, &std::mem::take(&mut requests)).await?);
            effects.extend(rehold(conn, now, &std::mem::take(&mut reheld)).await?);
            match &envelope.event {
                Event::WalletLinked(linked) => {
                    effects.extend(wallet_linked(conn, now, envelope.id, linked).await?);
                }
                Event::WalletDeadlinePassed(passed) => {
                    effects.extend(deadline_passed(conn, now, envelope.id, passed).await?);
                }
                Event::BudgetPosted(posted) => {
                    effects.extend(complete(conn, now, envelope.id, posted).await?);
                }
                Event::BudgetUnposted(unposted) => {
                    effects.extend(reopen(conn, envelope.id, unposted).await?);
                }
                Event::BudgetReleased(released) => set_compensated(conn, now, released.grant).await?,
                _ => {}
            }
        }
        effects.extend(start(conn, now, &requests).await?);
        effects.extend(rehold(conn, now, &reheld).await?);
        Ok(effects)
    }
}

/// The campaigns whose holds the books have released: of one that the vault has released, the next grants fail.
fn given_back(events: &[Envelope]) -> Vec<CampaignId> {
    let campaigns = events.iter().filter_map(|envelope| match &envelope.event {
        Event::BudgetReleased(released) => Some(released.grant.campaign),
        _ => None,
    });
    let campaigns: BTreeSet<CampaignId> = campaigns.collect();
    campaigns.into_iter().collect()
}

/// Queues requested grants whose players have a wallet; the others wait.
async fn start(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    requests: &[(EventId, &TokenGrantRequested)],
) -> Result<Vec<NewEvent>, StageError> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let recipients = recipients_of(conn, requests).await?;
    let causes: HashMap<GrantId, EventId> =
        requests.iter().map(|(id, request)| (request.grant, *id)).collect();
    let mut seated = Vec::new();
    let mut waiting = Vec::new();
    for (_, request) in requests {
        match recipients.get(&(request.chain_id, request.player)) {
            Some(Recipient::Payable(wallet)) => {
                let word = GrantWord::new(*wallet, request.amount)
                    .ok_or_else(|| StageError::poison(format!("grant {} fits no word", request.grant)))?;
                seated.push(Seated { grant: request.grant, word });
            }
            Some(Recipient::Held(reason)) => waiting.push(wait(request, now, Some(reason))),
            None => waiting.push(wait(request, now, None)),
        }
    }
    let Enqueued { given, released, adopted } = enqueue(conn, now, &seated, true).await?;
    insert_waiting(conn, now, &waiting).await?;
    if !planted!(DeadlineForgotten) {
        schedule_deadlines(conn, &waiting).await?;
    }
    let started = given.into_iter().map(|given| {
        let started = TokenGrantStarted { grant: given.grant, seq: given.seq, word: given.word };
        (given.grant, Event::from(started))
    });
    let waits = waiting.iter().map(|waiting| (waiting.grant, waiting_event(waiting)));
    let effects = started.chain(waits).map(|(grant, event)| NewEvent {
        event,
        occurred_at: None,
        cause: causes.get(&grant).copied(),
    });
    let mut effects: Vec<NewEvent> = effects.collect();
    effects.extend(adopted.into_iter().map(NewEvent::from));
    // Neither those that were given a place nor those that wait for a wallet would be paid.
    let waiting = waiting.iter().map(|waiting| waiting.grant.campaign);
    let campaigns: BTreeSet<CampaignId> = released.into_iter().chain(waiting).collect();
    let campaigns: Vec<CampaignId> = campaigns.into_iter().collect();
    effects.extend(fail_released(conn, now, None, &campaigns).await?);
    Ok(effects)
}

async fn recipients_of(
    conn: &mut PgConnection,
    requests: &[(EventId, &TokenGrantRequested)],
) -> Result<HashMap<(u64, PlayerId), Recipient>, StageError> {
    let mut players: BTreeMap<u64, Vec<PlayerId>> = BTreeMap::new();
    for (_, request) in requests {
        players.entry(request.chain_id).or_default().push(request.player);
    }
    let mut found = HashMap::new();
    for (chain_id, players) in players {
        let on_chain = recipients(conn, chain_id, &players).await?;
        found.extend(on_chain.into_iter().map(|(player, recipient)| ((chain_id, player), recipient)));
    }
    Ok(found)
}

/// What becomes of a grant that cannot be queued: held for `reason`, or awaiting a wallet.
fn wait(request: &TokenGrantRequested, now: DateTime<Utc>, reason: Option<&'static str>) -> Waiting {
    Waiting {
        grant: request.grant,
        player: request.player,
        chain_id: request.chain_id,
        amount: request.amount,
        until: now + TimeDelta::hours(i64::from(request.wallet_deadline_hours)),
        reason,
    }
}

fn waiting_event(waiting: &Waiting) -> Event {
    let Waiting { grant, player, until, .. } = *waiting;
    match waiting.reason {
        Some(reason) => TokenGrantHeld { grant, reason: reason.to_owned() }.into(),
        None => TokenGrantAwaitingWallet { grant, player, until }.into(),
    }
}

async fn schedule_deadlines(conn: &mut PgConnection, waiting: &[Waiting]) -> Result<(), StageError> {
    let deadlines: Vec<(DateTime<Utc>, Event)> = waiting
        .iter()
        .map(|waiting| (waiting.until, WalletDeadlinePassed { grant: waiting.grant }.into()))
        .collect();
    schedule_timers(conn, &deadlines).await
}

/// Queues what waited for the wallet, or for another wallet. It goes to the wallet that the player has now: of several
/// links, the first that is handled may be an old one.
async fn wallet_linked(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    cause: EventId,
    linked: &WalletLinked,
) -> Result<Vec<NewEvent>, StageError> {
    // The wallet first, then its grants: the order of whoever checks wallets.
    let recipient = recipients(conn, linked.chain_id, &[linked.player]).await?.remove(&linked.player);
    let awaiting = lock_awaiting(conn, linked.player, linked.chain_id).await?;
    if awaiting.is_empty() {
        return Ok(Vec::new());
    }
    match recipient {
        None => Ok(Vec::new()),
        Some(Recipient::Held(reason)) => hold_waiting(conn, now, cause, &awaiting, reason).await,
        Some(Recipient::Payable(wallet)) => seat_waiting(conn, now, Some(cause), wallet, &awaiting).await,
    }
}

/// Holds grants that waited; those that are held for the same reason already stay as they are.
async fn hold_waiting(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    cause: EventId,
    awaiting: &[Awaiting],
    reason: &str,
) -> Result<Vec<NewEvent>, StageError> {
    let other = awaiting.iter().filter(|awaiting| awaiting.reason.as_deref() != Some(reason));
    let grants: Vec<GrantId> = other.map(|awaiting| awaiting.grant).collect();
    set_held(conn, now, &grants, reason).await?;
    let held = grants
        .into_iter()
        .map(|grant| NewEvent::caused_by(cause, TokenGrantHeld { grant, reason: reason.to_owned() }));
    Ok(held.collect())
}

/// Ends the waiting of a grant, one way or another: it is queued for a wallet that was linked in time, whether or not
/// anybody has handled its link; or it waits [`WALLET_CHECK_GRACE`] more for a wallet that is yet to be asked, because then
/// not the player is late, but we; or it fails.
async fn deadline_passed(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    cause: EventId,
    passed: &WalletDeadlinePassed,
) -> Result<Vec<NewEvent>, StageError> {
    let Some((player, chain_id)) = waiting_player(conn, passed.grant).await? else { return Ok(Vec::new()) };
    let wallet = keep_wallets(conn, chain_id, &[player]).await?.remove(&player);
    let recipient = recipients(conn, chain_id, &[player]).await?.remove(&player);
    let Some(overdue) = lock_overdue(conn, passed.grant).await? else { return Ok(Vec::new()) };
    if in_quarantine(conn).await? {
        // Its wallet may have been linked, and it may have been paid, in what this database has lost.
        return Err(LedgerError::Quarantined.into());
    }
    if now < overdue.until {
        // A recovery has put it off.
        schedule_timers(conn, &[(overdue.until, WalletDeadlinePassed { grant: passed.grant }.into())])
            .await?;
        return Ok(Vec::new());
    }
    let in_time = wallet.filter(|wallet| wallet.linked_at <= overdue.until);
    let waiting = [Awaiting { grant: overdue.grant, amount: overdue.amount, reason: overdue.reason.clone() }];
    if let (Some(_), Some(Recipient::Payable(wallet))) = (in_time, recipient) {
        return seat_waiting(conn, now, Some(cause), wallet, &waiting).await;
    }
    let end = overdue.until + WALLET_CHECK_GRACE;
    // The wallet that refused is no news.
    let to_be_asked = |wallet: &Wallet| {
        recipient == Some(Recipient::Held(WALLET_CHECK))
            && (overdue.reason.as_deref() != Some(WALLET_REFUSED) || wallet.linked_at > overdue.since)
    };
    if now < end && in_time.is_some_and(|wallet| to_be_asked(&wallet)) {
        schedule_timers(conn, &[(end, WalletDeadlinePassed { grant: passed.grant }.into())]).await?;
        return hold_waiting(conn, now, cause, &waiting, WALLET_CHECK).await;
    }
    let reason = "wallet_deadline_passed";
    set_failed(conn, now, overdue.grant, reason).await?;
    let failed = TokenGrantFailed {
        grant: overdue.grant,
        player,
        amount: overdue.amount,
        reason: reason.to_owned(),
        proof: VoidProof::NeverQueued,
    };
    Ok(vec![NewEvent::caused_by(cause, failed)])
}

/// Tells of every grant that a posting completed.
async fn complete(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    cause: EventId,
    posted: &BudgetPosted,
) -> Result<Vec<NewEvent>, StageError> {
    let mut completed = Vec::new();
    for segment in find_segments(conn, posted.batch).await? {
        let paid = posted.segments.iter().find(|paid| paid.first_seq == segment.first_seq);
        let Some(paid) = paid.filter(|_| segment.campaign == posted.campaign) else { continue };
        let mask = PaidMask::new(paid.first_seq, paid.paid.clone());
        let places = find_places(conn, segment.campaign, segment.first_seq, segment.count).await?;
        let mut seqs = Vec::with_capacity(places.len());
        let is_paid = |place: &&ChainPlace| match place.seq {
            _ if planted!(BitmapIgnored) => true,
            seq if planted!(WrongBit) => mask.contains(seq ^ 1),
            seq => mask.contains(seq),
        };
        for place in places.iter().filter(is_paid) {
            let grant = GrantId { campaign: segment.campaign, number: place.number };
            completed.push(NewEvent::caused_by(cause, TokenGrantCompleted { grant, batch: posted.batch }));
            seqs.push(place.seq);
        }
        mark_posted(conn, now, posted.batch, &segment, &seqs).await?;
    }
    completed.extend(fail_released(conn, now, Some(cause), &[posted.campaign]).await?);
    Ok(completed)
}
