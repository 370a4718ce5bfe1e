//! What a grant was at a moment, from what the journal had said of it by then.

use alloy_primitives::{Address, B256};
use chrono::{DateTime, Utc};
use laurel_chain::{GrantWord, PaidMask};
use laurel_events::{BatchId, BlockchainTxConfirmed, Event, EventId, EventKind};

use crate::{GrantView, TimelineEntry};

/// A grant as it was at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastGrant {
    /// One of the states of the REST interface.
    pub state: &'static str,
    /// Since when it was in it.
    pub since: DateTime<Utc>,
    /// The event that put it there.
    pub event: Option<EventId>,
    /// Why, where the state has a reason.
    pub reason: Option<String>,
    /// Until when a wallet could be linked, while one was awaited.
    pub wallet_until: Option<DateTime<Utc>>,
    /// The sequence number on the chain, once it was given.
    pub seq: Option<u64>,
    /// The wallet that its word pays, once that was settled.
    pub wallet: Option<Address>,
    /// The transaction that had it.
    pub tx: Option<B256>,
    /// The block that had the transaction.
    pub block: Option<u64>,
}

/// What the grant was when everything of its `timeline` had happened that comes before the first step recorded after `as_of`; `None` if
/// it was not granted yet.
pub fn grant_at(grant: &GrantView, timeline: &[TimelineEntry], as_of: DateTime<Utc>) -> Option<PastGrant> {
    let mut fold: Option<Fold<'_>> = None;
    for entry in timeline.iter().take_while(|entry| entry.at <= as_of) {
        match (&mut fold, entry.event) {
            (None, EventKind::TokenGrantRequested) => fold = Some(Fold::new(grant, entry)),
            (None, _) => {}
            (Some(fold), _) => fold.take(entry),
        }
    }
    fold.map(|fold| fold.past)
}

/// A grant on its way.
struct Fold<'a> {
    grant: &'a GrantView,
    past: PastGrant,
    /// The batch that settles it, while it is under way.
    batch: Option<BatchId>,
    /// The newest attempt of that, and whether it settles nothing.
    attempt: Option<(B256, bool)>,
}

impl<'a> Fold<'a> {
    fn new(grant: &'a GrantView, entry: &TimelineEntry) -> Self {
        let past = PastGrant {
            state: "requested",
            since: entry.at,
            event: entry.id,
            reason: None,
            wallet_until: None,
            seq: None,
            wallet: None,
            tx: None,
            block: None,
        };
        Self { grant, past, batch: None, attempt: None }
    }

    /// Puts it into a state, unless it is in it.
    fn enter(&mut self, state: &'static str, entry: &TimelineEntry) {
        if self.past.state != state {
            (self.past.since, self.past.event) = (entry.at, entry.id);
        }
        (self.past.state, self.past.reason, self.past.wallet_until) = (state, entry.reason.clone(), None);
    }

    fn take(&mut self, entry: &TimelineEntry) {
        let in_batch = entry.batch.is_some() && entry.batch == self.batch;
        match entry.event {
            EventKind::TokenGrantAwaitingWallet => {
                self.enter("awaiting_wallet", entry);
                if let Some(Event::TokenGrantAwaitingWallet(event)) = &entry.data {
                    self.past.wallet_until = Some(event.until);
                }
            }
            EventKind::TokenGrantHeld => self.enter("held", entry),
            EventKind::TokenGrantStarted => self.start(entry),
            EventKind::BlockchainTxSubmitted => self.submit(entry),
            EventKind::BlockchainTxReplaced if in_batch => self.replace(entry),
            EventKind::BlockchainTxMined if in_batch => {
                let empty = self.attempt.is_some_and(|(tx, empty)| empty && Some(tx) == entry.tx);
                self.enter(if empty { "submitted" } else { "mined" }, entry);
                (self.past.tx, self.past.block) = (entry.tx, entry.block);
            }
            EventKind::BlockchainTxReorged if in_batch => self.send_again(entry),
            EventKind::BlockchainTxReverted if in_batch => {
                self.enter("queued", entry);
                self.batch = None;
            }
            EventKind::BlockchainTxConfirmed if in_batch => self.confirm(entry),
            EventKind::TokenGrantCompleted => self.enter("completed", entry),
            EventKind::BlockchainTxUndone | EventKind::TokenGrantReopened if in_batch => {
                self.send_again(entry)
            }
            EventKind::TokenGrantFailed => self.enter("failed", entry),
            EventKind::BudgetReleased => {
                let reason = self.past.reason.take();
                self.enter("compensated", entry);
                self.past.reason = reason;
            }
            EventKind::BudgetReheld => self.enter("queued", entry),
            _ => {}
        }
    }

    fn start(&mut self, entry: &TimelineEntry) {
        self.enter("queued", entry);
        // The place is for life, so what is known of it now is what it was then.
        (self.past.seq, self.past.wallet) = match &entry.data {
            Some(Event::TokenGrantStarted(event)) => {
                (Some(event.seq), GrantWord::decode(event.word).map(GrantWord::recipient))
            }
            _ => (self.grant.seq, self.grant.wallet),
        };
    }

    fn submit(&mut self, entry: &TimelineEntry) {
        // What burns the grant's place does not settle it: the failure that follows tells of that.
        if matches!(&entry.data, Some(Event::BlockchainTxSubmitted(event)) if event.cancels.is_some()) {
            return;
        }
        self.batch = entry.batch;
        self.attempt = entry.tx.map(|tx| (tx, false));
        self.enter("submitted", entry);
        (self.past.tx, self.past.block) = (entry.tx, None);
    }

    fn replace(&mut self, entry: &TimelineEntry) {
        let empty = matches!(&entry.data, Some(Event::BlockchainTxReplaced(event)) if event.empty);
        self.attempt = entry.tx.map(|tx| (tx, empty));
        if self.past.block.is_none() {
            self.past.tx = entry.tx;
        }
    }

    fn send_again(&mut self, entry: &TimelineEntry) {
        self.enter("submitted", entry);
        (self.past.tx, self.past.block) = (self.attempt.map(|(tx, _)| tx), None);
    }

    fn confirm(&mut self, entry: &TimelineEntry) {
        let Some(Event::BlockchainTxConfirmed(event)) = &entry.data else { return };
        (self.past.tx, self.past.block) = (entry.tx, entry.block);
        if self.pays(event) {
            self.enter("confirmed", entry);
        } else {
            self.enter("held", entry);
            self.past.reason = Some("refused".to_owned());
            self.batch = None;
        }
    }

    fn pays(&self, confirmed: &BlockchainTxConfirmed) -> bool {
        let Some(seq) = self.past.seq else { return false };
        confirmed.segments.iter().any(|segment| {
            segment.campaign == self.grant.id.campaign
                && PaidMask::new(segment.first_seq, segment.paid.clone()).contains(seq)
        })
    }
}
