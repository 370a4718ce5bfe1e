//! `POST /v1/campaigns/{campaign_id}/{activate,pause,resume,end}`

use axum::{extract::State, http::StatusCode};
use laurel_campaign::{Move, move_campaign};
use laurel_events::{CampaignId, EventKind};

use super::{
    campaign,
    out::{CampaignOut, tag},
};
use crate::{
    ApiState, Principal, Problem,
    extract::Path,
    idempotency::{Idempotency, Once, Reply},
    request_id::RequestId,
};

async fn apply(
    state: ApiState,
    principal: Principal,
    request_id: RequestId,
    id: CampaignId,
    action: Move,
    idempotency: Option<Idempotency>,
) -> Result<Reply, Problem> {
    let context = state.context(&request_id);
    let mut once = match Once::begin(&state.pool, context.now, &principal, idempotency.as_ref()).await? {
        Ok(once) => once,
        Err(answered) => return Ok(answered),
    };
    move_campaign(&mut once.tx, &context, principal.org, id, action, &principal.subject).await?;
    let moved = campaign(&mut once.tx, &principal, id).await?;
    let reply = Reply::json(StatusCode::OK, Some(tag(moved.version)), &CampaignOut::from(moved))?;
    let reply = once.commit("campaign_moved", reply).await?;
    state.wakes.committed([EventKind::CampaignStateChanged]).await;
    Ok(reply)
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
                responses((status = 200, body = CampaignOut), (status = "4XX", body = Problem)),
            )]
            pub(crate) async fn $name(
                State(state): State<ApiState>,
                principal: Principal,
                request_id: RequestId,
                Path(id): Path<CampaignId>,
                idempotency: Option<Idempotency>,
            ) -> Result<Reply, Problem> {
                apply(state, principal, request_id, id, Move::$action, idempotency).await
            }
        )+
    };
}

moves! {
    activate, Activate, "/campaigns/{campaign_id}/activate", "activate_campaign", "Begin to grant";
    pause, Pause, "/campaigns/{campaign_id}/pause", "pause_campaign", "Stop granting for a while";
    resume, Resume, "/campaigns/{campaign_id}/resume", "resume_campaign", "Grant again";
    end, End, "/campaigns/{campaign_id}/end", "end_campaign", "Stop granting for good";
}
