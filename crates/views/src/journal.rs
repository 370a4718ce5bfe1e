//! The journal as its readers see it: the events of one organisation, about in the order of time.
//!
//! ```text
//!   partition 0  ──o────o──►┐
//!   partition 1  o──o───────┼─► the heads of rows, by the time at which they were recorded ──► a page
//!   …                       │        ╰─ their events are read only then
//!   partition 15 ───────o──►┘
//! ```
//!
//! A cursor is a place in each partition, so what is appended meanwhile moves nothing: it comes when the list has got there.

use std::{collections::BTreeSet, fmt, str::FromStr};

use chrono::{DateTime, TimeDelta, Utc};
use laurel_events::{
    BatchId, CampaignId, Envelope, Event, EventId, EventKind, OrgId, PARTITIONS, Partition, PlayerId, Subject,
};
use laurel_ledger::{LedgerError, journal_heads, read_chunks, read_one};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::history::event_id;

/// How many rows of each partition are looked at for one page.
const ROWS_MAX: i64 = 4_000;

/// How many wanted rows of each partition are found for one page.
const HEADS_MAX: i64 = 500;

/// How many events are read for one page: a filter may leave few of them.
const EVENTS_MAX: i32 = 4_000;

/// How far rows of a partition may be out of the order of their times: a transaction begins before it gets its place, and
/// clocks differ.
const DISORDER_MAX: TimeDelta = TimeDelta::minutes(5);

/// A place in each partition: an offset, and how many events of the chunk there are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalCursor([(i64, i32); PARTITIONS as usize]);

/// A text that is no place in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no place in the journal")]
pub struct NoJournalCursor;

impl fmt::Display for JournalCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (offset, events)) in self.0.iter().enumerate() {
            let between = if at == 0 { "" } else { "-" };
            match events {
                0 => write!(f, "{between}{offset}")?,
                _ => write!(f, "{between}{offset}.{events}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for JournalCursor {
    type Err = NoJournalCursor;

    fn from_str(text: &str) -> Result<Self, NoJournalCursor> {
        let mut places = text.split('-').map(|place| {
            let (offset, events) = place.split_once('.').unwrap_or((place, "0"));
            let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            let place = (offset.parse().ok()?, events.parse().ok()?);
            (plain(offset) && plain(events)).then_some(place)
        });
        let mut cursor = [(0, 0); PARTITIONS as usize];
        for place in &mut cursor {
            *place = places.next().flatten().ok_or(NoJournalCursor)?;
        }
        if places.next().is_some() { Err(NoJournalCursor) } else { Ok(Self(cursor)) }
    }
}

/// Which events are wanted. What is empty or `None` is not asked for.
#[derive(Clone, Debug, Default)]
pub struct JournalFilter {
    /// Of these kinds.
    pub kinds: Vec<EventKind>,
    /// About that.
    pub about: Option<Subject>,
    /// Recorded at this moment or later, and before that one.
    pub recorded: (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
    /// Behind this place.
    pub after: Option<JournalCursor>,
}

/// An event that an organisation may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// The event.
    pub envelope: Envelope,
    /// Whether something of it is left out because it is another organisation's.
    pub is_redacted: bool,
}

/// Some of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalPage {
    /// The events; there may be fewer than were asked for, or none, and yet more behind.
    pub entries: Vec<JournalEntry>,
    /// Where it goes on; `None` where everything that was committed by then was looked at.
    pub next: Option<JournalCursor>,
}

/// A row of the journal, without its events.
struct Head {
    partition: Partition,
    position: i64,
    entries: i32,
}

/// What is looked at for a page, by partition.
struct Windows {
    /// Where each begins.
    from: [i64; PARTITIONS as usize],
    /// Where each ends.
    to: [i64; PARTITIONS as usize],
    /// Where the partition ends, as far as it is asked for.
    end: [i64; PARTITIONS as usize],
}

impl Windows {
    async fn of(
        conn: &mut PgConnection,
        filter: &JournalFilter,
        after: JournalCursor,
    ) -> Result<Self, LedgerError> {
        let mut end = [0; PARTITIONS as usize];
        for (partition, next) in journal_heads(conn).await?.iter() {
            end[usize::from(partition.unsigned_abs())] = next;
        }
        if let Some(until) = filter.recorded.1 {
            end = first_since(conn, end, until.checked_add_signed(DISORDER_MAX).unwrap_or(until)).await?;
        }
        if let Some(about) = &filter.about {
            let only = index(about.partition());
            for (at, end) in end.iter_mut().enumerate().filter(|(at, _)| *at != only) {
                *end = (*end).min(after.0[at].0);
            }
        }
        let from = after.0.map(|(offset, _)| offset);
        let mut to = from.map(|from| from.saturating_add(ROWS_MAX));
        for (to, end) in to.iter_mut().zip(end) {
            *to = (*to).min(end);
        }
        Ok(Self { from, to, end })
    }

