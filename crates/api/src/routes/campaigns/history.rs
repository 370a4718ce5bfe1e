//! `GET /v1/campaigns/{campaign_id}/history`

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use laurel_campaign::{
    CampaignState, CampaignVersion, Caps, Definition, Windows, find_campaign, list_versions, reward::Reward,
};
use laurel_events::CampaignId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    ApiState, Principal, Problem,
    extract::{Page, Paging, Path, Query},
};

/// A campaign as it was from `at` on, until the next version.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct VersionOut {
    /// The version, as in the ETag.
    version: i32,
    /// Since when.
    at: DateTime<Utc>,
    /// Who made it so; laurel where nobody did.
    by: String,
    /// Why, in their own words.
    reason: Option<String>,
    /// draft, scheduled, active, paused, ended or deleted.
    #[schema(value_type = String)]
    state: CampaignState,
    /// Why Laurel itself put it there.
    state_reason: Option<String>,
    /// What people called it.
    name: String,
    /// The token it paid.
    token: String,
    /// The games whose outcomes it met.
    games: Vec<String>,
    /// The version of rule, reward and caps, which grants and declines name.
    rule_version: i32,
    /// Which outcomes earned (CEL).
    rule: String,
    /// What they earned.
    reward: Reward,
    /// What one player could get at most.
    caps: Caps,
    /// The beginning of its window.
    starts_at: Option<DateTime<Utc>>,
    /// The end of its window.
    ends_at: Option<DateTime<Utc>>,
    /// Windows that came again and again within that.
    #[serde(skip_serializing_if = "Option::is_none")]
    windows: Option<Windows>,
    /// Whether only players could earn something whom its list allowed.
    only_allowed: bool,
    /// How long a player had to link a wallet.
    wallet_deadline_hours: u32,
}

impl From<CampaignVersion> for VersionOut {
    fn from(found: CampaignVersion) -> Self {
        let CampaignVersion { version, state, state_reason, rule_version, definition, by, at, reason } =
            found;
        let Definition {
            name,
            token,
            games,
            rule,
            reward,
            caps,
            starts_at,
            ends_at,
            windows,
            only_allowed,
            wallet_deadline_hours,
            ..
        } = definition;
        let token = token.to_checksum(None);
        Self {
            version,
            at,
            by,
            reason,
            state,
            state_reason,
            name,
            token,
            games,
            rule_version,
            rule,
            reward,
            caps,
            starts_at,
            ends_at,
            windows,
            only_allowed,
            wallet_deadline_hours,
        }
    }
}

/// What a campaign was at every moment
///
/// One version after the other, the newest first: who made it so, when and why. Deleted drafts have theirs as well.
#[utoipa::path(
    get, path = "/campaigns/{campaign_id}/history", tag = "campaigns", operation_id = "get_campaign_history",
    params(("campaign_id" = String, Path, description = "The campaign's id"), Paging),
    responses((status = 200, body = Page<VersionOut>), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path(id): Path<CampaignId>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<VersionOut>>, Problem> {
    let (before, limit) = Paging::parse::<i32>(paging.cursor.as_deref(), paging.limit)?;
    let mut conn = state.read_pool.acquire().await?;
    let found = find_campaign(&mut conn, id).await?.filter(|found| found.org == principal.org);
    if found.is_none() {
        return Err(Problem::not_found("campaign"));
    }
    let versions = list_versions(&mut conn, id, before, limit).await?;
    let items: Vec<VersionOut> = versions.into_iter().map(VersionOut::from).collect();
    Ok(Json(Page::new(items, limit, |version| version.version.to_string())))
}
