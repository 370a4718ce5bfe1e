//! `PATCH /v1/campaigns/{campaign_id}`

use axum::{Json, extract::State, http::HeaderMap, response::IntoResponse};
use chrono::{DateTime, Utc};
use laurel_campaign::{By, Caps, Definition, Windows, change_campaign, lock_campaign, reward::Reward};
use laurel_events::{CampaignId, EventKind};
use laurel_ledger::commit;
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::{
    GameName, LISTS,
    out::{CampaignOut, etag, if_match},
};
use crate::{
    ApiState, Principal, Problem,
    extract::{Body, Path, RequestBody},
    request_id::RequestId,
    shape::Lists,
    staff_log::{Change, keep_change},
};

/// What is absent stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CampaignPatch)]
pub(crate) struct Request {
    /// What people call it.
    #[serde(default)]
    #[schema(
        min_length = 1,
        max_length = 120,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    name: Option<String>,
    /// The games whose outcomes it meets.
    #[serde(default)]
    #[schema(value_type = Option<Vec<GameName>>, min_items = 1, max_items = 100)]
    games: Option<Vec<String>>,
    /// Which outcomes earn (CEL).
    #[serde(default)]
    #[schema(format = "cel")]
    rule: Option<String>,
    /// What they earn.
    #[serde(default)]
    reward: Option<Reward>,
    /// What one player may get at most.
    #[serde(default)]
    caps: Option<Caps>,
    /// The beginning of its window; null for none.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    starts_at: Option<Option<DateTime<Utc>>>,
    /// The end of its window; null for none.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    ends_at: Option<Option<DateTime<Utc>>>,
    /// Windows that come again and again within that; null for none.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Windows>)]
    windows: Option<Option<Windows>>,
    /// Whether only players may earn something whom its list allows.
    #[serde(default)]
    only_allowed: Option<bool>,
    /// How long a player has to link a wallet.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 8784)]
    wallet_deadline_hours: Option<u32>,
}

impl RequestBody for Request {
    const LISTS: Lists = LISTS;
}

/// Tells null from absent.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Request {
    fn apply(self, definition: &mut Definition) {
        let Self {
            name,
            games,
            rule,
            reward,
            caps,
            starts_at,
            ends_at,
            windows,
            only_allowed,
            wallet_deadline_hours,
        } = self;
        set(&mut definition.name, name);
        set(&mut definition.games, games);
        set(&mut definition.rule, rule);
        set(&mut definition.reward, reward);
        set(&mut definition.caps, caps);
        set(&mut definition.starts_at, starts_at);
        set(&mut definition.ends_at, ends_at);
        set(&mut definition.windows, windows);
        set(&mut definition.only_allowed, only_allowed);
        set(&mut definition.wallet_deadline_hours, wallet_deadline_hours);
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// Change a campaign
///
/// Send the last ETag as If-Match, so that nobody's change is overwritten unseen.
#[utoipa::path(
    patch, path = "/campaigns/{campaign_id}", tag = "campaigns", operation_id = "patch_campaign",
    params(
        ("campaign_id" = String, Path, description = "The campaign's id"),
        ("if-match" = Option<String>, Header, description = "The ETag of the version that is to be changed"),
    ),
    request_body(content = Request, example = json!({ "rule": "outcome.score >= 90", "windows": null })),
    responses((status = 200, body = CampaignOut), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    request_id: RequestId,
    headers: HeaderMap,
    Path(id): Path<CampaignId>,
    Body(request): Body<Request>,
) -> Result<impl IntoResponse, Problem> {
    let version = if_match(&headers)?;
    let context = state.context(&request_id);
    let mut tx = state.pool.begin().await?;
    let before = CampaignOut::from(lock_campaign(&mut tx, principal.org, id, version).await?);
    let changed = change_campaign(
        &mut tx,
        &context,
        principal.org,
        id,
        version,
        By::somebody(&principal.subject),
        |definition| {
            request.apply(definition);
        },
    )
    .await?;
    let (version, changed) = (changed.version, CampaignOut::from(changed));
    let change = Change::of_campaign(id).before(&before)?.after(&changed)?;
    keep_change(&mut tx, &state, context.now, &principal, change).await?;
    commit(tx, "campaign_changed").await?;
    state.wakes.committed([EventKind::CampaignChanged]).await;
    Ok((etag(version), Json(changed)))
}
