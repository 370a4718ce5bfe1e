//! `POST /v1/campaigns/{campaign_id}/{schedule,unschedule,activate,pause,resume,end}`, `DELETE /v1/campaigns/{campaign_id}`

use axum::{extract::State, http::StatusCode, response::IntoResponse};
use laurel_campaign::{By, Move, Reason, lock_campaign, move_campaign, require_funded};
use laurel_events::{CampaignId, EventKind};
use laurel_ledger::commit;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    campaign,
    out::{CampaignOut, tag},
};
use crate::{
    ApiState, Principal, Problem,
    extract::{Path, RequestBody},
    idempotency::{MaybeKeyed, Once, Reply},
    request_id::RequestId,
    staff_log::{Change, keep_change},
};

/// Why; the whole body may be left out.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MoveReason)]
pub(crate) struct Request {
    /// For whoever asks later: up to 500 characters. The journal has their hash only.
    #[serde(default)]
    #[schema(
        min_length = 1,
        max_length = 500,
        pattern = r"^[^\x00-\x09\x0b-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x09\x0b-\x1f\x7f-\x9f]*$"
    )]
    reason: Option<String>,
}

impl RequestBody for Request {}

/// Somebody's reason, with what hides it in the journal.
pub(super) async fn reason(state: &ApiState, request: Option<Request>) -> Result<Option<Reason>, Problem> {
    let Some(words) = request.and_then(|request| request.reason) else { return Ok(None) };
    Ok(Some(Reason::new(words, &mut state.rng().await)?))
}

async fn apply(
    state: ApiState,
    principal: Principal,
    request_id: RequestId,
    id: CampaignId,
    action: Move,
    MaybeKeyed { request, idempotency }: MaybeKeyed<Request>,
) -> Result<Reply, Problem> {
    let context = state.context(&request_id);
    let mut once = match Once::begin(&state, context.now, &principal, idempotency.as_ref()).await? {
        Ok(once) => once,
        Err(answered) => return Ok(answered),
    };
    let why = reason(&state, request).await?;
    let by = By { who: &principal.subject, why: why.as_ref() };
    let before = CampaignOut::from(lock_campaign(&mut once.tx, principal.org, id, None).await?);
    move_campaign(&mut once.tx, &context, principal.org, id, action, by).await?;
    if matches!(action, Move::Activate | Move::Schedule) {
        require_funded(&mut once.tx, id).await?;
    }
    let moved = campaign(&mut once.tx, &principal, id).await?;
    let (version, moved) = (moved.version, CampaignOut::from(moved));
    let change = Change::of_campaign(id).before(&before)?.after(&moved)?;
    let reply = Reply::json(StatusCode::OK, Some(tag(version)), &moved)?;
    let reply = once.commit("campaign_moved", reply, Some(change)).await?;
    state.wakes.committed([EventKind::CampaignStateChanged]).await;
    Ok(reply)
}

/// Delete a draft
///
/// Nothing came of it, and it has no money in the vault. What the journal has of it stays.
#[utoipa::path(
    delete, path = "/campaigns/{campaign_id}", tag = "campaigns", operation_id = "delete_campaign",
    params(("campaign_id" = String, Path, description = "The campaign's id")),
    responses((status = 204, description = "It is gone"), (status = "4XX", body = Problem)),
)]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    principal: Principal,
    request_id: RequestId,
    Path(id): Path<CampaignId>,
) -> Result<impl IntoResponse, Problem> {
    let context = state.context(&request_id);
    let mut tx = state.pool.begin().await?;
    let by = By::somebody(&principal.subject);
    let before = CampaignOut::from(lock_campaign(&mut tx, principal.org, id, None).await?);
    move_campaign(&mut tx, &context, principal.org, id, Move::Delete, by).await?;
    let change = Change::of_campaign(id).before(&before)?;
    keep_change(&mut tx, &state, context.now, &principal, change).await?;
    commit(tx, "campaign_moved").await?;
    state.wakes.committed([EventKind::CampaignStateChanged]).await;
    Ok(StatusCode::NO_CONTENT)
}

macro_rules! moves {
    ($($name:ident, $action:ident, $path:literal, $operation:literal, $title:literal;)+) => {
        $(
            #[doc = $title]
            #[utoipa::path(
                post, path = $path, tag = "campaigns", operation_id = $operation,
                params(
                    ("campaign_id" = String, Path, description = "The campaign's id"),
                    ("idempotency-key" = Option<String>, Header,
                     description = "The same for the same request sent again"),
                ),
                request_body(content = Request, description = "May be left out", example = json!({ "reason": "as planned" })),
                responses((status = 200, body = CampaignOut), (status = "4XX", body = Problem)),
            )]
            pub(crate) async fn $name(
                State(state): State<ApiState>,
                principal: Principal,
                request_id: RequestId,
                Path(id): Path<CampaignId>,
                asked: MaybeKeyed<Request>,
            ) -> Result<Reply, Problem> {
                apply(state, principal, request_id, id, Move::$action, asked).await
            }
        )+
    };
}

moves! {
    schedule, Schedule, "/campaigns/{campaign_id}/schedule", "schedule_campaign",
        "Have it begin when its window begins";
    unschedule, Unschedule, "/campaigns/{campaign_id}/unschedule", "unschedule_campaign", "Make it a draft again";
    activate, Activate, "/campaigns/{campaign_id}/activate", "activate_campaign", "Begin to grant";
    pause, Pause, "/campaigns/{campaign_id}/pause", "pause_campaign", "Stop granting for a while";
    resume, Resume, "/campaigns/{campaign_id}/resume", "resume_campaign", "Grant again";
    end, End, "/campaigns/{campaign_id}/end", "end_campaign", "Stop granting for good";
}
