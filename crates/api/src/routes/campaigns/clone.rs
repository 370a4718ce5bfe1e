//! `POST /v1/campaigns/{campaign_id}/clone`

use axum::{extract::State, http::StatusCode};
use laurel_campaign::{By, create_campaign};
use laurel_events::{CampaignId, EventKind};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    campaign,
    out::{CampaignOut, tag},
};
use crate::{
    ApiState, Principal, Problem,
    extract::{Path, RequestBody},
    idempotency::{Keyed, Once, Reply},
    request_id::RequestId,
    staff_log::Change,
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CloneName)]
pub(crate) struct Request {
    /// What people call the copy; without, as the original.
    #[serde(default)]
    #[schema(
        min_length = 1,
        max_length = 120,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    name: Option<String>,
}

impl RequestBody for Request {}

/// Make a draft like a campaign
///
/// Everything that the campaign's definition says is copied, also the window, which may have to be changed. Its money and its lists of
/// players are not.
#[utoipa::path(
    post, path = "/campaigns/{campaign_id}/clone", tag = "campaigns", operation_id = "clone_campaign",
    params(
        ("campaign_id" = String, Path, description = "The campaign's id"),
        ("idempotency-key" = String, Header, description = "The same for the same request sent again"),
    ),
    request_body(content = Request, example = json!({ "name": "Quiz night, once more" })),
    responses((status = 201, body = CampaignOut), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    request_id: RequestId,
    Path(id): Path<CampaignId>,
    Keyed { request, idempotency }: Keyed<Request>,
) -> Result<Reply, Problem> {
    let mut rng = state.rng().await;
    let context = state.context(&request_id);
    let mut once = match Once::begin(&state, context.now, &principal, Some(&idempotency)).await? {
        Ok(once) => once,
        Err(answered) => return Ok(answered),
    };
    let mut definition = campaign(&mut once.tx, &principal, id).await?.definition;
    if let Some(name) = request.name {
        definition.name = name;
    }
    let by = By::somebody(&principal.subject);
    let copy = create_campaign(&mut once.tx, &context, &mut rng, principal.org, by, &definition).await?;
    let made = campaign(&mut once.tx, &principal, copy).await?;
    let (version, made) = (made.version, CampaignOut::from(made));
    let change = Change::of_campaign(copy).after(&made)?;
    let reply = Reply::json(StatusCode::CREATED, Some(tag(version)), &made)?;
    let reply = once.commit("campaign_created", reply, Some(change)).await?;
    state.wakes.committed([EventKind::CampaignCreated]).await;
    Ok(reply)
}
