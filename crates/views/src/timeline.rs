//! A grant's way, from the outcome to the wallet, as the journal has it: which event led to which.

use std::collections::BTreeSet;

use alloy_primitives::B256;
use chrono::{DateTime, Utc};
use laurel_chain::PaidMask;
use laurel_events::{
    BatchId, Envelope, Event, EventId, EventKind, GrantId, PaidSegment, Partition, Sighting,
};
use laurel_ledger::{LedgerError, read_chunk};
use sqlx::PgConnection;

use crate::{
    GrantView,
    history::{event_id, steps},
};

/// A step on a grant's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineEntry {
    /// The kind of event.
    pub event: EventKind,
    /// When it was recorded.
    pub at: DateTime<Utc>,
    /// Where the journal has it; `None` for as long as the views have not got there.
    pub id: Option<EventId>,
    /// The event that led to it.
    pub cause: Option<EventId>,
    /// The request that led to it.
    pub request_id: Option<String>,
    /// Why, where the event has a reason.
    pub reason: Option<String>,
    /// The batch.
    pub batch: Option<BatchId>,
    /// The transaction.
    pub tx: Option<B256>,
    /// The block that has the transaction, or had it.
    pub block: Option<u64>,
    /// What it says; `None` where the journal was not read.
    pub data: Option<Event>,
}

impl TimelineEntry {
    fn plain(event: EventKind, at: DateTime<Utc>) -> Self {
        Self {
            event,
            at,
            id: None,
            cause: None,
            request_id: None,
            reason: None,
            batch: None,
            tx: None,
            block: None,
            data: None,
        }
    }
}

impl From<Envelope> for TimelineEntry {
    fn from(envelope: Envelope) -> Self {
        let seen = |sighting: &Sighting| (sighting.batch, Some(sighting.tx), Some(sighting.block_number));
        let (batch, tx, block) = match &envelope.event {
            Event::BlockchainTxSubmitted(event) => (Some(event.batch), Some(event.tx), None),
            Event::BlockchainTxReplaced(event) => (Some(event.batch), Some(event.tx), None),
            Event::BlockchainTxMined(event) => seen(&event.sighting),
            Event::BlockchainTxReorged(event) => seen(&event.sighting),
            Event::BlockchainTxConfirmed(event) => seen(&event.sighting),
            Event::BlockchainTxReverted(event) => seen(&event.sighting),
            Event::BlockchainTxUndone(event) => seen(&event.sighting),
            Event::TokenGrantCompleted(event) => (Some(event.batch), None, None),
            Event::TokenGrantReopened(event) => (Some(event.batch), None, None),
            Event::BudgetPosted(event) => (Some(event.batch), Some(event.tx), None),
            Event::BudgetUnposted(event) => (Some(event.batch), Some(event.tx), None),
            _ => (None, None, None),
        };
        let reason = match &envelope.event {
            Event::TokenGrantHeld(event) => Some(event.reason.clone()),
            Event::TokenGrantFailed(event) => Some(event.reason.clone()),
            _ => None,
        };
        Self {
            id: Some(envelope.id),
            cause: envelope.cause,
            request_id: envelope.request_id,
            reason,
            batch,
            tx,
            block,
            ..Self::plain(envelope.event.kind(), envelope.recorded_at)
        }
        .saying(envelope.event)
    }
}

impl TimelineEntry {
    fn saying(self, event: Event) -> Self {
        Self { data: Some(event), ..self }
    }
}

/// The steps that a grant has taken, from the outcome on.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn grant_timeline(
    conn: &mut PgConnection,
    grant: &GrantView,
) -> Result<Vec<TimelineEntry>, LedgerError> {
    let batches = grant_batches(conn, grant).await?;
    let mut chunks: BTreeSet<(Partition, i64)> = shared_chunks(conn, grant, &batches).await?;
    let outcome = event_id(grant.place)?;
    let own: BTreeSet<EventId> =
        std::iter::once(outcome).chain(steps(conn, grant.id, &batches).await?).collect();
    chunks.extend(own.iter().map(|id| (id.partition, id.offset)));
    let mut timeline = Vec::new();
    for (partition, offset) in chunks {
        let events = read_chunk(conn, partition, offset).await?;
        let events =
            events.into_iter().filter(|envelope| own.contains(&envelope.id) || shares(grant, envelope));
        timeline.extend(events.map(TimelineEntry::from));
    }
    // What the views have not come to yet is known without them.
    let plain = [
        (EventKind::TokenGrantRequested, Some(grant.granted_at)),
        (EventKind::TokenGrantStarted, grant.queued_at),
        (EventKind::TokenGrantCompleted, grant.posted_at),
    ];
    for (kind, at) in plain {
        let Some(at) = at else { continue };
        if !timeline.iter().any(|entry| entry.event == kind && entry.at >= at) {
            timeline.push(TimelineEntry { batch: grant.batch, ..TimelineEntry::plain(kind, at) });
        }
    }
    Ok(in_order(timeline))
}

