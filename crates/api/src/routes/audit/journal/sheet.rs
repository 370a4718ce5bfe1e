//! Events as the rows of an export.

use chrono::{DateTime, Utc};
use laurel_events::{Envelope, Event, OrgId};
use laurel_ledger::LedgerError;
use laurel_views::{JournalEntry, JournalFilter, list_journal};
use serde::Serialize;
use sqlx::PgConnection;

use crate::export::{Format, Source};

/// How many are read together.
const PAGE: usize = 4_000;

/// An event as a row.
#[derive(Serialize)]
pub(crate) struct EventRow {
    id: String,
    kind: &'static str,
    version: i16,
    recorded_at: DateTime<Utc>,
    occurred_at: DateTime<Utc>,
    subject: String,
    cause: Option<String>,
    request_id: Option<String>,
    data: Data,
    redacted: bool,
}

/// What an event says: an object where lines can hold one, else its text.
#[derive(Serialize)]
#[serde(untagged)]
enum Data {
    Object(Event),
    Text(String),
}

/// All events that a filter lets pass.
pub(super) struct JournalSource {
    org: OrgId,
    filter: JournalFilter,
    format: Format,
    over: bool,
}

impl JournalSource {
    pub(super) const fn new(org: OrgId, filter: JournalFilter, format: Format) -> Self {
        Self { org, filter, format, over: false }
    }

    fn row(&self, entry: JournalEntry) -> EventRow {
        let JournalEntry { envelope, is_redacted } = entry;
        let subject = envelope.subject().as_str().to_owned();
        let Envelope { id, version, recorded_at, occurred_at, cause, request_id, event, .. } = envelope;
        EventRow {
            id: id.to_string(),
            kind: event.kind().as_str(),
            version,
            recorded_at,
            occurred_at,
            subject,
            cause: cause.map(|cause| cause.to_string()),
            request_id,
            data: match self.format {
                Format::Ndjson => Data::Object(event),
                Format::Csv => Data::Text(serde_json::to_string(&event).unwrap_or_default()),
            },
            redacted: is_redacted,
        }
    }
}

impl Source for JournalSource {
    type Row = EventRow;

    const WHAT: &'static str = "journal";

    const NAMES: &'static [&'static str] = &[
        "id",
        "kind",
        "version",
        "recorded_at",
        "occurred_at",
        "subject",
        "cause",
        "request_id",
        "data",
        "redacted",
    ];

    async fn next(&mut self, conn: &mut PgConnection) -> Result<Option<Vec<EventRow>>, LedgerError> {
        if self.over {
            return Ok(None);
        }
        let page = list_journal(conn, self.org, &self.filter, PAGE).await?;
        (self.over, self.filter.after) = (page.next.is_none(), page.next);
        Ok(Some(page.entries.into_iter().map(|entry| self.row(entry)).collect()))
    }
}
