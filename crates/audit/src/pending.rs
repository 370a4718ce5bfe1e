//! What is in the journal and has not been handled yet: it is late, and no difference.

use std::collections::HashSet;

use alloy::primitives::B256;
use laurel_events::{BatchId, CampaignId, Envelope, Event, EventId, EventKind, GrantId, Partition};
use laurel_ledger::{cursor_position, read, read_one};
use sqlx::PgConnection;

use crate::{AuditError, error::inconsistent};

/// The stage that keeps the books.
const BOOKS: &str = "books";

/// The stage that keeps batches in step with the chain.
const SETTLEMENTS: &str = "settlements";

/// The stage that keeps grants in step with the books.
const GRANTS: &str = "grant-saga";

/// Events read at a time.
const EVENTS_MAX: i64 = 1_000;

/// What the stages have before them.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Final transactions that the books have not booked, or not taken back.
    pub(crate) unbooked: HashSet<B256>,
    /// Final transactions that the batches do not know of, or do not know to be gone.
    pub(crate) unsettled: HashSet<B256>,
    /// Caps that the books have not booked, or not taken back.
    pub(crate) unfunded: HashSet<(CampaignId, u64, u32)>,
    /// Campaigns whose release the books have not handled, or not taken back.
    pub(crate) unreturned: HashSet<CampaignId>,
    /// Failed grants whose hold is not voided.
    pub(crate) unvoided: HashSet<GrantId>,
    /// Postings that the grants do not know of.
    pub(crate) unposted: HashSet<(BatchId, CampaignId)>,
    /// Compensated grants whose hold was made again.
    pub(crate) reheld: HashSet<GrantId>,
    /// Grants that were asked for and have neither a place nor a wait.
    pub(crate) unstarted: HashSet<GrantId>,
}

/// Reads it, as of the snapshot that `conn` is in.
pub(crate) async fn read_pending(conn: &mut PgConnection) -> Result<Pending, AuditError> {
    let mut pending = Pending::default();
    let books = [
        EventKind::BlockchainTxConfirmed,
        EventKind::BlockchainTxUndone,
        EventKind::CampaignFunded,
        EventKind::CampaignFundingUndone,
        EventKind::CampaignReleased,
        EventKind::CampaignReleaseUndone,
        EventKind::TokenGrantFailed,
    ];
    for event in unhandled(conn, BOOKS, &books).await? {
        match event {
            Event::BlockchainTxConfirmed(confirmed) => drop(pending.unbooked.insert(confirmed.sighting.tx)),
            Event::CampaignFunded(funded) => {
                pending.unfunded.insert((funded.campaign, funded.block_number, funded.log_index));
            }
            Event::BlockchainTxUndone(undone) => drop(pending.unbooked.insert(undone.sighting.tx)),
            Event::CampaignFundingUndone(event) => {
                let undone = event.undone;
                pending.unfunded.insert((undone.campaign, undone.block_number, undone.log_index));
            }
            Event::CampaignReleased(released) => drop(pending.unreturned.insert(released.campaign)),
            Event::CampaignReleaseUndone(event) => drop(pending.unreturned.insert(event.undone.campaign)),
            Event::TokenGrantFailed(failed) => drop(pending.unvoided.insert(failed.grant)),
            _ => {}
        }
    }
    let settlements =
        [EventKind::BlockchainTxConfirmed, EventKind::BlockchainTxReverted, EventKind::BlockchainTxUndone];
    for event in unhandled(conn, SETTLEMENTS, &settlements).await? {
        match event {
            Event::BlockchainTxConfirmed(confirmed) => drop(pending.unsettled.insert(confirmed.sighting.tx)),
            Event::BlockchainTxReverted(reverted) => drop(pending.unsettled.insert(reverted.sighting.tx)),
            Event::BlockchainTxUndone(undone) => drop(pending.unsettled.insert(undone.sighting.tx)),
            _ => {}
        }
    }
    let grants = [EventKind::BudgetPosted, EventKind::BudgetReheld, EventKind::TokenGrantRequested];
    for event in unhandled(conn, GRANTS, &grants).await? {
        match event {
            Event::BudgetPosted(posted) => drop(pending.unposted.insert((posted.batch, posted.campaign))),
            Event::BudgetReheld(reheld) => drop(pending.reheld.insert(reheld.grant)),
            Event::TokenGrantRequested(requested) => drop(pending.unstarted.insert(requested.grant)),
            _ => {}
        }
    }
    Ok(pending)
}

/// The events of some kinds that a stage has not handled: those behind its cursors, and its open letters.
async fn unhandled(
    conn: &mut PgConnection,
    stage: &str,
    kinds: &[EventKind],
) -> Result<Vec<Event>, AuditError> {
    let heads = sqlx::query!("SELECT part, next FROM heads ORDER BY part").fetch_all(&mut *conn).await?;
    let mut events = Vec::new();
    for head in heads {
        let partition = Partition::new(head.part).ok_or_else(|| inconsistent("heads", "part", head.part))?;
        let mut from = cursor_position(conn, stage, partition).await?;
        while from < head.next {
            let (read, next) = read(conn, partition, from, head.next, kinds, EVENTS_MAX).await?;
            events.extend(read.into_iter().map(|envelope| envelope.event));
            from = next;
        }
    }
    let letters = sqlx::query!(
        r#"
        SELECT part, position, idx FROM dead_letters
        WHERE stage = $1 AND state IN ('retrying', 'dead', 'blocked')
        "#,
        stage,
    )
    .fetch_all(&mut *conn)
    .await?;
    for letter in letters {
        let partition =
            Partition::new(letter.part).ok_or_else(|| inconsistent("dead_letters", "part", letter.part))?;
        let id = EventId { partition, offset: letter.position, index: letter.idx };
        let found: Option<Envelope> = read_one(conn, id).await?;
        events.extend(found.map(|envelope| envelope.event).filter(|event| kinds.contains(&event.kind())));
    }
    Ok(events)
}
