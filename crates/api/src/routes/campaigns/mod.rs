//! Campaigns.

pub(crate) mod budget;
pub(crate) mod clone;
pub(crate) mod close;
pub(crate) mod declines;
pub(crate) mod fund;
pub(crate) mod get;
pub(crate) mod grants;
pub(crate) mod history;
pub(crate) mod hours;
pub(crate) mod ledger;
pub(crate) mod list;
pub(crate) mod moves;
mod out;
pub(crate) mod patch;
pub(crate) mod players;
pub(crate) mod post;
pub(crate) mod rule;
pub(crate) mod statistics;

use laurel_campaign::{Campaign, CampaignState, find_campaign};
use laurel_events::CampaignId;
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::{Principal, Problem, shape::Lists};

/// The name of a game: 1 to 64 bytes.
#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 64,
    pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
)]
#[expect(dead_code, reason = "it is what the document says of names that a definition checks")]
pub(crate) struct GameName(String);

/// Where a definition holds lists.
const LISTS: Lists = Lists::of(&["games", "amounts"]);

/// The campaign in the path, of the caller's organisation.
async fn campaign(
    conn: &mut PgConnection,
    principal: &Principal,
    id: CampaignId,
) -> Result<Campaign, Problem> {
    let found = find_campaign(conn, id).await?;
    let found = found.filter(|found| found.org == principal.org && found.state != CampaignState::Deleted);
    found.ok_or_else(|| Problem::not_found("campaign"))
}
