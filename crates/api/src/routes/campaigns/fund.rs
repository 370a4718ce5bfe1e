//! `POST /v1/campaigns/{campaign_id}/fund`

use alloy_primitives::Bytes;
use axum::{extract::State, http::StatusCode};
use laurel_campaign::{Campaign, request_funding};
use laurel_chain::funding_call;
use laurel_events::{Amount, CampaignId};
use laurel_ledger::Context;
use serde::{Deserialize, Serialize};
use sqlx::Acquire;
use utoipa::ToSchema;

use super::{campaign, out::CampaignOut};
use crate::{
    ApiState, Principal, Problem,
    extract::{Path, RequestBody},
    idempotency::{Keyed, Once, Reply},
    request_id::RequestId,
    staff_log::Change,
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Cap)]
pub(crate) struct Request {
    /// The whole cap in the token's base units, not the difference. It only rises.
    #[schema(value_type = String, format = "uint96", pattern = "^[1-9][0-9]{0,28}$")]
    cap: Amount,
}

impl RequestBody for Request {}

#[derive(Serialize, ToSchema)]
#[schema(as = CapAsked)]
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
/// Opens the campaign in the vault or raises its cap. The ledger is funded when that is final on the chain. Where no
/// treasury does it for the organisation, the answer is what the vault's owner has to call.
#[utoipa::path(
    post, path = "/campaigns/{campaign_id}/fund", tag = "campaigns", operation_id = "fund_campaign",
    params(
        ("campaign_id" = String, Path, description = "The campaign's id"),
        ("idempotency-key" = String, Header, description = "The same for the same request sent again"),
    ),
    request_body(content = Request, example = json!({ "cap": "1000000" })),
    responses((status = 202, body = Answer), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    request_id: RequestId,
    Path(id): Path<CampaignId>,
    Keyed { request: Request { cap }, idempotency }: Keyed<Request>,
) -> Result<Reply, Problem> {
    let context = state.context(&request_id);
    let mut once = match Once::begin(&state, context.now, &principal, Some(&idempotency)).await? {
        Ok(once) => once,
        Err(answered) => return Ok(answered),
    };
    let mut funded = request(&mut once, &context, id, cap).await?;
    let mut answer = Answer { cap, to: None, data: None };
    if !state.has_treasury(funded.definition.chain_id, &principal.org_name) {
        // Nobody waits for a node with a connection and the lock of a key: what is found before is looked at again.
        once.give_up().await?;
        let (vault, token) = (funded.vault, funded.definition.token);
        let data = owners_call(&state, &funded, cap).await?;
        once = match Once::begin(&state, context.now, &principal, Some(&idempotency)).await? {
            Ok(once) => once,
            Err(answered) => return Ok(answered),
        };
        funded = request(&mut once, &context, id, cap).await?;
        if (funded.vault, funded.definition.token) != (vault, token) {
            let detail = "somebody has changed what the campaign pays while it was funded: ask again";
            return Err(Problem::conflict("request_in_progress", detail));
        }
        answer = Answer { to: Some(vault.to_checksum(None)), data: Some(data), ..answer };
    }
    let reply = Reply::json(StatusCode::ACCEPTED, None, &answer)?;
    let before = CampaignOut::from(funded);
    let change = Change::of_campaign(id).before(&before)?.after(&answer)?;
    once.commit("funding_requested", reply, Some(change)).await
}

/// Asks the treasury for the cap, where there is one. Nothing is kept of a request that somebody else brings onto the chain: the watcher
/// will see it.
async fn request(
    once: &mut Once<'_>,
    context: &Context,
    id: CampaignId,
    cap: Amount,
) -> Result<Campaign, Problem> {
    let (state, principal) = (once.state, once.principal);
    let funded = campaign(&mut once.tx, principal, id).await?;
    let mut asked = once.tx.begin().await?;
    request_funding(&mut asked, context, principal.org, id, cap, &principal.subject).await?;
    match state.has_treasury(funded.definition.chain_id, &principal.org_name) {
        true => asked.commit().await?,
        false => asked.rollback().await?,
    }
    Ok(funded)
}

/// What the vault's owner has to call.
async fn owners_call(state: &ApiState, funded: &Campaign, cap: Amount) -> Result<Bytes, Problem> {
    let node = state.nodes.get(&funded.definition.chain_id);
    let node = node.ok_or_else(|| Problem::internal("a campaign on a chain that is not configured"))?;
    Ok(funding_call(&**node, funded.vault, funded.id, funded.definition.token, cap).await?)
}
