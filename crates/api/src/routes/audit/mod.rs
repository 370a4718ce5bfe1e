//! What auditors ask.

pub(crate) mod balances;
pub(crate) mod journal;
pub(crate) mod log;
pub(crate) mod reconciliations;
pub(crate) mod vaults;

use laurel_events::{CampaignId, OrgId, Subject};
use laurel_ledger::LedgerError;
use laurel_players::find_player;
use sqlx::PgConnection;
use uuid::Uuid;

pub(crate) use self::vaults::HoldingsCache;

/// What somebody asks about, if about something: a campaign, or a player. Nothing is about both, nor about a player whom nobody knows.
async fn about(
    conn: &mut PgConnection,
    org: OrgId,
    campaign: Option<CampaignId>,
    player: Option<&str>,
) -> Result<Option<Subject>, LedgerError> {
    let player = match (campaign, player) {
        (campaign, None) => return Ok(campaign.map(|id| Subject::new("campaign", id))),
        (Some(_), Some(_)) => None,
        (None, Some(name)) => find_player(conn, org, name).await?,
    };
    let id = player.map_or(Uuid::nil(), |player| player.id.uuid());
    Ok(Some(Subject::new("player", id)))
}
