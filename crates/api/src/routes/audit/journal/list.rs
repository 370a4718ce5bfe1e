//! `GET /v1/audit/journal`

use axum::{
    Json,
    extract::{RawQuery, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use laurel_events::{Envelope, Event};
use laurel_views::{JournalCursor, JournalEntry, list_journal};
use serde::Serialize;
use utoipa::ToSchema;

use super::{query::JournalQuery, sheet::JournalSource};
use crate::{
    ApiState, Principal, Problem,
    export::{Format, export},
    extract::{Page, Paging, Query},
};

/// Something that happened.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct EventOut {
    /// Where the journal has it: partition, offset, and index in the row.
    #[schema(example = "3/128/7")]
    id: String,
    /// What happened.
    #[schema(example = "TokenGrantRequested")]
    kind: &'static str,
    /// The version of its data's schema.
    version: i16,
    /// When the transaction that recorded it began.
    recorded_at: DateTime<Utc>,
    /// When it happened.
    occurred_at: DateTime<Utc>,
    /// What it is about.
    #[schema(example = "campaign:3765371974116720809")]
    subject: String,
    /// The event that led to it.
    cause: Option<String>,
    /// The request that led to it.
    request_id: Option<String>,
    /// What it says.
    #[schema(value_type = Object)]
    data: Event,
    /// Whether something of it is left out, because it is another organisation's.
    redacted: bool,
}

impl From<JournalEntry> for EventOut {
    fn from(entry: JournalEntry) -> Self {
        let JournalEntry { envelope, is_redacted } = entry;
        let subject = envelope.subject().as_str().to_owned();
        let Envelope { id, version, recorded_at, occurred_at, cause, request_id, event, .. } = envelope;
        Self {
            id: id.to_string(),
            kind: event.kind().as_str(),
            version,
            recorded_at,
            occurred_at,
            subject,
            cause: cause.map(|cause| cause.to_string()),
            request_id,
            data: event,
            redacted: is_redacted,
        }
    }
}

/// Everything that happened
///
/// As the journal has it, which nobody can change. On a page in the order in which it was recorded, and page after page about so; each
/// event comes once. A page may hold fewer items than it could, or none, where a rare thing is looked for among many: the list goes on
/// for as long as `next` is not null.
///
/// With `accept: text/csv` or `application/x-ndjson` the whole list is streamed, and `limit` says nothing.
#[utoipa::path(
    get, path = "/audit/journal", tag = "audit", operation_id = "list_journal", params(JournalQuery),
    responses(
        (status = 200, content(
            (Page<EventOut> = "application/json"),
            (String = "text/csv"),
            (String = "application/x-ndjson"),
        )),
        (status = "4XX", body = Problem),
    ),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    headers: HeaderMap,
    RawQuery(asked_for): RawQuery,
    Query(query): Query<JournalQuery>,
) -> Result<Response, Problem> {
    let (after, limit) = Paging::parse::<JournalCursor>(query.cursor.as_deref(), query.limit)?;
    let mut conn = state.read_pool.acquire().await?;
    let filter = query.filter(&mut conn, principal.org, after).await?;
    if let Some(format) = Format::wanted(&headers) {
        drop(conn);
        let source = JournalSource::new(principal.org, filter, format);
        return export(&state, &principal, format, asked_for.as_deref().unwrap_or_default(), source).await;
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let page = list_journal(&mut conn, principal.org, &filter, limit).await?;
    let items: Vec<EventOut> = page.entries.into_iter().map(EventOut::from).collect();
    Ok(Json(Page { items, next: page.next.map(|next| next.to_string()) }).into_response())
}
