//! Compiled rules, kept by version: a version never changes.

use std::sync::Arc;

use laurel_events::CampaignId;
use moka::sync::Cache;

use crate::rule::{Rule, RuleError};

/// How many compiled rules are kept: more than campaigns are active at once, at some kilobytes each.
const RULES_MAX: u64 = 10_000;

/// Compiled rules by campaign and version.
#[derive(Clone, Debug)]
pub struct RuleCache {
    rules: Cache<(CampaignId, i32), Rule>,
}

impl Default for RuleCache {
    fn default() -> Self {
        Self { rules: Cache::new(RULES_MAX) }
    }
}

impl RuleCache {
    /// The compiled rule of a version whose source is `source`.
    pub(crate) fn get(
        &self,
        campaign: CampaignId,
        version: i32,
        source: &str,
    ) -> Result<Rule, Arc<RuleError>> {
        self.rules.try_get_with((campaign, version), || Rule::compile(source))
    }
}