    /// The wanted rows, those that were recorded first before all others; of a partition [`HEADS_MAX`] at the most.
    async fn heads(&self, conn: &mut PgConnection, filter: &JournalFilter) -> Result<Vec<Head>, LedgerError> {
        let kinds: Vec<String> = filter.kinds.iter().map(|kind| kind.as_str().to_owned()).collect();
        // A partition's rows stay in their order, also where their times do not.
        let rows = sqlx::query!(
            r#"
            SELECT part AS "part!", position AS "position!", entries AS "entries!"
            FROM (
                SELECT j.part, j.position, j.entries,
                       max(j.recorded_at) OVER (PARTITION BY j.part ORDER BY j.position) AS by_then
                FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS w (part, first, past)
                CROSS JOIN LATERAL (
                    SELECT part, position, entries, recorded_at FROM journal
                    WHERE part = w.part AND position >= w.first AND position < w.past
                      AND (cardinality($4::text[]) = 0 OR kind = ANY ($4))
                      AND ($5::timestamptz IS NULL OR recorded_at >= $5)
                      AND ($6::timestamptz IS NULL OR recorded_at < $6)
                    ORDER BY position
                    LIMIT $7
                ) j
            ) found
            ORDER BY by_then, part, position
            "#,
            &Partition::all().map(Partition::number).collect::<Vec<_>>(),
            &self.from,
            &self.to,
            &kinds,
            filter.recorded.0,
            filter.recorded.1,
            HEADS_MAX,
        )
        .fetch_all(conn)
        .await?;
        let heads = rows.into_iter().map(|row| {
            let id = event_id((row.part, row.position, 0))?;
            Ok(Head { partition: id.partition, position: row.position, entries: row.entries })
        });
        heads.collect()
    }

