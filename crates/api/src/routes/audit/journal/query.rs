//! What the journal can be asked for.

use chrono::{DateTime, Utc};
use laurel_events::{CampaignId, EventKind, OrgId};
use laurel_views::{JournalCursor, JournalFilter};
use serde::Deserialize;
use sqlx::PgConnection;
use utoipa::IntoParams;

use super::super::about;
use crate::{Problem, extract::known};

#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct JournalQuery {
    /// Where the page before ended, as its `next` said.
    #[serde(default)]
    pub(super) cursor: Option<String>,
    /// How many items, 1 to 500; 50 without.
    #[serde(default)]
    pub(super) limit: Option<u16>,
    /// Only those of this kind.
    #[serde(default)]
    kind: Option<String>,
    /// Only those about this campaign: what happened to it and its grants, and what people did with it.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    campaign_id: Option<CampaignId>,
    /// Only those about this player.
    #[serde(default)]
    player_id: Option<String>,
    /// Only those that were recorded at this moment or later (RFC 3339).
    #[serde(default)]
    recorded_from: Option<DateTime<Utc>>,
    /// Only those that were recorded before this moment.
    #[serde(default)]
    recorded_until: Option<DateTime<Utc>>,
}

impl JournalQuery {
    /// The filter, behind `after`.
    pub(super) async fn filter(
        &self,
        conn: &mut PgConnection,
        org: OrgId,
        after: Option<JournalCursor>,
    ) -> Result<JournalFilter, Problem> {
        let names: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        let kind = known("kind", self.kind.as_deref(), &names)?.and_then(|kind| kind.parse().ok());
        Ok(JournalFilter {
            kinds: kind.into_iter().collect(),
            about: about(conn, org, self.campaign_id, self.player_id.as_deref()).await?,
            recorded: (self.recorded_from, self.recorded_until),
            after,
        })
    }
}
