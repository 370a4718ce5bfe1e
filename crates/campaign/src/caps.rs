//! How much one player may get of a campaign.

use laurel_events::Amount;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Caps per player; what is absent is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Caps {
    /// Grants over the campaign's whole life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 9223372036854775807i64)]
    pub grants_per_player: Option<u64>,
    /// Grants recorded on one UTC day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 9223372036854775807i64)]
    pub grants_per_player_per_day: Option<u64>,
    /// Base units over the campaign's whole life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uint256", pattern = "^[1-9][0-9]{0,77}$")]
    pub amount_per_player: Option<Amount>,
    /// Base units granted for outcomes that were recorded on one UTC day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uint256", pattern = "^[1-9][0-9]{0,77}$")]
    pub amount_per_player_per_day: Option<Amount>,
}

impl Caps {
    /// Whether a player's whole-life counter is needed to keep them.
    pub(crate) const fn need_life(&self) -> bool {
        self.grants_per_player.is_some() || self.amount_per_player.is_some()
    }

    /// Whether a player's counter of the day is needed to keep them.
    pub(crate) const fn need_day(&self) -> bool {
        self.grants_per_player_per_day.is_some() || self.amount_per_player_per_day.is_some()
    }
}
