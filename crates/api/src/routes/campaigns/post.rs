//! `POST /v1/campaigns`

use alloy_primitives::Address;
use axum::{extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use laurel_campaign::{By, CampaignError, Caps, Definition, Windows, create_campaign, reward::Reward};
use laurel_events::EventKind;
use laurel_ledger::is_vault_or_lane;
use serde::Deserialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::{
    GameName, LISTS, campaign,
    out::{CampaignOut, tag},
};
use crate::{
    ApiState, Principal, Problem,
    address::checksummed,
    extract::RequestBody,
    idempotency::{Keyed, Once, Reply},
    request_id::RequestId,
    shape::Lists,
    staff_log::Change,
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewCampaign)]
pub(crate) struct Request {
    /// What people call it.
    #[schema(
        min_length = 1,
        max_length = 120,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    name: String,
    /// The chain it pays on.
    #[schema(maximum = 18446744073709551615u64)]
    chain_id: u64,
    /// The token it pays.
    #[serde(deserialize_with = "checksummed")]
    #[schema(value_type = String, format = "eip55", pattern = "^(0x)?[0-9a-fA-F]{40}$")]
    token: Address,
    /// The games whose outcomes it meets.
    #[schema(value_type = Vec<GameName>, min_items = 1, max_items = 100)]
    games: Vec<String>,
    /// Which outcomes earn (CEL over `outcome` and `player`).
    #[schema(format = "cel", example = "outcome.score >= 100 && player.grants < 5")]
    rule: String,
    /// What they earn.
    reward: Reward,
    /// What one player may get at most.
    #[serde(default)]
    caps: Option<Caps>,
    /// The beginning of its window.
    #[serde(default)]
    starts_at: Option<DateTime<Utc>>,
    /// The end of its window.
    #[serde(default)]
    ends_at: Option<DateTime<Utc>>,
    /// Windows that come again and again within that.
    #[serde(default)]
    windows: Option<Windows>,
    /// Whether only players may earn something whom its list allows.
    #[serde(default)]
    only_allowed: bool,
    /// How long a player has to link a wallet.
    #[schema(minimum = 1, maximum = 8784)]
    wallet_deadline_hours: u32,
}

impl RequestBody for Request {
    const LISTS: Lists = LISTS;
}

impl Request {
    fn definition(self) -> Definition {
        let Self {
            name,
            chain_id,
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
        } = self;
        Definition {
            name,
            chain_id,
            token,
            games,
            rule,
            reward,
            caps: caps.unwrap_or_default(),
            starts_at,
            ends_at,
            windows,
            only_allowed,
            wallet_deadline_hours,
        }
    }
}

/// Refuses a token that can never be paid: nothing on the chain, or one of our own addresses.
async fn require_token(
    state: &ApiState,
    conn: &mut PgConnection,
    definition: &Definition,
) -> Result<(), Problem> {
    // A chain that is not configured has no vault either, or one that another process looks after.
    let Some(node) = state.nodes.get(&definition.chain_id) else {
        return Err(CampaignError::NoVault(definition.chain_id).into());
    };
    let refuse = |why| Problem::unprocessable("invalid_token", format!("token: {why}")).at("#/token");
    if is_vault_or_lane(conn, definition.chain_id, definition.token).await? {
        return Err(refuse("this is a vault or a lane of Laurel, not a token"));
    }
    if node.code(definition.token).await?.is_empty() {
        return Err(refuse(
            "there is no contract at this address on this chain: compare address and chain_id",
        ));
    }
    Ok(())
}

/// Make a campaign
///
/// It begins as a draft: fund it, then activate it.
#[utoipa::path(
    post, path = "/campaigns", tag = "campaigns", operation_id = "post_campaign", request_body(content = Request, example = json!({
        "name": "Quiz night", "chain_id": 31337, "token": "0x5FbDB2315678afecb367f032d93F642f64180aa3", "games": ["quiz"],
        "rule": "outcome.score >= 80 && player.grants < 5",
        "reward": { "kind": "per_unit", "field": "score", "amount": "10", "cap": "1000" },
        "caps": { "grants_per_player_per_day": 3, "amount_per_player": "10000" },
        "starts_at": "2036-01-01T00:00:00Z", "ends_at": "2036-04-01T00:00:00Z",
        "windows": { "cron": "0 18 * * FRI", "time_zone": "Europe/Berlin", "minutes": 240 },
        "wallet_deadline_hours": 72,
    })),
    params(("idempotency-key" = String, Header, description = "The same for the same request sent again")),
    responses((status = 201, body = CampaignOut), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    request_id: RequestId,
    Keyed { request, idempotency }: Keyed<Request>,
) -> Result<Reply, Problem> {
    let definition = request.definition();
    let mut rng = state.rng().await;
    let context = state.context(&request_id);
    let mut once = match Once::begin(&state, context.now, &principal, Some(&idempotency)).await? {
        Ok(once) => once,
        Err(answered) => return Ok(answered),
    };
    definition.check().map_err(CampaignError::from)?;
    require_token(&state, &mut once.tx, &definition).await?;
    let id = create_campaign(
        &mut once.tx,
        &context,
        &mut rng,
        principal.org,
        By::somebody(&principal.subject),
        &definition,
    )
    .await?;
    let made = campaign(&mut once.tx, &principal, id).await?;
    let (version, made) = (made.version, CampaignOut::from(made));
    let change = Change::of_campaign(id).after(&made)?;
    let reply = Reply::json(StatusCode::CREATED, Some(tag(version)), &made)?;
    let reply = once.commit("campaign_created", reply, Some(change)).await?;
    state.wakes.committed([EventKind::CampaignCreated]).await;
    Ok(reply)
}
