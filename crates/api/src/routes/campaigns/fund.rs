//! `POST /v1/campaigns/{campaign_id}/fund`

use alloy_primitives::Bytes;
use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
use laurel_campaign::request_funding;
use laurel_chain::funding_call;
use laurel_events::{Amount, CampaignId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::campaign;
use crate::{
    ApiState, Principal, Problem, Role,
    extract::{Body, Path},
    request_id::RequestId,
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// The whole cap in the token's base units, not the difference. It only rises.
    #[schema(value_type = String)]
    cap: Amount,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Answer {
    /// The cap that was asked for.
    #[schema(value_type = String)]
    cap: Amount,
    /// The vault, where the owner has to send the call; absent where the treasury does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    /// The call's data; absent where the treasury does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    data: Option<Bytes>,
}

/// Fund a campaign
///
/// Opens the campaign in the vault or raises its cap. The ledger is funded when that is final on the chain.
#[utoipa::path(
    post, path = "/campaigns/{campaign_id}/fund", tag = "campaigns", operation_id = "fund_campaign",
    params(("campaign_id" = String, Path, description = "The campaign's id")), request_body = Request,
    responses((status = 202, body = Answer), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    request_id: RequestId,
    Path(id): Path<CampaignId>,
    Body(request): Body<Request>,
) -> Result<impl IntoResponse, Problem> {
    principal.require(&[Role::Manager])?;
    let cap = request.cap;
    let mut tx = state.pool.begin().await?;
    let funded = campaign(&mut tx, &principal, id).await?;
    let context = state.context(&request_id);
    request_funding(&mut tx, &context, principal.org, id, cap, &principal.subject).await?;
    if state.treasury {
        tx.commit().await?;
        return Ok((StatusCode::ACCEPTED, Json(Answer { cap, to: None, data: None })));
    }
    // Nothing is kept of a request that somebody else brings onto the chain: the watcher will see it.
    drop(tx);
    let node = state.nodes.get(&funded.definition.chain_id);
    let node = node.ok_or_else(|| Problem::internal("a campaign on a chain that is not configured"))?;
    let data = funding_call(&**node, funded.vault, funded.id, funded.definition.token, cap).await?;
    let to = Some(funded.vault.to_checksum(None));
    Ok((StatusCode::ACCEPTED, Json(Answer { cap, to, data: Some(data) })))
}
