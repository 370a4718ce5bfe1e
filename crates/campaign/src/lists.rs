//! Players whom a campaign treats apart: those who may play where not everybody may, and those who may not.

use std::{collections::HashMap, fmt, str::FromStr};

use chrono::{DateTime, Utc};
use laurel_events::{CampaignId, CampaignPlayersListed, OrgId, PlayerId};
use laurel_ledger::{Context, LedgerError, append};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{CampaignError, change::lock_campaign};

/// How many players may be put on lists at once: what one event can name.
pub const LISTED_MAX: usize = 1_000;

/// A list of players.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlayerList {
    /// They may earn something, also where not everybody may.
    Allow,
    /// They may not.
    Deny,
}

impl PlayerList {
    /// All lists.
    pub const ALL: [Self; 2] = [Self::Allow, Self::Deny];

    /// The name that the database stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl fmt::Display for PlayerList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PlayerList {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|list| list.as_str() == text).ok_or(())
    }
}

/// A change of lists: who is put on one, and who is on none any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlayersListed {
    /// Put on the list of those who may.
    pub allow: Vec<PlayerId>,
    /// Put on the list of those who may not.
    pub deny: Vec<PlayerId>,
    /// Taken from whichever they are on.
    pub remove: Vec<PlayerId>,
}

/// A player on a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPlayer {
    /// The player.
    pub player: PlayerId,
    /// The list.
    pub list: PlayerList,
    /// Who put them there.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Changes a campaign's lists while its books are locked: every outcome is decided wholly before or wholly after it.
///
/// # Errors
/// If there is no such campaign or the database does not answer.
pub async fn change_lists(
    conn: &mut PgConnection,
    context: &Context,
    org: OrgId,
    id: CampaignId,
    by: &str,
    listed: &PlayersListed,
) -> Result<(), CampaignError> {
    lock_campaign(conn, org, id, None).await?;
    let uuids = |players: &[PlayerId]| players.iter().map(|player| player.uuid()).collect::<Vec<Uuid>>();
    for (list, players) in [(PlayerList::Allow, &listed.allow), (PlayerList::Deny, &listed.deny)] {
        sqlx::query!(
            r#"
            INSERT INTO campaign_players (campaign, player, list, listed_by, listed_at)
            SELECT $1, player, $3, $4, $5 FROM unnest($2::uuid[]) AS u (player) ORDER BY player
            ON CONFLICT (campaign, player) DO UPDATE
            SET list = EXCLUDED.list, listed_by = EXCLUDED.listed_by, listed_at = EXCLUDED.listed_at
            "#,
            id.number(),
            &uuids(players),
            list.as_str(),
            by,
            context.now,
        )
        .execute(&mut *conn)
        .await?;
    }
    sqlx::query!(
        "DELETE FROM campaign_players WHERE campaign = $1 AND player = ANY ($2)",
        id.number(),
        &uuids(&listed.remove),
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!("UPDATE campaigns SET listed = true WHERE id = $1 AND NOT listed", id.number())
        .execute(&mut *conn)
        .await?;
    let PlayersListed { allow, deny, remove } = listed.clone();
    let event =
        CampaignPlayersListed { campaign: id, at: context.now, allow, deny, remove, by: by.to_owned() };
    append(conn, context, &[event.into()]).await?;
    Ok(())
}

/// Takes a player from all lists.
///
/// # Errors
/// If the database does not answer.
pub async fn unlist_player(conn: &mut PgConnection, player: PlayerId) -> Result<(), LedgerError> {
    sqlx::query!("DELETE FROM campaign_players WHERE player = $1", player.uuid()).execute(conn).await?;
    Ok(())
}

/// The lists that a player is on: the campaign, the list and since when.
///
/// # Errors
/// If the database does not answer.
pub async fn lists_of_player(
    conn: &mut PgConnection,
    player: PlayerId,
) -> Result<Vec<(CampaignId, String, DateTime<Utc>)>, LedgerError> {
    let rows = sqlx::query!(
        "SELECT campaign, list, listed_at FROM campaign_players WHERE player = $1 ORDER BY campaign",
        player.uuid(),
    );
    let rows = rows.fetch_all(conn).await?.into_iter();
    Ok(rows.map(|row| (CampaignId::from(row.campaign.cast_unsigned()), row.list, row.listed_at)).collect())
}

/// The lists that `players` are on.
pub(crate) async fn lists_of(
    conn: &mut PgConnection,
    campaigns: &[CampaignId],
    players: &[PlayerId],
) -> Result<HashMap<(CampaignId, PlayerId), PlayerList>, LedgerError> {
    let campaigns: Vec<i64> = campaigns.iter().map(|campaign| campaign.number()).collect();
    let players: Vec<Uuid> = players.iter().map(|player| player.uuid()).collect();
    let rows = sqlx::query!(
        "SELECT campaign, player, list FROM campaign_players WHERE campaign = ANY ($1) AND player = ANY ($2)",
        &campaigns,
        &players,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let wrong = |column| LedgerError::Inconsistent {
                table: "campaign_players",
                column,
                id: format!("{}/{}", row.campaign, row.player),
            };
            let campaign = CampaignId::try_from(row.campaign).map_err(|_| wrong("campaign"))?;
            let list = row.list.parse().map_err(|()| wrong("list"))?;
            Ok(((campaign, row.player.into()), list))
        })
        .collect()
}

/// The players on a campaign's lists, or on one of them, after `after`.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn list_players(
    conn: &mut PgConnection,
    id: CampaignId,
    list: Option<PlayerList>,
    after: Option<PlayerId>,
    limit: i64,
) -> Result<Vec<ListedPlayer>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT player, list, listed_by, listed_at FROM campaign_players
        WHERE campaign = $1 AND ($2::text IS NULL OR list = $2) AND ($3::uuid IS NULL OR player > $3)
        ORDER BY player
        LIMIT $4
        "#,
        id.number(),
        list.map(PlayerList::as_str),
        after.map(PlayerId::uuid),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let wrong = || LedgerError::Inconsistent {
                table: "campaign_players",
                column: "list",
                id: format!("{id}/{}", row.player),
            };
            let list = row.list.parse().map_err(|()| wrong())?;
            Ok(ListedPlayer { player: row.player.into(), list, by: row.listed_by, at: row.listed_at })
        })
        .collect()
}
