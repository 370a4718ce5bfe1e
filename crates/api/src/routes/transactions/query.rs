//! What a list of transactions can be asked for.

use alloy_primitives::Address;
use chrono::{DateTime, Utc};
use laurel_events::{AttemptId, CampaignId};
use laurel_views::TransactionFilter;
use serde::Deserialize;
use utoipa::IntoParams;

use super::out::STATES;
use crate::{Problem, extract::known};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TransactionQuery {
    /// Where the page before ended, as its `next` said.
    #[serde(default)]
    pub(crate) cursor: Option<String>,
    /// How many items, 1 to 500; 50 without.
    #[serde(default)]
    pub(crate) limit: Option<u16>,
    /// Only those that settle, or burn, something of this campaign.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    campaign_id: Option<CampaignId>,
    /// Only those that pay this token.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    token: Option<Address>,
    /// Only those on this chain.
    #[serde(default)]
    chain_id: Option<u64>,
    /// Only those in this state.
    #[serde(default)]
    state: Option<String>,
    /// Only those of this lane's account.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    from: Option<Address>,
    /// Only those that outbid another one; with false, only those that outbid none.
    #[serde(default)]
    replacement: Option<bool>,
    /// Only those that were signed at this moment or later (RFC 3339).
    #[serde(default)]
    signed_from: Option<DateTime<Utc>>,
    /// Only those that were signed before this moment.
    #[serde(default)]
    signed_until: Option<DateTime<Utc>>,
    /// Only those in this block or a later one.
    #[serde(default)]
    block_min: Option<u64>,
    /// Only those in this block or an earlier one.
    #[serde(default)]
    block_max: Option<u64>,
}

impl TransactionQuery {
    /// The filter, behind `after`.
    pub(crate) fn filter(&self, after: Option<AttemptId>) -> Result<TransactionFilter<'_>, Problem> {
        Ok(TransactionFilter {
            campaign: self.campaign_id,
            token: self.token,
            chain_id: self.chain_id,
            state: known("state", self.state.as_deref(), &STATES)?,
            from: self.from,
            replacement: self.replacement,
            signed: (self.signed_from, self.signed_until),
            blocks: (self.block_min, self.block_max),
            batches: None,
            after,
        })
    }
}
