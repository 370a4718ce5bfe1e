//! The audit log: what people who work here did, and what they read of players.
//!
//! ```text
//!   record ──► canonical JSON ──┬──► staff_log row, erasable
//!                     salt ─────┤
//!                               ╰──► SHA-256 ──► StaffActed, PersonalDataRead: in the journal, for good
//! ```
//!
//! The row and its event commit together with what was done. A row that was changed afterwards has another hash than its event says.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use alloy_primitives::B256;
use chrono::{DateTime, TimeDelta, Utc};
use laurel_events::{
    Envelope, Event, EventId, NewEvent, OrgId, Partition, PersonalDataRead, StaffActed, Subject,
    canonical_json, time_ordered,
};
use rand::RngCore;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Context, LedgerError, append, read_chunks};

/// How many bytes keep a content from being guessed by its hash.
const SALT_BYTES: usize = 16;

/// What somebody did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// They changed something.
    Acted {
        /// What it was before, if it was.
        before: Option<Value>,
        /// What it is now, if it is.
        after: Option<Value>,
    },
    /// They read what is known of players.
    Read {
        /// What they asked for, without what names players.
        asked: Value,
    },
}

/// Something that is to be kept in the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaffRecord {
    /// For which organisation; none where it is for all. What is read, is read of one.
    pub org: Option<OrgId>,
    /// Who, as their token names them.
    pub subject: String,
    /// What they are.
    pub role: String,
    /// The address of their machine, where it is known.
    pub address: Option<IpAddr>,
    /// The request.
    pub request_id: Option<String>,
    /// The operation of the interface, or the command.
    pub action: String,
    /// What it was done to. An event of this subject may be appended by the same transaction, and no other one.
    pub about: Subject,
    /// What they did.
    pub deed: Deed,
}

/// What of a record can be erased.
#[derive(Serialize, Deserialize)]
struct Content {
    role: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<Value>,
    subject: String,
}

/// A record as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaffEntry {
    /// Its id.
    pub id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
    /// Whether the content is what the journal's event has the hash of; `None` where it was erased.
    pub proven: Option<bool>,
    /// Where the journal has it.
    pub event: EventId,
    /// What was done, and by whom; without what was erased.
    pub record: StaffRecord,
}

/// Which records are wanted. What is `None` is not asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct StaffFilter<'a> {
    /// By whom.
    pub subject: Option<&'a str>,
    /// What was done.
    pub action: Option<&'a str>,
    /// What to.
    pub about: Option<&'a str>,
    /// Only what was read, or only what was done.
    pub is_read: Option<bool>,
    /// From this moment on, and until before that one.
    pub at: (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
    /// Only those before this one.
    pub before: Option<Uuid>,
}

/// Keeps records in the audit log. It appends to the journal, so it must be what the transaction does last.
///
/// # Errors
/// If a record has no canonical form or the database does not answer.
pub async fn record_staff(
    conn: &mut PgConnection,
    context: &Context,
    rng: &mut (dyn RngCore + Send),
    records: Vec<StaffRecord>,
) -> Result<(), LedgerError> {
    let mut events: Vec<NewEvent> = Vec::with_capacity(records.len());
    let mut rows = Rows::default();
    for record in records {
        let id = time_ordered(context.now, rng);
        let mut salt = [0; SALT_BYTES];
        rng.fill_bytes(&mut salt);
        let StaffRecord { org, subject, role, address, request_id, action, about, deed } = record;
        let is_read = matches!(deed, Deed::Read { .. });
        let (before, after, asked) = match deed {
            Deed::Acted { before, after } => (before, after, None),
            Deed::Read { asked } => (None, None, Some(asked)),
        };
        rows.subjects.push(subject.clone());
        let content = Content { role, address, request_id, before, after, asked, subject };
        let content = canonical_json(&content).map_err(laurel_events::ChunkError::from)?;
        let commitment = commitment(&salt, &content);
        rows.ids.push(id);
        rows.orgs.push(org.map(|org| org.0));
        rows.actions.push(action.clone());
        rows.abouts.push(about.as_str().to_owned());
        rows.reads.push(is_read);
        rows.salts.push(salt.to_vec());
        rows.contents.push(content);
        events.push(match org {
            Some(org) if is_read => PersonalDataRead { id, org, action, about, commitment }.into(),
            _ => StaffActed { id, org, action, about, commitment }.into(),
        });
    }
    let places = append(conn, context, &events).await?;
    rows.insert(conn, context.now, &places).await
}

