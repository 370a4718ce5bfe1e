//! The stage that gives grants their places and tells when they are complete.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use laurel_bus::{Stage, StageError, cancel_timers, schedule_timers};
use laurel_chain::{GrantWord, PaidMask};
use laurel_events::{
    BudgetPosted, Envelope, Event, EventId, EventKind, GrantId, NewEvent, PlayerId, TokenGrantAwaitingWallet,
    TokenGrantCompleted, TokenGrantFailed, TokenGrantHeld, TokenGrantRequested, TokenGrantStarted, VoidProof,
    WalletDeadlinePassed, WalletKind, WalletLinked,
};
use laurel_ledger::{find_places, find_segments, reserved_addresses};
use sqlx::PgConnection;

use crate::{
    exceptions::{
        Awaiting, RESERVED_RECIPIENT, WALLET_CHECK, Waiting, fail_awaiting, insert_waiting, lock_awaiting,
        set_compensated, set_held,
    },
    queue::{Seated, enqueue},
    recipients::{Recipient, recipients},
    seats::seat_waiting,
    settlements::mark_posted,
};

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
        ]
    }

    async fn handle(
        &self,
        conn: &mut PgConnection,
        now: DateTime<Utc>,
        events: &[Envelope],
    ) -> Result<Vec<NewEvent>, StageError> {
        let mut effects = Vec::new();
        let mut requests: Vec<(EventId, &TokenGrantRequested)> = Vec::new();
        for envelope in events {
            if let Event::TokenGrantRequested(requested) = &envelope.event {
                requests.push((envelope.id, requested));
                continue;
            }
            // The order within a partition is kept: what was requested before comes first.
            effects.extend(start(conn, now, &std::mem::take(&mut requests)).await?);
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
                Event::BudgetReleased(released) => set_compensated(conn, now, released.grant).await?,
                _ => {}
            }
        }
        effects.extend(start(conn, now, &requests).await?);
        Ok(effects)
    }
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
    let given = enqueue(conn, now, &seated, true).await?;
    insert_waiting(conn, now, &waiting).await?;
    schedule_deadlines(conn, &waiting).await?;
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
    Ok(effects.collect())
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
    let until = now + TimeDelta::hours(i64::from(request.wallet_deadline_hours));
    Waiting {
        grant: request.grant,
        player: request.player,
        chain_id: request.chain_id,
        amount: request.amount,
        until: reason.is_none().then_some(until),
        reason,
    }
}

fn waiting_event(waiting: &Waiting) -> Event {
    match (waiting.until, waiting.reason) {
        (Some(until), _) => {
            TokenGrantAwaitingWallet { grant: waiting.grant, player: waiting.player, until }.into()
        }
        (None, reason) => {
            let reason = reason.unwrap_or(WALLET_CHECK).to_owned();
            TokenGrantHeld { grant: waiting.grant, reason }.into()
        }
    }
}

async fn schedule_deadlines(conn: &mut PgConnection, waiting: &[Waiting]) -> Result<(), StageError> {
    let deadlines: Vec<(DateTime<Utc>, Event)> = waiting
        .iter()
        .filter_map(|waiting| Some((waiting.until?, WalletDeadlinePassed { grant: waiting.grant }.into())))
        .collect();
    schedule_timers(conn, &deadlines).await
}

/// Queues what waited for the wallet, or for another wallet.
async fn wallet_linked(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    cause: EventId,
    linked: &WalletLinked,
) -> Result<Vec<NewEvent>, StageError> {
    let awaiting = lock_awaiting(conn, linked.player, linked.chain_id).await?;
    if awaiting.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<String> = awaiting.iter().map(|awaiting| awaiting.grant.to_string()).collect();
    cancel_timers(conn, EventKind::WalletDeadlinePassed, &keys).await?;
    if linked.kind == WalletKind::Contract {
        // It is asked again before its grants are queued.
        return hold_waiting(conn, now, cause, &awaiting, WALLET_CHECK).await;
    }
    if !reserved_addresses(conn, linked.chain_id, &[linked.wallet]).await?.is_empty() {
        return hold_waiting(conn, now, cause, &awaiting, RESERVED_RECIPIENT).await;
    }
    let started = seat_waiting(conn, now, linked.wallet, &awaiting).await?;
    Ok(started.into_iter().map(|started| NewEvent::caused_by(cause, started)).collect())
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

/// Fails a grant that still awaits its wallet. One whose wallet came first is left alone.
async fn deadline_passed(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    cause: EventId,
    passed: &WalletDeadlinePassed,
) -> Result<Option<NewEvent>, StageError> {
    let reason = "wallet_deadline_passed";
    let failed = fail_awaiting(conn, now, passed.grant, reason).await?;
    Ok(failed.map(|failed| {
        let failed = TokenGrantFailed {
            grant: failed.grant,
            player: failed.player,
            amount: failed.amount,
            reason: reason.to_owned(),
            proof: VoidProof::NeverQueued,
        };
        NewEvent::caused_by(cause, failed)
    }))
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
        for place in places.iter().filter(|place| mask.contains(place.seq)) {
            let grant = GrantId { campaign: segment.campaign, number: place.number };
            completed.push(NewEvent::caused_by(cause, TokenGrantCompleted { grant, batch: posted.batch }));
            seqs.push(place.seq);
        }
        mark_posted(conn, now, posted.batch, &segment, &seqs).await?;
    }
    Ok(completed)
}
