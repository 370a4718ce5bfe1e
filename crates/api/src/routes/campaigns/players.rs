//! `/v1/campaigns/{campaign_id}/players`

use std::collections::HashSet;

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use laurel_campaign::{LISTED_MAX, PlayerList, PlayersListed, change_lists, list_players};
use laurel_events::{CampaignId, EventKind, PlayerId};
use laurel_players::{find_players, players_of_ids};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};

use super::campaign;
use crate::{
    ApiState, Principal, Problem,
    extract::{Page, Paging, Path, Query, RequestBody, known},
    idempotency::{Keyed, Once, Reply},
    request_id::RequestId,
    shape::Lists,
    staff_log::Change,
};

#[derive(Serialize, ToSchema)]
pub(crate) struct ListedOut {
    /// The player, as the game server names them; null once that is erased.
    player_id: Option<String>,
    /// allow or deny.
    list: &'static str,
    /// Who put them there.
    by: String,
    /// When.
    at: DateTime<Utc>,
    /// Where the list goes on.
    #[serde(skip)]
    cursor: PlayerId,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Where the page before ended, as its `next` said.
    #[serde(default)]
    cursor: Option<String>,
    /// How many items, 1 to 500; 50 without.
    #[serde(default)]
    limit: Option<u16>,
    /// Only those on this list: allow or deny.
    #[serde(default)]
    list: Option<String>,
}

/// The players whom a campaign treats apart
#[utoipa::path(
    get, path = "/campaigns/{campaign_id}/players", tag = "campaigns", operation_id = "list_campaign_players",
    params(("campaign_id" = String, Path, description = "The campaign's id"), Filter),
    responses((status = 200, body = Page<ListedOut>), (status = "4XX", body = Problem)),
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    principal: Principal,
    Path(id): Path<CampaignId>,
    Query(query): Query<Filter>,
) -> Result<Json<Page<ListedOut>>, Problem> {
    let (after, limit) = Paging::parse::<PlayerId>(query.cursor.as_deref(), query.limit)?;
    let lists = PlayerList::ALL.map(PlayerList::as_str);
    let list = known("list", query.list.as_deref(), &lists)?.and_then(|list| list.parse().ok());
    let mut conn = state.read_pool.acquire().await?;
    campaign(&mut conn, &principal, id).await?;
    let listed = list_players(&mut conn, id, list, after, limit).await?;
    let players: Vec<PlayerId> = listed.iter().map(|listed| listed.player).collect();
    let names = players_of_ids(&mut conn, &players).await?;
    let items: Vec<ListedOut> = listed
        .into_iter()
        .map(|listed| ListedOut {
            player_id: names.get(&listed.player).cloned(),
            list: listed.list.as_str(),
            by: listed.by,
            at: listed.at,
            cursor: listed.player,
        })
        .collect();
    Ok(Json(Page::new(items, limit, |listed| listed.cursor.to_string())))
}

/// Up to 1,000 players in all, each named once.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ListChange)]
pub(crate) struct Request {
    /// They may earn something, also where not everybody may (`only_allowed`).
    #[serde(default)]
    allow: Vec<String>,
    /// They may not.
    #[serde(default)]
    deny: Vec<String>,
    /// They are on no list any more.
    #[serde(default)]
    remove: Vec<String>,
}

impl RequestBody for Request {
    const LISTS: Lists = Lists::of(&["allow", "deny", "remove"]);
}

#[derive(Serialize, ToSchema)]
#[schema(as = ListChanged)]
pub(crate) struct Answer {
    /// How many were put on the list of those who may.
    allowed: usize,
    /// How many were put on the list of those who may not.
    denied: usize,
    /// How many are on no list any more.
    removed: usize,
}

/// Put players on a campaign's lists
///
/// What is decided from now on heeds it. Grants that were made before stay.
#[utoipa::path(
    post, path = "/campaigns/{campaign_id}/players", tag = "campaigns", operation_id = "change_campaign_players",
    params(
        ("campaign_id" = String, Path, description = "The campaign's id"),
        ("idempotency-key" = String, Header, description = "The same for the same request sent again"),
    ),
    request_body(content = Request, example = json!({ "allow": ["player-7"] })),
    responses((status = 200, body = Answer), (status = "4XX", body = Problem)),
)]
pub(crate) async fn change(
    State(state): State<ApiState>,
    principal: Principal,
    request_id: RequestId,
    Path(id): Path<CampaignId>,
    Keyed { request, idempotency }: Keyed<Request>,
) -> Result<Reply, Problem> {
    let context = state.context(&request_id);
    let mut once = match Once::begin(&state, context.now, &principal, Some(&idempotency)).await? {
        Ok(once) => once,
        Err(answered) => return Ok(answered),
    };
    campaign(&mut once.tx, &principal, id).await?;
    let listed = request.resolve(&mut once.tx, &principal).await?;
    change_lists(&mut once.tx, &context, principal.org, id, &principal.subject, &listed).await?;
    let answer =
        Answer { allowed: listed.allow.len(), denied: listed.deny.len(), removed: listed.remove.len() };
    let reply = Reply::json(StatusCode::OK, None, &answer)?;
    // By their ids here: what they are called is for nobody to find in the log.
    let PlayersListed { allow, deny, remove } = &listed;
    let change = Change::of_campaign(id).after(&json!({ "allow": allow, "deny": deny, "remove": remove }))?;
    let reply = once.commit("players_listed", reply, Some(change)).await?;
    state.wakes.committed([EventKind::CampaignPlayersListed]).await;
    Ok(reply)
}

impl Request {
    /// Where the player stands who is `index`th of all.
    fn pointer(&self, index: usize) -> String {
        let (allow, deny) = (self.allow.len(), self.deny.len());
        match index {
            index if index < allow => format!("#/allow/{index}"),
            index if index < allow + deny => format!("#/deny/{}", index - allow),
            index => format!("#/remove/{}", index - allow - deny),
        }
    }

    /// The players by their ids, all of whom there must be.
    async fn resolve(self, conn: &mut PgConnection, principal: &Principal) -> Result<PlayersListed, Problem> {
        let refuse = |detail: String| Problem::unprocessable("invalid_players", detail);
        let all: Vec<String> = [&self.allow[..], &self.deny, &self.remove].concat();
        if all.is_empty() || all.len() > LISTED_MAX {
            return Err(refuse(format!("name 1 to {LISTED_MAX} players at once, not {}", all.len())));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = all.iter().position(|player| !seen.insert(player)) {
            return Err(refuse(format!("{:?} is named twice", all[twice])).at(self.pointer(twice)));
        }
        if let Some(bad) = all.iter().position(|player| player.contains('\0')) {
            return Err(refuse("a player's id holds no NUL".to_owned()).at(self.pointer(bad)));
        }
        let found = find_players(conn, principal.org, &all).await?;
        if let Some(unknown) = all.iter().position(|player| !found.contains_key(player)) {
            let detail = format!("there is no player {:?}: nobody was put anywhere", all[unknown]);
            return Err(refuse(detail).at(self.pointer(unknown)));
        }
        let ids = |names: &[String]| names.iter().filter_map(|name| found.get(name).copied()).collect();
        Ok(PlayersListed { allow: ids(&self.allow), deny: ids(&self.deny), remove: ids(&self.remove) })
    }
}