/// The hash by which the journal holds a record to its content.
fn commitment(salt: &[u8], content: &[u8]) -> B256 {
    let mut hash = Sha256::new();
    hash.update(salt);
    hash.update(content);
    B256::new(hash.finalize().into())
}

/// Rows of the log, column by column.
#[derive(Default)]
struct Rows {
    ids: Vec<Uuid>,
    orgs: Vec<Option<i32>>,
    subjects: Vec<String>,
    actions: Vec<String>,
    abouts: Vec<String>,
    reads: Vec<bool>,
    salts: Vec<Vec<u8>>,
    contents: Vec<Vec<u8>>,
}

impl Rows {
    async fn insert(
        self,
        conn: &mut PgConnection,
        at: DateTime<Utc>,
        places: &[EventId],
    ) -> Result<(), LedgerError> {
        let parts: Vec<i16> = places.iter().map(|place| place.partition.number()).collect();
        let positions: Vec<i64> = places.iter().map(|place| place.offset).collect();
        let indexes: Vec<i32> = places.iter().map(|place| place.index).collect();
        sqlx::query!(
            r#"
            INSERT INTO staff_log (id, org, at, subject, action, about, is_read, salt, content, part, position, idx)
            SELECT id, org, $12, subject, action, about, is_read, salt, content, part, position, idx
            FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::bytea[],
                        $8::bytea[], $9::smallint[], $10::bigint[], $11::integer[])
                AS new (id, org, subject, action, about, is_read, salt, content, part, position, idx)
            "#,
            &self.ids,
            &self.orgs as &[Option<i32>],
            &self.subjects,
            &self.actions,
            &self.abouts,
            &self.reads,
            &self.salts,
            &self.contents,
            &parts,
            &positions,
            &indexes,
            at,
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}

/// Lists the audit log of an organisation, the newest first, with what was done for all of them; `limit` at the most.
///
/// # Errors
/// If a row cannot be read or the database does not answer.
pub async fn list_staff_log(
    conn: &mut PgConnection,
    org: OrgId,
    filter: &StaffFilter<'_>,
    limit: i64,
) -> Result<Vec<StaffEntry>, LedgerError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id AS "id!", org, at AS "at!", subject AS "subject!", action AS "action!", about AS "about!",
               is_read AS "is_read!", salt, content, part AS "part!", position AS "position!", idx AS "idx!"
        FROM (
            (SELECT * FROM staff_log
             WHERE org = $1 AND ($2::uuid IS NULL OR id < $2) AND ($3::text IS NULL OR subject = $3)
               AND ($4::text IS NULL OR action = $4) AND ($5::text IS NULL OR about = $5)
               AND ($6::boolean IS NULL OR is_read = $6)
               AND ($7::timestamptz IS NULL OR at >= $7) AND ($8::timestamptz IS NULL OR at < $8)
               AND id BETWEEN $10 AND $11
             ORDER BY id DESC LIMIT $9)
            UNION ALL
            (SELECT * FROM staff_log
             WHERE org IS NULL AND ($2::uuid IS NULL OR id < $2) AND ($3::text IS NULL OR subject = $3)
               AND ($4::text IS NULL OR action = $4) AND ($5::text IS NULL OR about = $5)
               AND ($6::boolean IS NULL OR is_read = $6)
               AND ($7::timestamptz IS NULL OR at >= $7) AND ($8::timestamptz IS NULL OR at < $8)
               AND id BETWEEN $10 AND $11
             ORDER BY id DESC LIMIT $9)
        ) own
        ORDER BY id DESC LIMIT $9
        "#,
        org.0,
        filter.before,
        filter.subject,
        filter.action,
        filter.about,
        filter.is_read,
        filter.at.0,
        filter.at.1,
        limit,
        filter.at.0.map_or(Uuid::nil(), |from| first_id(from)),
        filter.at.1.map_or(Uuid::max(), |until| first_id(until + TimeDelta::milliseconds(1))),
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut chunks = BTreeSet::new();
    for row in &rows {
        let event = row.event()?;
        chunks.insert((event.partition, event.offset));
    }
    let told = read_chunks(conn, &chunks.into_iter().collect::<Vec<_>>()).await?;
    let told: HashMap<EventId, Envelope> = told.into_iter().map(|envelope| (envelope.id, envelope)).collect();
    rows.into_iter().map(|row| row.entry(&told)).collect()
}

