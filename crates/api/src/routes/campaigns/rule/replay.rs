//! `POST /v1/campaigns/{campaign_id}/rule/replay`

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use laurel_campaign::{REPLAYED_MAX, Trial, replay_outcomes};
use laurel_events::{Amount, CampaignId, PlayerId};
use laurel_players::players_of_ids;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Change;
use crate::{
    ApiState, Principal, Problem,
    extract::{Body, Path, RequestBody},
    routes::campaigns::{LISTS, campaign},
    shape::Lists,
};

/// How many outcomes are looked at without a number.
const OUTCOMES_DEFAULT: i64 = 1_000;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RuleReplay)]
pub(crate) struct Request {
    /// How many of the outcomes that were recorded last are looked at, 1 to 10,000; 1,000 without.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 10000)]
    outcomes: Option<i64>,
    /// A change of the rule that is to be tried.
    #[serde(default)]
    change: Change,
}

impl RequestBody for Request {
    const LISTS: Lists = LISTS;
}

#[derive(Serialize, ToSchema)]
pub(crate) struct WinnerOut {
    /// The player, as the game server names them; null once that is erased.
    player_id: Option<String>,
    /// How often they would have won.
    grants: u64,
    /// How much in all.
    #[schema(value_type = String)]
    amount: Amount,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RuleReplayed)]
pub(crate) struct Answer {
    /// How many outcomes there were that the campaign meets, among those that were looked at.
    outcomes: u64,
    /// When the first of them was recorded.
    from: Option<DateTime<Utc>>,
    /// And the last.
    to: Option<DateTime<Utc>>,
    /// How many would have been granted.
    granted: u64,
    /// What that would have cost.
    #[schema(value_type = String)]
    amount: Amount,
    /// How many would have been declined, by reason.
    declined: BTreeMap<&'static str, u64>,
    /// How many players would have won something.
    winners: u64,
    /// Those who would have won most, at most a hundred.
    most: Vec<WinnerOut>,
}

/// See what a rule would have done
///
/// The last outcomes are decided once more, as if nobody had got anything before and there were all the money that it takes. Nothing
/// is kept.
#[utoipa::path(
    post, path = "/campaigns/{campaign_id}/rule/replay", tag = "campaigns", operation_id = "replay_rule",
    params(("campaign_id" = String, Path, description = "The campaign's id")), request_body(content = Request, example = json!({ "outcomes": 1000, "change": { "rule": "outcome.score >= 99" } })),
    responses((status = 200, body = Answer), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path(id): Path<CampaignId>,
    Body(Request { outcomes, change }): Body<Request>,
) -> Result<Json<Answer>, Problem> {
    let outcomes = outcomes.unwrap_or(OUTCOMES_DEFAULT);
    if !(1..=REPLAYED_MAX).contains(&outcomes) {
        let detail = format!("outcomes: 1 to {REPLAYED_MAX}");
        return Err(Problem::unprocessable("invalid_body", detail).at("#/outcomes"));
    }
    let mut conn = state.read_pool.acquire().await?;
    let definition = change.apply(campaign(&mut conn, &principal, id).await?.definition);
    let trial = Trial::of(principal.org, definition).map_err(|error| Problem::from(error).under("change"))?;
    let replayed = replay_outcomes(&mut conn, &trial, id, outcomes).await?;
    let players: Vec<PlayerId> = replayed.most.iter().map(|winner| winner.player).collect();
    let names = players_of_ids(&mut conn, &players).await?;
    let named = replayed.most.into_iter().map(|winner| WinnerOut {
        player_id: names.get(&winner.player).cloned(),
        grants: winner.grants,
        amount: winner.amount,
    });
    Ok(Json(Answer {
        outcomes: replayed.outcomes,
        from: replayed.from,
        to: replayed.to,
        granted: replayed.granted,
        amount: replayed.amount,
        declined: replayed.declined,
        winners: replayed.winners,
        most: named.collect(),
    }))
}
