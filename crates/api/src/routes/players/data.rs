//! `GET /v1/players/{player_id}/data`

use axum::{extract::State, response::Response};
use laurel_campaign::lists_of_player;
use laurel_events::{Event, GrantId, OrgId, PlayerId, Subject};
use laurel_ledger::{LedgerError, Place, StaffFilter, grants_of_outcome, list_staff_log};
use laurel_players::{Player, wallets_of};
use laurel_views::{GrantFilter, JournalEntry, JournalFilter, list_grant_views, list_journal};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::player;
use crate::{
    ApiState, Principal, Problem, Role,
    auth::sessions_of_player,
    export::{Format, Source, export},
    extract::Path,
    routes::{
        audit::log::RecordOut,
        grants::{GrantOut, show_all},
    },
};

/// How many of a kind are read together.
const PAGE: usize = 500;

/// Something that is known of a player.
#[derive(Serialize)]
pub(crate) struct KnownRow {
    /// player, wallet, sign_in, list, event, grant or record.
    what: &'static str,
    data: Value,
}

/// What comes next.
enum Part {
    Player(Box<Player>),
    Events(Box<JournalFilter>),
    Grants(Option<GrantId>),
    Records(Option<Uuid>),
    End,
}

/// All that is known of a player.
struct KnownSource {
    org: OrgId,
    org_name: String,
    player: PlayerId,
    /// Whether it is the player who asks: who read of them is told by what they are.
    is_own: bool,
    part: Part,
}

/// Everything that is known of a player
///
/// A line for each: who it is, wallets, sign-ins, lists of campaigns, every event of the journal (each outcome with what campaigns made of
/// it), every grant, and the audit log's records of who read it. Always as `application/x-ndjson`, streamed.
#[utoipa::path(
    get, path = "/players/{player_id}/data", tag = "players", operation_id = "export_player",
    params(("player_id" = String, Path, description = "The game server's id of the player")),
    responses((status = 200, content((String = "application/x-ndjson"))), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path(player_id): Path<String>,
) -> Result<Response, Problem> {
    let mut conn = state.read_pool.acquire().await?;
    let player = player(&mut conn, &principal, &player_id).await?;
    drop(conn);
    let source = KnownSource {
        org: principal.org,
        org_name: principal.org_name.clone(),
        player: player.id,
        is_own: principal.role == Some(Role::Player),
        part: Part::Player(Box::new(player)),
    };
    export(&state, &principal, Format::Ndjson, "", source).await
}

impl Source for KnownSource {
    type Row = KnownRow;

    const WHAT: &'static str = "player";

    const NAMES: &'static [&'static str] = &["what", "data"];

    fn player(&self) -> Option<PlayerId> {
        Some(self.player)
    }

    async fn next(&mut self, conn: &mut PgConnection) -> Result<Option<Vec<KnownRow>>, LedgerError> {
        let about = Subject::new("player", self.player);
        let (rows, next) = match std::mem::replace(&mut self.part, Part::End) {
            Part::Player(player) => {
                let filter = JournalFilter { about: Some(about), ..JournalFilter::default() };
                (self.plain(conn, &player).await?, Part::Events(Box::new(filter)))
            }
            Part::Events(filter) => {
                let page = list_journal(conn, self.org, &filter, PAGE).await?;
                let next = match page.next {
                    Some(_) => Part::Events(Box::new(JournalFilter { after: page.next, ..*filter })),
                    None => Part::Grants(None),
                };
                (events(conn, page.entries).await?, next)
            }
            Part::Grants(after) => {
                let filter = GrantFilter { players: Some(&[self.player]), after, ..GrantFilter::default() };
                let page = list_grant_views(conn, self.org, &filter, PAGE as i64).await?;
                let next = page.next.map_or(Part::Records(None), |next| Part::Grants(Some(next)));
                let shown = show_all(conn, &self.org_name, page).await?;
                (shown.items.iter().map(|grant: &GrantOut| row("grant", grant)).collect(), next)
            }
            Part::Records(before) => {
                let filter = StaffFilter { about: Some(about.as_str()), before, ..StaffFilter::default() };
                let records = list_staff_log(conn, self.org, &filter, PAGE as i64).await?;
                let last = records.last().map(|record| record.id).filter(|_| records.len() == PAGE);
                let next = last.map_or(Part::End, |last| Part::Records(Some(last)));
                let told = |record| {
                    let record = RecordOut::from(record);
                    row("record", &if self.is_own { record.without_who() } else { record })
                };
                (records.into_iter().map(told).collect(), next)
            }
            Part::End => return Ok(None),
        };
        self.part = next;
        Ok(Some(rows))
    }
}

fn row(what: &'static str, data: &impl Serialize) -> KnownRow {
    KnownRow { what, data: serde_json::to_value(data).unwrap_or_default() }
}

impl KnownSource {
    /// What has a row of its own.
    async fn plain(&self, conn: &mut PgConnection, player: &Player) -> Result<Vec<KnownRow>, LedgerError> {
        let who =
            json!({ "player_id": player.external_id, "id": player.id, "created_at": player.created_at });
        let mut rows = vec![KnownRow { what: "player", data: who }];
        for (chain_id, wallet) in wallets_of(conn, self.player).await? {
            let address = wallet.address.to_checksum(None);
            let data = json!({
                "chain_id": chain_id, "address": address, "linked_at": wallet.linked_at, "link": wallet.version,
            });
            rows.push(KnownRow { what: "wallet", data });
        }
        for (began, ended) in sessions_of_player(conn, self.player).await? {
            rows.push(KnownRow { what: "sign_in", data: json!({ "began_at": began, "ended_at": ended }) });
        }
        for (campaign, list, since) in lists_of_player(conn, self.player).await? {
            rows.push(KnownRow {
                what: "list",
                data: json!({ "campaign_id": campaign, "list": list, "since": since }),
            });
        }
        Ok(rows)
    }
}

/// Events as they are in the journal, outcomes with what came of them.
async fn events(conn: &mut PgConnection, entries: Vec<JournalEntry>) -> Result<Vec<KnownRow>, LedgerError> {
    let mut rows = Vec::with_capacity(entries.len());
    for JournalEntry { envelope, .. } in entries {
        let mut data = json!({
            "id": envelope.id.to_string(), "kind": envelope.event.kind().as_str(), "recorded_at": envelope.recorded_at,
            "data": envelope.event,
        });
        if matches!(envelope.event, Event::GameOutcomeRecorded(_)) {
            let (grants, declines) = grants_of_outcome(conn, Place(envelope.id)).await?;
            data["grants"] = grants.into_iter().map(|grant| json!(grant.id)).collect();
            data["declines"] = declines
                .into_iter()
                .map(|(campaign, reason)| json!({ "campaign_id": campaign, "reason": reason }))
                .collect();
        }
        rows.push(KnownRow { what: "event", data });
    }
    Ok(rows)
}
