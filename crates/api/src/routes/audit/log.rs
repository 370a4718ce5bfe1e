//! `GET /v1/audit/log`

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use laurel_events::{CampaignId, Subject};
use laurel_ledger::{Deed, StaffEntry, StaffFilter, StaffRecord, list_staff_log};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::about;
use crate::{
    ApiState, Principal, Problem,
    extract::{Page, Paging, Query},
};

/// Something that somebody who works here did, or read of players.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct RecordOut {
    /// The record's id.
    id: Uuid,
    /// When.
    at: DateTime<Utc>,
    /// Who, as their token named them.
    by: String,
    /// What they are; empty once that was erased.
    role: String,
    /// The address of their machine, where it is known.
    address: Option<String>,
    /// The operation as this document calls it, or the command.
    #[schema(example = "pause_campaign")]
    action: String,
    /// What it was done to. What was read of no player in particular is about the campaign or the organisation.
    #[schema(example = "campaign:3765371974116720809")]
    about: String,
    /// Whether something was read that is known of players, and nothing changed.
    is_read: bool,
    /// The request.
    request_id: Option<String>,
    /// What it was like before; null where it was not there.
    #[schema(value_type = Option<Object>)]
    before: Option<Value>,
    /// What it is like now; null where it is not there any more.
    #[schema(value_type = Option<Object>)]
    after: Option<Value>,
    /// The parameters of what was read, without what they say of players.
    #[schema(value_type = Option<Object>)]
    asked: Option<Value>,
    /// The event in the journal that has this record's hash.
    #[schema(example = "3/128/7")]
    event_id: String,
    /// Whether the record is as it was when the event was written; null where it was erased.
    proven: Option<bool>,
}

impl RecordOut {
    /// The same for those who are no business of whoever it was: by what they are, not by who they are and where.
    pub(crate) fn without_who(self) -> Self {
        Self { by: String::new(), address: None, request_id: None, ..self }
    }
}

impl From<StaffEntry> for RecordOut {
    fn from(entry: StaffEntry) -> Self {
        let StaffEntry { id, at, proven, event, record } = entry;
        let StaffRecord { subject, role, address, request_id, action, about, deed, .. } = record;
        let is_read = matches!(deed, Deed::Read { .. });
        let (before, after, asked) = match deed {
            Deed::Acted { before, after } => (before, after, None),
            Deed::Read { asked } => (None, None, Some(asked)),
        };
        Self {
            id,
            at,
            by: subject,
            role,
            address: address.map(|address| address.to_string()),
            action,
            about: about.as_str().to_owned(),
            is_read,
            request_id,
            before,
            after,
            asked,
            event_id: event.to_string(),
            proven,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogQuery {
    /// Where the page before ended, as its `next` said.
    #[serde(default)]
    cursor: Option<String>,
    /// How many items, 1 to 500; 50 without.
    #[serde(default)]
    limit: Option<u16>,
    /// Only what this one did.
    #[serde(default)]
    by: Option<String>,
    /// Only this operation.
    #[serde(default)]
    action: Option<String>,
    /// Only what was done with this campaign.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    campaign_id: Option<CampaignId>,
    /// Only what was done with this player, and read of them.
    #[serde(default)]
    player_id: Option<String>,
    /// Only what was read; with false, only what was done.
    #[serde(default)]
    is_read: Option<bool>,
    /// Only from this moment on (RFC 3339).
    #[serde(default)]
    from: Option<DateTime<Utc>>,
    /// Only before this moment.
    #[serde(default)]
    until: Option<DateTime<Utc>>,
}

/// What people who work here did, and what they read of players
///
/// The newest first. What is done to all organisations together, on the command line, is in everybody's log.
#[utoipa::path(
    get, path = "/audit/log", tag = "audit", operation_id = "list_audit_log", params(LogQuery),
    responses((status = 200, body = Page<RecordOut>), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Query(query): Query<LogQuery>,
) -> Result<Json<Page<RecordOut>>, Problem> {
    let (before, limit) = Paging::parse::<Uuid>(query.cursor.as_deref(), query.limit)?;
    let mut conn = state.read_pool.acquire().await?;
    let about = about(&mut conn, principal.org, query.campaign_id, query.player_id.as_deref()).await?;
    let filter = StaffFilter {
        subject: query.by.as_deref(),
        action: query.action.as_deref(),
        about: about.as_ref().map(Subject::as_str),
        is_read: query.is_read,
        at: (query.from, query.until),
        before,
    };
    let records = list_staff_log(&mut conn, principal.org, &filter, limit).await?;
    let items: Vec<RecordOut> = records.into_iter().map(RecordOut::from).collect();
    Ok(Json(Page::new(items, limit, |record| record.id.to_string())))
}
