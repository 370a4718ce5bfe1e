//! The vocabulary that every other crate speaks: ids, amounts, time, and every event with its envelope.
//!
//! ```text
//!   an event's data ──► one canonical JSON line ──┐
//!   an event's data ──► one canonical JSON line ──┼─► chunk payload ──► a journal row
//!   an event's data ──► one canonical JSON line ──┘                        │
//!                                                                          ▼
//!                             Envelope { id: partition/offset/index, event, cause, … }
//! ```
//!
//! Nothing here does I/O. A journal row is a *chunk*: all events of one kind that one transaction appended to one
//! partition. The bytes of a chunk are hashed exactly as they are stored, so they are canonical (RFC 8785).

pub mod alert;
mod amount;
mod attribute;
mod backoff;
mod canonical;
mod clock;
mod envelope;
mod event;
mod ids;
mod kinds;
mod partition;
mod wide;

#[cfg(feature = "simulation")]
pub use self::partition::fold_partitions;
pub use self::{
    amount::{Amount, AmountError},
    attribute::Attribute,
    backoff::Backoff,
    canonical::{CanonicalError, canonical_json},
    clock::{Clock, MockClock, SystemClock},
    envelope::{Chunk, ChunkError, ChunkHeader, Envelope, EventId, NewEvent, decode_chunk, encode_chunk},
    event::{Event, EventKind, Payload, UnknownKind},
    ids::{
        AttemptId, BatchId, CampaignId, GrantId, IdError, LaneId, OrgId, OutcomeKey, PlayerId, VaultId,
        time_ordered,
    },
    kinds::{budget::*, campaign::*, grant::*, operator::*, outcome::*, player::*, staff::*, tx::*},
    partition::{PARTITIONS, Partition, Subject},
};
