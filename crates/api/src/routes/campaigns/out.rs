//! A campaign as the interface shows it.

use alloy_primitives::B256;
use axum::http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ETAG, IF_MATCH},
};
use chrono::{DateTime, Utc};
use laurel_campaign::{Campaign, CampaignState, Caps, PendingFunding, Sent, Windows, reward::Reward};
use laurel_events::{Amount, CampaignId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::Problem;

/// A transaction that the treasury has sent, or is about to send.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct SentOut {
    /// What for: transfer, cap, close, release or withdraw.
    step: String,
    /// Its hash.
    #[schema(value_type = String)]
    tx: B256,
    /// When.
    sent_at: DateTime<Utc>,
}

impl From<Sent> for SentOut {
    fn from(Sent { step, tx, at }: Sent) -> Self {
        Self { step, tx, sent_at: at }
    }
}

/// A cap that is not on the chain yet.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct FundingOut {
    /// The cap that was asked for.
    #[schema(value_type = String)]
    cap: Amount,
    /// Since when.
    requested_at: DateTime<Utc>,
    /// Why it is not there; null while it is on its way.
    error: Option<String>,
    /// The treasury's last transaction for it; null before there is one.
    transaction: Option<SentOut>,
}

impl From<PendingFunding> for FundingOut {
    fn from(pending: PendingFunding) -> Self {
        let PendingFunding { cap, requested_at, error, sent } = pending;
        Self { cap, requested_at, error, transaction: sent.map(Into::into) }
    }
}

/// A campaign.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "3765371974116720809", "name": "Quiz night", "state": "draft", "chain_id": 31337,
    "vault": "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512", "token": "0x5FbDB2315678afecb367f032d93F642f64180aa3",
    "games": ["quiz"], "rule": "outcome.score >= 80 && player.grants < 5",
    "reward": { "kind": "per_unit", "field": "score", "amount": "10", "cap": "1000" },
    "caps": { "grants_per_player_per_day": 3, "amount_per_player": "10000" },
    "starts_at": "2036-01-01T00:00:00Z", "ends_at": "2036-04-01T00:00:00Z", "only_allowed": false,
    "wallet_deadline_hours": 72, "rule_version": 1, "version": 1, "created_at": "2026-01-01T00:00:00Z",
}))]
pub(crate) struct CampaignOut {
    /// Its id, on the chain and off it.
    #[schema(value_type = String)]
    pub(crate) id: CampaignId,
    /// What people call it.
    name: String,
    /// draft, scheduled, active, paused, ended, closing or closed.
    #[schema(value_type = String)]
    state: CampaignState,
    /// Why Laurel itself put it there.
    #[serde(skip_serializing_if = "Option::is_none")]
    state_reason: Option<String>,
    /// The chain it pays on.
    chain_id: u64,
    /// The vault that pays.
    vault: String,
    /// The token it pays.
    token: String,
    /// The games whose outcomes it meets.
    games: Vec<String>,
    /// Which outcomes earn (CEL).
    rule: String,
    /// What they earn.
    reward: Reward,
    /// What one player may get at most.
    caps: Caps,
    /// The beginning of its window.
    starts_at: Option<DateTime<Utc>>,
    /// The end of its window.
    ends_at: Option<DateTime<Utc>>,
    /// Windows that come again and again within that.
    #[serde(skip_serializing_if = "Option::is_none")]
    windows: Option<Windows>,
    /// Whether only players may earn something whom its list allows.
    only_allowed: bool,
    /// How long a player has to link a wallet.
    wallet_deadline_hours: u32,
    /// The version of rule, reward and caps.
    rule_version: i32,
    /// The version of everything, as in the ETag.
    version: i32,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// The cap that the treasury has still to bring onto the chain; only where one campaign is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) funding: Option<FundingOut>,
}

impl From<Campaign> for CampaignOut {
    fn from(campaign: Campaign) -> Self {
        let definition = campaign.definition;
        Self {
            id: campaign.id,
            name: definition.name,
            state: campaign.state,
            state_reason: campaign.state_reason,
            chain_id: definition.chain_id,
            vault: campaign.vault.to_checksum(None),
            token: definition.token.to_checksum(None),
            games: definition.games,
            rule: definition.rule,
            reward: definition.reward,
            caps: definition.caps,
            starts_at: definition.starts_at,
            ends_at: definition.ends_at,
            windows: definition.windows,
            only_allowed: definition.only_allowed,
            wallet_deadline_hours: definition.wallet_deadline_hours,
            rule_version: campaign.rule_version,
            version: campaign.version,
            created_at: campaign.created_at,
            funding: None,
        }
    }
}

/// The entity tag of a version.
pub(crate) fn tag(version: i32) -> String {
    format!("\"{version}\"")
}

/// The ETag header of a version.
pub(crate) fn etag(version: i32) -> [(HeaderName, HeaderValue); 1] {
    let value = HeaderValue::from_str(&tag(version)).expect("quotes and digits are visible ASCII");
    [(ETAG, value)]
}

/// The version that If-Match wants, if any; `*` wants none in particular (RFC 9110, section 13.1.1).
pub(crate) fn if_match(headers: &HeaderMap) -> Result<Option<i32>, Problem> {
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    let value = value.to_str().unwrap_or_default().trim();
    if value == "*" {
        return Ok(None);
    }
    let version = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')?.parse().ok());
    version.map(Some).ok_or_else(|| {
        Problem::bad_request("invalid_if_match", "send the ETag of the last answer, with its quotes")
            .of_parameter("if-match")
    })
}
