//! `POST /v1/campaigns`

use alloy_primitives::Address;
use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
use chrono::{DateTime, Utc};
use laurel_campaign::{Caps, Definition, create_campaign, reward::Reward};
use laurel_events::EventKind;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    campaign,
    out::{CampaignOut, etag},
};
use crate::{ApiState, Principal, Problem, Role, extract::Body, request_id::RequestId};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// What people call it.
    name: String,
    /// The chain it pays on.
    chain_id: u64,
    /// The token it pays.
    #[schema(value_type = String)]
    token: Address,
    /// The games whose outcomes it meets.
    games: Vec<String>,
    /// Which outcomes earn (CEL over `outcome` and `player`).
    #[schema(example = "outcome.score >= 100 && player.grants < 5")]
    rule: String,
    /// What they earn.
    #[schema(value_type = Object, example = json!({"kind": "fixed", "amount": "1000000000000000000"}))]
    reward: Reward,
    /// What one player may get at most.
    #[serde(default)]
    #[schema(value_type = Object)]
    caps: Caps,
    /// The beginning of its window.
    #[serde(default)]
    starts_at: Option<DateTime<Utc>>,
    /// The end of its window.
    #[serde(default)]
    ends_at: Option<DateTime<Utc>>,
    /// How long a player has to link a wallet.
    wallet_deadline_hours: u32,
}

/// Make a campaign
///
/// It begins as a draft: fund it, then activate it.
#[utoipa::path(
    post, path = "/campaigns", tag = "campaigns", operation_id = "post_campaign", request_body = Request,
    responses((status = 201, body = CampaignOut), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    request_id: RequestId,
    Body(request): Body<Request>,
) -> Result<impl IntoResponse, Problem> {
    principal.require(&[Role::Manager])?;
    let definition = Definition {
        name: request.name,
        chain_id: request.chain_id,
        token: request.token,
        games: request.games,
        rule: request.rule,
        reward: request.reward,
        caps: request.caps,
        starts_at: request.starts_at,
        ends_at: request.ends_at,
        wallet_deadline_hours: request.wallet_deadline_hours,
    };
    let mut rng = state.rng().await;
    let context = state.context(&request_id);
    let mut tx = state.pool.begin().await?;
    let id =
        create_campaign(&mut tx, &context, &mut rng, principal.org, &principal.subject, &definition).await?;
    let made = campaign(&mut tx, &principal, id).await?;
    tx.commit().await?;
    state.wakes.committed([EventKind::CampaignCreated]).await;
    Ok((StatusCode::CREATED, etag(made.version), Json(CampaignOut::from(made))))
}
