//! Trying a rule before it goes live.

pub(crate) mod replay;
pub(crate) mod try_it;

use laurel_campaign::{Caps, Definition, reward::Reward};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::routes::campaigns::GameName;

/// What is to be different; what is absent is as the campaign has it.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RuleChange)]
pub(crate) struct Change {
    /// The games whose outcomes it would meet.
    #[serde(default)]
    #[schema(value_type = Option<Vec<GameName>>, min_items = 1, max_items = 100)]
    games: Option<Vec<String>>,
    /// Which outcomes would earn (CEL).
    #[serde(default)]
    #[schema(format = "cel")]
    rule: Option<String>,
    /// What they would earn.
    #[serde(default)]
    reward: Option<Reward>,
    /// What one player could get at most.
    #[serde(default)]
    caps: Option<Caps>,
}

impl Change {
    fn apply(self, mut definition: Definition) -> Definition {
        let Self { games, rule, reward, caps } = self;
        definition.games = games.unwrap_or(definition.games);
        definition.rule = rule.unwrap_or(definition.rule);
        definition.reward = reward.unwrap_or(definition.reward);
        definition.caps = caps.unwrap_or(definition.caps);
        definition
    }
}