/// Where the ids of a moment begin: they are in the order of time (RFC 9562, version 7).
fn first_id(moment: DateTime<Utc>) -> Uuid {
    Uuid::from_u128(u128::from(moment.timestamp_millis().max(0).unsigned_abs()) << 80)
}

struct Row {
    id: Uuid,
    org: Option<i32>,
    at: DateTime<Utc>,
    subject: String,
    action: String,
    about: String,
    is_read: bool,
    salt: Option<Vec<u8>>,
    content: Option<Vec<u8>>,
    part: i16,
    position: i64,
    idx: i32,
}

impl Row {
    /// Where its event is.
    fn event(&self) -> Result<EventId, LedgerError> {
        let partition = Partition::new(self.part);
        let partition = partition.ok_or_else(|| LedgerError::inconsistent("staff_log", "part", self.id))?;
        Ok(EventId { partition, offset: self.position, index: self.idx })
    }

    /// The record, held against its event.
    fn entry(self, told: &HashMap<EventId, Envelope>) -> Result<StaffEntry, LedgerError> {
        let wrong = |column| LedgerError::inconsistent("staff_log", column, self.id);
        let event = self.event()?;
        let told = told.get(&event).filter(|envelope| envelope.recorded_at == self.at);
        let told = told.map(|envelope| &envelope.event);
        let known = |content: &Content, commitment: B256| {
            let hash = self.salt.as_deref().zip(self.content.as_deref());
            hash.is_some_and(|(salt, bytes)| self::commitment(salt, bytes) == commitment)
                && content.subject == self.subject
        };
        let content: Option<Content> = match &self.content {
            Some(bytes) => Some(serde_json::from_slice(bytes).map_err(|_| wrong("content"))?),
            None => None,
        };
        let org = self.org.map(OrgId);
        let proven = content.as_ref().map(|content| match told {
            Some(Event::StaffActed(event)) => {
                let same = (event.id, event.org, event.action.as_str(), event.about.as_str(), false)
                    == (self.id, org, self.action.as_str(), self.about.as_str(), self.is_read);
                same && known(content, event.commitment)
            }
            Some(Event::PersonalDataRead(event)) => {
                let same = (event.id, Some(event.org), event.action.as_str(), event.about.as_str(), true)
                    == (self.id, org, self.action.as_str(), self.about.as_str(), self.is_read);
                same && known(content, event.commitment)
            }
            _ => false,
        });
        let Content { role, address, request_id, before, after, asked, .. } = content.unwrap_or(Content {
            role: String::new(),
            address: None,
            request_id: None,
            before: None,
            after: None,
            asked: None,
            subject: String::new(),
        });
        let deed = if self.is_read {
            Deed::Read { asked: asked.unwrap_or_default() }
        } else {
            Deed::Acted { before, after }
        };
        let record = StaffRecord {
            org,
            subject: self.subject,
            role,
            address,
            request_id,
            action: self.action,
            about: Subject::from_text(self.about),
            deed,
        };
        Ok(StaffEntry { id: self.id, at: self.at, proven, event, record })
    }
}