    /// A page that ends before `next`.
    fn page(&self, entries: Vec<JournalEntry>, next: JournalCursor) -> JournalPage {
        let is_over = next.0.iter().zip(self.end).all(|((offset, _), end)| *offset >= end);
        JournalPage { entries, next: (!is_over).then_some(next) }
    }
}

fn index(partition: Partition) -> usize {
    usize::from(partition.number().unsigned_abs())
}

/// The first row of each partition, before `ends`, that may have been recorded at `moment` or later, as far as rows are in the order of
/// their times.
async fn first_since(
    conn: &mut PgConnection,
    ends: [i64; PARTITIONS as usize],
    moment: DateTime<Utc>,
) -> Result<[i64; PARTITIONS as usize], LedgerError> {
    let parts: Vec<i16> = Partition::all().map(Partition::number).collect();
    let (mut low, mut high) = ([0; PARTITIONS as usize], ends);
    while low != high {
        let middle: Vec<i64> = low.iter().zip(high).map(|(low, high)| low + (high - low) / 2).collect();
        let rows = sqlx::query_scalar!(
            r#"
            SELECT (SELECT recorded_at < $3 FROM journal WHERE part = u.part AND position = u.position)
            FROM unnest($1::smallint[], $2::bigint[]) WITH ORDINALITY AS u (part, position, at)
            ORDER BY at
            "#,
            &parts,
            &middle,
            moment,
        );
        for (at, is_before) in rows.fetch_all(&mut *conn).await?.into_iter().enumerate() {
            match is_before {
                _ if low[at] == high[at] => {}
                // A range that was archived is before everything that is asked for.
                Some(true) | None => low[at] = middle[at] + 1,
                Some(false) => high[at] = middle[at],
            }
        }
    }
    Ok(low)
}

/// Where the journal begins, as far as it is asked for.
async fn begin(conn: &mut PgConnection, filter: &JournalFilter) -> Result<JournalCursor, LedgerError> {
    let Some(moment) = filter.recorded.0 else { return Ok(JournalCursor([(0, 0); PARTITIONS as usize])) };
    let mut ends = [0; PARTITIONS as usize];
    for (partition, next) in journal_heads(conn).await?.iter() {
        ends[usize::from(partition.unsigned_abs())] = next;
    }
    let moment = moment.checked_sub_signed(DISORDER_MAX).unwrap_or(moment);
    Ok(JournalCursor(first_since(conn, ends, moment).await?.map(|offset| (offset, 0))))
}

/// Reads some of the journal of `org`: `limit` events at the most.
///
/// # Errors
/// If a row cannot be read or the database does not answer.
pub async fn list_journal(
    conn: &mut PgConnection,
    org: OrgId,
    filter: &JournalFilter,
    limit: usize,
) -> Result<JournalPage, LedgerError> {
    let mut cursor = match filter.after {
        Some(after) => after,
        None => begin(conn, filter).await?,
    };
    let windows = Windows::of(conn, filter, cursor).await?;
    let heads = windows.heads(conn, filter).await?;
    let mut found = [0; PARTITIONS as usize];
    for head in &heads {
        found[index(head.partition)] += 1;
    }
    let mut entries = Vec::with_capacity(limit);
    let mut read = 0;
    let mut heads = heads.as_slice();
    while !heads.is_empty() && entries.len() < limit && read < EVENTS_MAX {
        let left = limit - entries.len();
        let (now, later) = heads.split_at(rows_for(heads, left));
        heads = later;
        read += now.iter().map(|head| head.entries).sum::<i32>();
        let chunks: Vec<_> = now.iter().map(|head| (head.partition, head.position)).collect();
        let after = cursor;
        let wanted = read_chunks(conn, &chunks).await?.into_iter().filter(|envelope| {
            let (offset, over) = after.0[index(envelope.id.partition)];
            let is_new = offset < envelope.id.offset || envelope.id.index >= over;
            is_new && filter.about.as_ref().is_none_or(|about| envelope.subject() == *about)
        });
        let mut own = own_events(conn, org, wanted.collect()).await?;
        for head in now {
            cursor.0[index(head.partition)] = (head.position + 1, 0);
        }
        // All but what fits was read in vain, and is read again.
        if let Some(next) = own.get(left).map(|entry| entry.envelope.id) {
            own.truncate(left);
            let cut =
                now.iter().position(|head| (head.partition, head.position) == (next.partition, next.offset));
            let unread = &now[cut.unwrap_or(0)..];
            for head in unread.iter().chain(later).rev() {
                cursor.0[index(head.partition)] = (head.position, 0);
            }
            cursor.0[index(next.partition)] = (next.offset, next.index);
            entries.extend(own);
            return Ok(windows.page(entries, cursor));
        }
        entries.extend(own);
    }
    let unread: BTreeSet<usize> = heads.iter().map(|head| index(head.partition)).collect();
    for (at, place) in cursor.0.iter_mut().enumerate() {
        // Where all wanted rows were read, there is nothing more in the whole window.
        if !unread.contains(&at) && found[at] < HEADS_MAX && place.0 < windows.to[at] {
            *place = (windows.to[at], 0);
        }
    }
    Ok(windows.page(entries, cursor))
}

/// An event, if there is one that `org` may read.
///
/// # Errors
/// If its row cannot be read or the database does not answer.
pub async fn find_event(
    conn: &mut PgConnection,
    org: OrgId,
    id: EventId,
) -> Result<Option<JournalEntry>, LedgerError> {
    let found = read_one(conn, id).await?;
    Ok(own_events(conn, org, found.into_iter().collect()).await?.pop())
}

/// How many of the rows hold `wanted` events, were all of them wanted.
fn rows_for(heads: &[Head], wanted: usize) -> usize {
    let mut events = 0;
    let enough = heads.iter().position(|head| {
        events += usize::try_from(head.entries).unwrap_or(0);
        events >= wanted
    });
    enough.map_or(heads.len(), |last| last + 1)
}

/// Whose an event is.
enum Owner {
    Org(OrgId),
    Campaign(CampaignId),
    Player(PlayerId),
    /// Of all whose campaigns the batch settles something of.
    Batch(BatchId),
    /// Done for all.
    Everybody,
    /// What only operators are told.
    Nobody,
}

impl Owner {
    fn of(envelope: &Envelope) -> Self {
        match &envelope.event {
            Event::StaffActed(event) => event.org.map_or(Self::Everybody, Self::Org),
            Event::PersonalDataRead(event) => Self::Org(event.org),
            Event::BlockchainTxSubmitted(event) => Self::Batch(event.batch),
            Event::BlockchainTxReplaced(event) => Self::Batch(event.batch),
            Event::BlockchainTxMined(event) => Self::of_sighting(event.sighting.batch),
            Event::BlockchainTxReorged(event) => Self::of_sighting(event.sighting.batch),
            Event::BlockchainTxConfirmed(event) => Self::of_sighting(event.sighting.batch),
            Event::BlockchainTxReverted(event) => Self::of_sighting(event.sighting.batch),
            Event::BlockchainTxUndone(event) => Self::of_sighting(event.sighting.batch),
            _ => match envelope.subject().as_str().split_once(':') {
                Some(("campaign", id)) => id.parse().map_or(Self::Nobody, Self::Campaign),
                Some(("player", id)) => id.parse().map_or(Self::Nobody, Self::Player),
                _ => Self::Nobody,
            },
        }
    }

