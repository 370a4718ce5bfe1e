//! Events on their way into the journal and out of it.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::{CanonicalError, Event, EventKind, Partition, Subject, canonical_json};

/// Where an event stands in the journal: partition, offset and index in the chunk. Written `3/128/7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// The partition.
    pub partition: Partition,
    /// The chunk's offset, gapless from 0 in each partition.
    pub offset: i64,
    /// The line in the chunk, from 0.
    pub index: i32,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.partition, self.offset, self.index)
    }
}

impl FromStr for EventId {
    type Err = ChunkError;

    fn from_str(text: &str) -> Result<Self, ChunkError> {
        let wrong = || ChunkError::EventId(text.chars().take(64).collect());
        let mut parts = text.split('/');
        let (Some(partition), Some(offset), Some(index), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        Ok(Self {
            partition: partition.parse().ok().and_then(Partition::new).ok_or_else(wrong)?,
            offset: offset.parse().map_err(|_| wrong())?,
            index: index.parse().map_err(|_| wrong())?,
        })
    }
}

/// An event that is about to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// What happened.
    pub event: Event,
    /// When it happened, where that is not when it is recorded.
    pub occurred_at: Option<DateTime<Utc>>,
    /// The event that led to it.
    pub cause: Option<EventId>,
}

impl NewEvent {
    /// `event`, recorded when it happens, caused by `cause`.
    pub fn caused_by(cause: EventId, event: impl Into<Event>) -> Self {
        Self { event: event.into(), occurred_at: None, cause: Some(cause) }
    }
}

impl<E: Into<Event>> From<E> for NewEvent {
    fn from(event: E) -> Self {
        Self { event: event.into(), occurred_at: None, cause: None }
    }
}

/// An event as a stage receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Where it stands in the journal.
    pub id: EventId,
    /// The version of its data's schema.
    pub version: i16,
    /// When the transaction that appended it began.
    pub recorded_at: DateTime<Utc>,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// The event that led to it.
    pub cause: Option<EventId>,
    /// The request that led to it.
    pub request_id: Option<String>,
    /// The W3C trace context of the transaction that appended it.
    pub trace: Option<String>,
    /// What happened.
    pub event: Event,
}

impl Envelope {
    /// What it is about.
    pub fn subject(&self) -> Subject {
        self.event.subject()
    }
}

/// Events of one kind and one partition, ready to be a journal row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The partition.
    pub partition: Partition,
    /// The kind of all its events.
    pub kind: EventKind,
    /// How many events it holds.
    pub entries: i32,
    /// A canonical JSON line for each.
    pub payload: Vec<u8>,
    /// SHA-256 of the payload.
    pub digest: [u8; 32],
}

/// A chunk that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// An event's data has no canonical form.
    #[error("encode an event")]
    Encode(#[from] CanonicalError),
    /// A line is not what its kind demands.
    #[error("decode line {index} of a chunk of {kind}")]
    Decode {
        /// The kind the chunk claims.
        kind: EventKind,
        /// The line, from 0.
        index: i32,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The row says another number of events than its payload has lines.
    #[error("a chunk of {kind} claims {claimed} events and holds {found}")]
    Entries {
        /// The kind the chunk claims.
        kind: EventKind,
        /// What the row says.
        claimed: i32,
        /// What the payload has.
        found: usize,
    },
    /// A text is no event id.
    #[error("{0:?} is no event id")]
    EventId(String),
}

#[derive(Serialize)]
struct LineOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    data: &'a Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    occurred_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct LineIn<'a> {
    #[serde(borrow)]
    cause: Option<&'a str>,
    #[serde(borrow)]
    data: &'a RawValue,
    occurred_at: Option<DateTime<Utc>>,
}

/// Sorts events into chunks: one per kind and partition, in the order in which each was first met.
///
/// # Errors
/// If an event has no canonical JSON form.
pub fn encode_chunk(events: &[NewEvent]) -> Result<Vec<Chunk>, ChunkError> {
    let mut chunks: Vec<Chunk> = Vec::new();
    for new in events {
        let partition = new.event.subject().partition();
        let kind = new.event.kind();
        let line = LineOut {
            cause: new.cause.map(|cause| cause.to_string()),
            data: &new.event,
            occurred_at: new.occurred_at,
        };
        let line = canonical_json(&line)?;
        let chunk = match chunks.iter_mut().find(|chunk| chunk.partition == partition && chunk.kind == kind) {
            Some(chunk) => chunk,
            None => {
                chunks.push(Chunk { partition, kind, entries: 0, payload: Vec::new(), digest: [0; 32] });
                chunks.last_mut().expect("a chunk was pushed on the line above")
            }
        };
        chunk.entries += 1;
        chunk.payload.extend_from_slice(&line);
        chunk.payload.push(b'\n');
    }
    for chunk in &mut chunks {
        chunk.digest = Sha256::digest(&chunk.payload).into();
    }
    Ok(chunks)
}

/// What a journal row says of all its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkHeader {
    /// The partition.
    pub partition: Partition,
    /// The chunk's offset.
    pub offset: i64,
    /// The kind of all its events.
    pub kind: EventKind,
    /// The version of their data's schema.
    pub version: i16,
    /// How many events it holds.
    pub entries: i32,
    /// When the transaction that appended it began.
    pub recorded_at: DateTime<Utc>,
    /// The request that led to it.
    pub request_id: Option<String>,
    /// The W3C trace context of the transaction that appended it.
    pub trace: Option<String>,
}

