//! The journal: append-only, gapless offsets per partition.

use chrono::{DateTime, Utc};
use laurel_events::{
    Chunk, ChunkHeader, Envelope, EventId, EventKind, NewEvent, Partition, decode_chunk, encode_chunk,
};
use sqlx::PgConnection;

use crate::LedgerError;

/// What all events of a transaction have in common.
#[derive(Clone, Debug)]
pub struct Context {
    /// When the transaction began.
    pub now: DateTime<Utc>,
    /// The request that led to it.
    pub request_id: Option<String>,
    /// Its W3C trace context.
    pub trace: Option<String>,
}

impl Context {
    /// The context of a transaction that no request led to.
    pub const fn at(now: DateTime<Utc>) -> Self {
        Self { now, request_id: None, trace: None }
    }
}

/// Appends `events`; the transaction holds the partition heads from here to its end, so little should follow. Returns
/// where each event stands.
///
/// # Errors
/// If an event has no canonical form or the database does not answer.
pub async fn append(
    conn: &mut PgConnection,
    context: &Context,
    events: &[NewEvent],
) -> Result<Vec<EventId>, LedgerError> {
    Ok(append_each(conn, &[(context, events)]).await?.pop().unwrap_or_default())
}

/// The same for several requests, each with what is its own.
///
/// # Errors
/// If an event has no canonical form or the database does not answer.
pub async fn append_each(
    conn: &mut PgConnection,
    requests: &[(&Context, &[NewEvent])],
) -> Result<Vec<Vec<EventId>>, LedgerError> {
    let mut chunks: Vec<(&Context, Chunk)> = Vec::new();
    let mut ends = Vec::with_capacity(requests.len());
    for (context, events) in requests {
        chunks.extend(encode_chunk(events)?.into_iter().map(|chunk| (*context, chunk)));
        ends.push(chunks.len());
    }
    let offsets = if chunks.is_empty() { Vec::new() } else { append_chunks(conn, &chunks).await? };
    let mut begin = 0;
    let placed = requests.iter().zip(ends).map(|((_, events), end)| {
        let ids = event_ids(events, &chunks[begin..end], &offsets[begin..end]);
        begin = end;
        ids
    });
    Ok(placed.collect())
}

/// The chunks' offsets.
async fn append_chunks(
    conn: &mut PgConnection,
    chunks: &[(&Context, Chunk)],
) -> Result<Vec<i64>, LedgerError> {
    let parts: Vec<i16> = chunks.iter().map(|(_, chunk)| chunk.partition.number()).collect();
    let kinds: Vec<String> = chunks.iter().map(|(_, chunk)| chunk.kind.as_str().to_owned()).collect();
    let versions: Vec<i16> = chunks.iter().map(|(_, chunk)| chunk.kind.version()).collect();
    let entries: Vec<i32> = chunks.iter().map(|(_, chunk)| chunk.entries).collect();
    let recorded: Vec<DateTime<Utc>> = chunks.iter().map(|(context, _)| context.now).collect();
    let request_ids: Vec<Option<&str>> =
        chunks.iter().map(|(context, _)| context.request_id.as_deref()).collect();
    let traces: Vec<Option<&str>> = chunks.iter().map(|(context, _)| context.trace.as_deref()).collect();
    let payloads: Vec<&[u8]> = chunks.iter().map(|(_, chunk)| chunk.payload.as_slice()).collect();
    let digests: Vec<&[u8]> = chunks.iter().map(|(_, chunk)| chunk.digest.as_slice()).collect();
    let offsets = sqlx::query_scalar!(
        r#"SELECT at AS "at!" FROM append_journal($1, $2, $3, $4, $5, $6, $7, $8, $9)"#,
        &parts,
        &kinds,
        &versions,
        &entries,
        &recorded,
        &request_ids as &[Option<&str>],
        &traces as &[Option<&str>],
        &payloads as &[&[u8]],
        &digests as &[&[u8]],
    )
    .fetch_all(conn)
    .await?;
    LedgerError::expect_rows("append to the journal", chunks.len(), offsets.len() as u64)?;
    Ok(offsets)
}

/// Where each of `events` stands, given the chunks they were sorted into and the chunks' offsets.
fn event_ids(events: &[NewEvent], chunks: &[(&Context, Chunk)], offsets: &[i64]) -> Vec<EventId> {
    let mut lines = vec![0; chunks.len()];
    let mut ids = Vec::with_capacity(events.len());
    for new in events {
        let partition = new.event.subject().partition();
        let kind = new.event.kind();
        let found = chunks.iter().position(|(_, chunk)| chunk.partition == partition && chunk.kind == kind);
        let chunk = found.expect("every event was sorted into one of the chunks");
        ids.push(EventId { partition, offset: offsets[chunk], index: lines[chunk] });
        lines[chunk] += 1;
    }
    ids
}

struct Row {
    part: i16,
    position: i64,
    kind: String,
    version: i16,
    entries: i32,
    recorded_at: DateTime<Utc>,
    request_id: Option<String>,
    trace: Option<String>,
    payload: Vec<u8>,
}

impl Row {
    fn envelopes(self) -> Result<Vec<Envelope>, LedgerError> {
        let id = format!("{}/{}", self.part, self.position);
        let partition =
            Partition::new(self.part).ok_or_else(|| LedgerError::inconsistent("journal", "part", &id))?;
        let kind = self.kind.parse().map_err(|_| LedgerError::inconsistent("journal", "kind", &id))?;
        let header = ChunkHeader {
            partition,
            offset: self.position,
            kind,
            version: self.version,
            entries: self.entries,
            recorded_at: self.recorded_at,
            request_id: self.request_id,
            trace: self.trace,
        };
        Ok(decode_chunk(&header, &self.payload)?)
    }
}

