//! `GET /v1/outcomes/{outcome_id}`

use axum::{Json, extract::State};
use laurel_events::{CampaignId, GrantId, OutcomeKey};
use laurel_ledger::{find_outcome, grants_of_outcome, is_handled};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    ApiState, Principal, Problem, Role,
    extract::{Path, Query},
};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Issuer {
    /// The game server that reported it; the caller itself without.
    #[serde(default)]
    issuer: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Decline {
    /// The campaign.
    #[schema(value_type = String)]
    campaign_id: CampaignId,
    /// A stable code.
    reason: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OutcomeState)]
pub(crate) struct Answer {
    /// pending, granted once any campaign granted, or declined: also if an operator has given it up.
    state: &'static str,
    /// The grants it earned.
    #[schema(value_type = Vec<String>)]
    grants: Vec<GrantId>,
    /// The campaigns that it met without earning anything.
    declines: Vec<Decline>,
}

/// What became of an outcome
#[utoipa::path(
    get, path = "/outcomes/{outcome_id}", tag = "outcomes", operation_id = "get_outcome",
    params(("outcome_id" = String, Path, description = "The game server's id"), Issuer),
    responses((status = 200, body = Answer), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path(outcome_id): Path<String>,
    Query(query): Query<Issuer>,
) -> Result<Json<Answer>, Problem> {
    let issuer = match (principal.role, query.issuer) {
        (Some(Role::GameServer), _) | (_, None) => principal.subject,
        (_, Some(issuer)) => issuer,
    };
    let mut conn = state.read_pool.acquire().await?;
    let key = OutcomeKey::derive(principal.org, &issuer, &outcome_id);
    let outcome = find_outcome(&mut conn, key).await?.ok_or_else(|| Problem::not_found("outcome"))?;
    // Read before the grants: a decision that comes in between then shows as pending, never as declined.
    let decided = is_handled(&mut conn, "campaign", outcome.place.0).await?;
    let (grants, declines) = grants_of_outcome(&mut conn, outcome.place).await?;
    let answer = Answer {
        state: if !grants.is_empty() {
            "granted"
        } else if decided {
            "declined"
        } else {
            "pending"
        },
        grants: grants.into_iter().map(|grant| grant.id).collect(),
        declines: declines.into_iter().map(|(campaign_id, reason)| Decline { campaign_id, reason }).collect(),
    };
    Ok(Json(answer))
}