    fn of_sighting(batch: Option<BatchId>) -> Self {
        batch.map_or(Self::Nobody, Self::Batch)
    }
}

/// Those of `events` that `org` may read, without what is others'.
async fn own_events(
    conn: &mut PgConnection,
    org: OrgId,
    events: Vec<Envelope>,
) -> Result<Vec<JournalEntry>, LedgerError> {
    let owners: Vec<Owner> = events.iter().map(Owner::of).collect();
    let mut campaigns: BTreeSet<CampaignId> = events.iter().flat_map(|event| settled(&event.event)).collect();
    campaigns.extend(owners.iter().filter_map(|owner| match owner {
        Owner::Campaign(id) => Some(*id),
        _ => None,
    }));
    let players: Vec<Uuid> = owners
        .iter()
        .filter_map(|owner| match owner {
            Owner::Player(id) => Some(id.uuid()),
            _ => None,
        })
        .collect();
    let batches: Vec<Uuid> = owners
        .iter()
        .filter_map(|owner| match owner {
            Owner::Batch(id) => Some(id.uuid()),
            _ => None,
        })
        .collect();
    let campaigns: Vec<i64> = campaigns.into_iter().map(CampaignId::number).collect();
    let own = Own::find(conn, org, &campaigns, &players, &batches).await?;
    let told = owners.into_iter().zip(events).filter(|(owner, _)| own.has(org, owner));
    Ok(told.map(|(_, envelope)| own.redact(envelope)).collect())
}

/// The campaigns of which a transaction's event tells.
fn settled(event: &Event) -> Vec<CampaignId> {
    match event {
        Event::BlockchainTxSubmitted(event) => {
            let burnt = event.cancels.iter().map(|cancel| cancel.campaign);
            event.segments.iter().map(|segment| segment.campaign).chain(burnt).collect()
        }
        Event::BlockchainTxConfirmed(event) => {
            event.segments.iter().map(|segment| segment.campaign).collect()
        }
        Event::BlockchainTxUndone(event) => event.segments.iter().map(|segment| segment.campaign).collect(),
        _ => Vec::new(),
    }
}

/// What is an organisation's, of what some events name.
struct Own {
    campaigns: BTreeSet<CampaignId>,
    players: BTreeSet<PlayerId>,
    batches: BTreeSet<BatchId>,
}

impl Own {
    async fn find(
        conn: &mut PgConnection,
        org: OrgId,
        campaigns: &[i64],
        players: &[Uuid],
        batches: &[Uuid],
    ) -> Result<Self, LedgerError> {
        let rows = sqlx::query!(
            r#"
            SELECT id AS campaign, NULL::uuid AS player, NULL::uuid AS batch FROM campaigns
            WHERE id = ANY ($2) AND org = $1
            UNION ALL
            SELECT NULL, id, NULL FROM players WHERE id = ANY ($3) AND org = $1
            UNION ALL
            SELECT NULL, NULL, batch FROM (
                SELECT s.batch FROM segments s JOIN campaigns c ON c.id = s.campaign
                WHERE s.batch = ANY ($4) AND c.org = $1
                UNION
                SELECT x.batch FROM cancels x JOIN campaigns c ON c.id = x.campaign
                WHERE x.batch = ANY ($4) AND c.org = $1
            ) own
            "#,
            org.0,
            campaigns,
            players,
            batches,
        )
        .fetch_all(conn)
        .await?;
        let mut own = Self { campaigns: BTreeSet::new(), players: BTreeSet::new(), batches: BTreeSet::new() };
        for row in rows {
            own.campaigns.extend(row.campaign.map(|id| CampaignId::from(id.cast_unsigned())));
            own.players.extend(row.player.map(PlayerId::from));
            own.batches.extend(row.batch.map(BatchId::from));
        }
        Ok(own)
    }

    fn has(&self, org: OrgId, owner: &Owner) -> bool {
        match owner {
            Owner::Org(other) => *other == org,
            Owner::Campaign(id) => self.campaigns.contains(id),
            Owner::Player(id) => self.players.contains(id),
            Owner::Batch(id) => self.batches.contains(id),
            Owner::Everybody => true,
            Owner::Nobody => false,
        }
    }

    /// The event without what it says of other organisations' campaigns.
    fn redact(&self, mut envelope: Envelope) -> JournalEntry {
        let before = settled(&envelope.event).len();
        match &mut envelope.event {
            Event::BlockchainTxSubmitted(event) => {
                event.segments.retain(|segment| self.campaigns.contains(&segment.campaign));
                event.cancels = event.cancels.filter(|cancel| self.campaigns.contains(&cancel.campaign));
            }
            Event::BlockchainTxConfirmed(event) => {
                event.segments.retain(|segment| self.campaigns.contains(&segment.campaign));
            }
            Event::BlockchainTxUndone(event) => {
                event.segments.retain(|segment| self.campaigns.contains(&segment.campaign));
            }
            _ => {}
        }
        let is_redacted = settled(&envelope.event).len() < before;
        JournalEntry { envelope, is_redacted }
    }
}