/// Reads chunks of `kinds` in `[from, to)` of a partition, until `events_max` events are reached; the chunk that
/// reaches it is read whole. Returns the events and the offset at which to go on.
///
/// # Errors
/// If a row cannot be read or the database does not answer.
pub async fn read(
    conn: &mut PgConnection,
    partition: Partition,
    from: i64,
    to: i64,
    kinds: &[EventKind],
    events_max: i64,
) -> Result<(Vec<Envelope>, i64), LedgerError> {
    let kinds: Vec<String> = kinds.iter().map(|kind| kind.as_str().to_owned()).collect();
    // The running sum before a row decides, so that at least one row is always read.
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT part, position, kind, version, entries, recorded_at, request_id, trace, payload
        FROM (
            SELECT j.*, sum(entries) OVER (ORDER BY position) - entries AS before
            FROM (
                SELECT * FROM journal
                WHERE part = $1 AND position >= $2 AND position < $3 AND kind = ANY ($4)
                ORDER BY position
                LIMIT $5
            ) j
        ) j
        WHERE before < $5
        ORDER BY position
        "#,
        partition.number(),
        from,
        to,
        &kinds,
        events_max,
    )
    .fetch_all(conn)
    .await?;
    let read_entries: i64 = rows.iter().map(|row| i64::from(row.entries)).sum();
    let next = match rows.last() {
        Some(last) if read_entries >= events_max => last.position + 1,
        _ => to,
    };
    let mut envelopes = Vec::new();
    for row in rows {
        envelopes.extend(row.envelopes()?);
    }
    Ok((envelopes, next))
}

/// Reads the latest events of a kind, `events_max` of them at the most, in the order in which they were recorded. Only the last
/// `positions_max` rows of each partition are looked at, and of those the ones whose payload contains some bytes.
///
/// # Errors
/// If a row cannot be read or the database does not answer.
pub async fn read_latest(
    conn: &mut PgConnection,
    kind: EventKind,
    containing: &[u8],
    events_max: i64,
    positions_max: i64,
) -> Result<Vec<Envelope>, LedgerError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        WITH latest AS (
            SELECT c.part, c.position, c.entries, c.recorded_at
            FROM heads h
            CROSS JOIN LATERAL (
                SELECT part, position, entries, recorded_at FROM journal j
                WHERE j.part = h.part AND j.position < h.next AND j.position >= h.next - $3 AND j.kind = $1
                  AND position($4 IN j.payload) > 0
                ORDER BY j.position DESC
                LIMIT $2
            ) c
        ), wanted AS (
            SELECT part, position,
                   sum(entries) OVER (ORDER BY recorded_at DESC, part DESC, position DESC) - entries AS later
            FROM latest
        )
        SELECT j.part, j.position, j.kind, j.version, j.entries, j.recorded_at, j.request_id, j.trace, j.payload
        FROM wanted w JOIN journal j ON j.part = w.part AND j.position = w.position
        WHERE w.later < $2
        ORDER BY j.recorded_at, j.part, j.position
        "#,
        kind.as_str(),
        events_max,
        positions_max,
        containing,
    )
    .fetch_all(conn)
    .await?;
    let mut envelopes = Vec::new();
    for row in rows {
        envelopes.extend(row.envelopes()?);
    }
    // Of the first chunk, only those that are among the latest.
    let more = envelopes.len().saturating_sub(usize::try_from(events_max).unwrap_or(0));
    envelopes.drain(..more);
    Ok(envelopes)
}

/// Reads one event.
///
/// # Errors
/// If its row cannot be read or the database does not answer.
pub async fn read_one(conn: &mut PgConnection, id: EventId) -> Result<Option<Envelope>, LedgerError> {
    let events = read_chunk(conn, id.partition, id.offset).await?;
    Ok(events.into_iter().find(|envelope| envelope.id.index == id.index))
}

/// Reads all events of some chunks, in the order in which they are named.
///
/// # Errors
/// If a row cannot be read or the database does not answer.
pub async fn read_chunks(
    conn: &mut PgConnection,
    chunks: &[(Partition, i64)],
) -> Result<Vec<Envelope>, LedgerError> {
    let (parts, positions): (Vec<i16>, Vec<i64>) =
        chunks.iter().map(|(partition, offset)| (partition.number(), *offset)).unzip();
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT j.part, j.position, j.kind, j.version, j.entries, j.recorded_at, j.request_id, j.trace, j.payload
        FROM unnest($1::smallint[], $2::bigint[]) WITH ORDINALITY AS u (part, position, at)
        JOIN journal j ON j.part = u.part AND j.position = u.position
        ORDER BY u.at
        "#,
        &parts,
        &positions,
    )
    .fetch_all(conn)
    .await?;
    let mut envelopes = Vec::new();
    for row in rows {
        envelopes.extend(row.envelopes()?);
    }
    Ok(envelopes)
}

/// Reads all events of a chunk; none if there is no such chunk.
///
/// # Errors
/// If its row cannot be read or the database does not answer.
pub async fn read_chunk(
    conn: &mut PgConnection,
    partition: Partition,
    offset: i64,
) -> Result<Vec<Envelope>, LedgerError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT part, position, kind, version, entries, recorded_at, request_id, trace, payload
        FROM journal
        WHERE part = $1 AND position = $2
        "#,
        partition.number(),
        offset,
    )
    .fetch_optional(conn)
    .await?;
    row.map_or_else(|| Ok(Vec::new()), Row::envelopes)
}
