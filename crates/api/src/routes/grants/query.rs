//! What a list of grants can be asked for.

use alloy_primitives::Address;
use chrono::{DateTime, Utc};
use laurel_events::{Amount, CampaignId, GrantId, OrgId, PlayerId};
use laurel_players::find_player;
use laurel_views::{GrantFilter, players_of_wallet};
use serde::Deserialize;
use sqlx::PgConnection;
use utoipa::IntoParams;

use super::STATES;
use crate::{Problem, extract::known};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct GrantQuery {
    /// Where the page before ended, as its `next` said.
    #[serde(default)]
    pub(crate) cursor: Option<String>,
    /// How many items, 1 to 500; 50 without.
    #[serde(default)]
    pub(crate) limit: Option<u16>,
    /// Only this campaign's.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    campaign_id: Option<CampaignId>,
    /// Only this player's, by the game server's id.
    #[serde(default)]
    player_id: Option<String>,
    /// Only those that pay this wallet.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    wallet: Option<Address>,
    /// Only those in this state.
    #[serde(default)]
    state: Option<String>,
    /// Only those of this token.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    token: Option<Address>,
    /// Only those on this chain.
    #[serde(default)]
    chain_id: Option<u64>,
    /// Only those that were granted at this moment or later (RFC 3339).
    #[serde(default)]
    granted_from: Option<DateTime<Utc>>,
    /// Only those that were granted before this moment.
    #[serde(default)]
    granted_until: Option<DateTime<Utc>>,
    /// Only those of this amount or more.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    amount_min: Option<Amount>,
    /// Only those of this amount or less.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    amount_max: Option<Amount>,
    /// Only those by this version of their campaign's rule.
    #[serde(default)]
    rule_version: Option<i32>,
    /// Only those whose transaction is in this block or a later one.
    #[serde(default)]
    block_min: Option<u64>,
    /// Only those whose transaction is in this block or an earlier one.
    #[serde(default)]
    block_max: Option<u64>,
}

/// The query, with the players whom it is about; none where nobody knows them, so that nothing is theirs.
pub(crate) struct Asked {
    query: GrantQuery,
    players: Option<Vec<PlayerId>>,
}

impl GrantQuery {
    /// Looks up whom it is about.
    pub(crate) async fn resolve(self, conn: &mut PgConnection, org: OrgId) -> Result<Asked, Problem> {
        known("state", self.state.as_deref(), &STATES)?;
        let named = match &self.player_id {
            None => None,
            Some(name) => match find_player(conn, org, name).await? {
                Some(player) => Some(player.id),
                None => return Ok(Asked { query: self, players: Some(Vec::new()) }),
            },
        };
        let of_wallet = match self.wallet {
            None => None,
            Some(wallet) => Some(players_of_wallet(conn, wallet).await?),
        };
        let players = match (named, of_wallet) {
            (Some(player), Some(players)) => Some(players.into_iter().filter(|of| *of == player).collect()),
            (Some(player), None) => Some(vec![player]),
            (None, players) => players,
        };
        Ok(Asked { query: self, players })
    }
}

impl Asked {
    /// The filter, behind `after`.
    pub(crate) fn filter(&self, after: Option<GrantId>) -> GrantFilter<'_> {
        let query = &self.query;
        GrantFilter {
            campaign: query.campaign_id,
            token: query.token,
            chain_id: query.chain_id,
            players: self.players.as_deref(),
            wallet: query.wallet,
            state: query.state.as_deref(),
            granted: (query.granted_from, query.granted_until),
            amount_min: query.amount_min,
            amount_max: query.amount_max,
            rule_version: query.rule_version,
            blocks: (query.block_min, query.block_max),
            after,
        }
    }
}