/// The steps in the order in which they were taken. Clocks differ, and a transaction may begin before another that it follows: so nothing
/// comes before what led to it, nor before what its partition has before it. What one transaction recorded has one time: there the
/// order of causes decides.
fn in_order(timeline: Vec<TimelineEntry>) -> Vec<TimelineEntry> {
    let mut times: Vec<DateTime<Utc>> = timeline.iter().map(|entry| entry.at).collect();
    let precedes = |one: &TimelineEntry, other: &TimelineEntry| {
        let (Some(one), Some(id)) = (one.id, other.id) else { return false };
        other.cause == Some(one) || (one.partition == id.partition && one < id)
    };
    // A way of so many steps is known after so many rounds.
    for _ in 0..timeline.len() {
        let before = times.clone();
        for (at, entry) in timeline.iter().enumerate() {
            let earlier =
                timeline.iter().zip(&before).filter(|(one, _)| precedes(one, entry)).map(|(_, at)| *at);
            times[at] = earlier.max().map_or(times[at], |earlier| times[at].max(earlier));
        }
        if times == before {
            break;
        }
    }
    let mut steps: Vec<(DateTime<Utc>, TimelineEntry)> = times.into_iter().zip(timeline).collect();
    steps.sort_by_key(|(at, entry)| (*at, rank(entry.event), entry.id));
    steps.into_iter().map(|(_, entry)| entry).collect()
}

/// A segment holds at most this many places, so that the segments of a place begin within this many before it.
const SEGMENT_MAX: i64 = 1_000;

/// The batches that the grant has been in, and those that burned its place.
///
/// # Errors
/// If the database does not answer.
pub async fn grant_batches(conn: &mut PgConnection, grant: &GrantView) -> Result<Vec<BatchId>, LedgerError> {
    let batches = sqlx::query_scalar!(
        r#"
        SELECT batch AS "batch!" FROM segments
        WHERE campaign = $1 AND first_seq <= $2 AND first_seq > $2 - $3 AND first_seq + count > $2
          AND $2 <> ALL (holes)
        UNION ALL
        SELECT batch FROM cancels WHERE campaign = $1 AND seq = $2
        "#,
        grant.id.campaign.number(),
        grant.seq.map(u64::cast_signed),
        SEGMENT_MAX,
    );
    Ok(batches.fetch_all(conn).await?.into_iter().map(BatchId::from).collect())
}

/// The chunks of the journal that tell of the grant together with others.
async fn shared_chunks(
    conn: &mut PgConnection,
    grant: &GrantView,
    batches: &[BatchId],
) -> Result<BTreeSet<(Partition, i64)>, LedgerError> {
    let batches: Vec<uuid::Uuid> = batches.iter().map(|batch| batch.uuid()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT part AS "part!", position AS "position!"
        FROM (
            (SELECT part, position, last, $2::bigint AS wanted FROM campaign_journal
             WHERE campaign = $1 AND kind = 'TokenGrantRequested' AND first <= $2 ORDER BY first DESC LIMIT 1)
            UNION ALL
            (SELECT part, position, last, $3::bigint FROM campaign_journal
             WHERE campaign = $1 AND kind = 'TokenGrantStarted' AND first <= $3 ORDER BY first DESC LIMIT 1)
        ) ranges
        WHERE last >= wanted
        UNION
        SELECT part, position FROM campaign_journal
        WHERE batch = ANY ($4) AND campaign = $1
          AND kind IN ('TokenGrantCompleted', 'TokenGrantReopened', 'BudgetPosted', 'BudgetUnposted')
        "#,
        grant.id.campaign.number(),
        grant.id.number.cast_signed(),
        grant.seq.map(u64::cast_signed),
        &batches,
    )
    .fetch_all(conn)
    .await?;
    let places = rows.into_iter().map(|row| {
        let id = event_id((row.part, row.position, 0))?;
        Ok((id.partition, id.offset))
    });
    places.collect()
}

/// Whether an event that tells of many grants tells of this one.
fn shares(grant: &GrantView, envelope: &Envelope) -> bool {
    let is = |other: GrantId| other == grant.id;
    let pays = |campaign, segments: &[PaidSegment]| {
        campaign == grant.id.campaign && grant.seq.is_some_and(|seq| pays_place(segments, seq))
    };
    match &envelope.event {
        Event::TokenGrantRequested(event) => is(event.grant),
        Event::TokenGrantStarted(event) => is(event.grant),
        Event::TokenGrantCompleted(event) => is(event.grant),
        Event::TokenGrantReopened(event) => is(event.grant),
        Event::BudgetPosted(event) => pays(event.campaign, &event.segments),
        Event::BudgetUnposted(event) => pays(event.campaign, &event.segments),
        _ => false,
    }
}

fn pays_place(segments: &[PaidSegment], seq: u64) -> bool {
    segments.iter().any(|segment| PaidMask::new(segment.first_seq, segment.paid.clone()).contains(seq))
}

/// The place of a kind in the order of causes.
fn rank(kind: EventKind) -> usize {
    const ORDER: [EventKind; 18] = [
        EventKind::GameOutcomeRecorded,
        EventKind::TokenGrantRequested,
        EventKind::TokenGrantAwaitingWallet,
        EventKind::TokenGrantStarted,
        EventKind::BlockchainTxSubmitted,
        EventKind::BlockchainTxReplaced,
        EventKind::BlockchainTxUndone,
        EventKind::BudgetUnposted,
        EventKind::TokenGrantReopened,
        EventKind::BudgetReheld,
        EventKind::BlockchainTxReorged,
        EventKind::BlockchainTxMined,
        EventKind::BlockchainTxReverted,
        EventKind::BlockchainTxConfirmed,
        EventKind::TokenGrantHeld,
        EventKind::BudgetPosted,
        EventKind::TokenGrantCompleted,
        EventKind::TokenGrantFailed,
    ];
    ORDER.iter().position(|other| *other == kind).unwrap_or(ORDER.len())
}