/// Reads the events of a chunk.
///
/// # Errors
/// If a line is not what the header's kind demands, or their number is not what the header says.
pub fn decode_chunk(header: &ChunkHeader, payload: &[u8]) -> Result<Vec<Envelope>, ChunkError> {
    let kind = header.kind;
    let lines: Vec<&[u8]> = payload.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    if usize::try_from(header.entries).ok() != Some(lines.len()) {
        return Err(ChunkError::Entries { kind, claimed: header.entries, found: lines.len() });
    }
    let mut envelopes = Vec::with_capacity(lines.len());
    for (line, index) in lines.into_iter().zip(0..) {
        let decode = |source| ChunkError::Decode { kind, index, source };
        let line: LineIn<'_> = serde_json::from_slice(line).map_err(decode)?;
        envelopes.push(Envelope {
            id: EventId { partition: header.partition, offset: header.offset, index },
            version: header.version,
            recorded_at: header.recorded_at,
            occurred_at: line.occurred_at.unwrap_or(header.recorded_at),
            cause: line.cause.map(str::parse).transpose()?,
            request_id: header.request_id.clone(),
            trace: header.trace.clone(),
            event: Event::from_data(kind, line.data).map_err(decode)?,
        });
    }
    Ok(envelopes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CampaignId, GrantId, TokenGrantCompleted, TokenGrantHeld};

    fn grant(number: u64) -> GrantId {
        GrantId { campaign: CampaignId::from(7_u64), number }
    }

    fn events() -> Vec<NewEvent> {
        let cause = EventId { partition: Partition::new(3).unwrap(), offset: 12, index: 4 };
        let batch = uuid::Uuid::nil().into();
        vec![
            NewEvent::caused_by(cause, TokenGrantCompleted { grant: grant(0), batch }),
            NewEvent::caused_by(cause, TokenGrantHeld { grant: grant(1), reason: "paused\n".into() }),
            NewEvent::caused_by(cause, TokenGrantCompleted { grant: grant(2), batch }),
        ]
    }

    fn header(chunk: &Chunk) -> ChunkHeader {
        ChunkHeader {
            partition: chunk.partition,
            offset: 5,
            kind: chunk.kind,
            version: 1,
            entries: chunk.entries,
            recorded_at: DateTime::UNIX_EPOCH,
            request_id: None,
            trace: None,
        }
    }

    #[test]
    fn a_chunk_holds_one_kind_in_order_and_reads_back() {
        let chunks = encode_chunk(&events()).unwrap();
        let kinds: Vec<_> = chunks.iter().map(|chunk| (chunk.kind, chunk.entries)).collect();
        assert_eq!(kinds, [(EventKind::TokenGrantCompleted, 2), (EventKind::TokenGrantHeld, 1)]);

        let read = decode_chunk(&header(&chunks[0]), &chunks[0].payload).unwrap();
        assert_eq!(read[1].event, events()[2].event);
        assert_eq!(read[1].cause, events()[2].cause);
        assert_eq!((read[1].id.offset, read[1].id.index), (5, 1));
    }

    #[test]
    fn a_line_is_canonical() {
        let chunks = encode_chunk(&events()).unwrap();
        insta::assert_snapshot!(std::str::from_utf8(&chunks[1].payload).unwrap(), @r#"{"cause":"3/12/4","data":{"grant":"7-1","reason":"paused\n"}}"#);
    }

    #[test]
    fn a_wrong_count_is_refused() {
        let chunks = encode_chunk(&events()).unwrap();
        let header = ChunkHeader { entries: 3, ..header(&chunks[0]) };
        let error = decode_chunk(&header, &chunks[0].payload).unwrap_err();
        assert!(matches!(error, ChunkError::Entries { claimed: 3, found: 2, .. }));
    }

    #[test]
    fn an_event_id_reads_back() {
        let id = EventId { partition: Partition::new(15).unwrap(), offset: 9, index: 0 };
        assert_eq!(id.to_string().parse::<EventId>().unwrap(), id);
        assert!("16/9/0".parse::<EventId>().is_err());
        assert!("1/9".parse::<EventId>().is_err());
    }
}
