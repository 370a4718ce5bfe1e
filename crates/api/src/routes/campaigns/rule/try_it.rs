//! `POST /v1/campaigns/{campaign_id}/rule/try`

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use laurel_campaign::{Got, PlayerList, Trial, rule::Explained};
use laurel_events::{Amount, Attribute, CampaignId, GameOutcomeRecorded, OrgId, OutcomeKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::Change;
use crate::{
    ApiState, Principal, Problem,
    extract::{Body, Path, RequestBody},
    pointer::pointer_to,
    routes::{
        campaigns::{LISTS, campaign},
        outcomes::{advice, attributes, facts_of, field_of},
    },
    shape::Lists,
};

/// How a game might end.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TriedOutcome)]
pub(crate) struct OutcomeIn {
    /// The game; without, the first of the campaign.
    #[serde(default)]
    game: Option<String>,
    /// Points, 0 to 2^53 - 1.
    #[schema(value_type = u64, maximum = 9007199254740991u64)]
    score: i64,
    /// The place, 1 being the first.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 4294967295u64)]
    rank: Option<i64>,
    /// What else the game says.
    #[serde(default)]
    #[schema(schema_with = attributes)]
    attributes: BTreeMap<String, Attribute>,
    /// When it ends; without, now.
    #[serde(default)]
    occurred_at: Option<DateTime<Utc>>,
}

/// What the player has got of the campaign so far; without, nothing.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PlayerIn {
    /// Grants.
    #[schema(maximum = 18446744073709551615u64)]
    grants: u64,
    /// Their sum in base units.
    #[schema(value_type = String, format = "uint256", pattern = "^(0|[1-9][0-9]{0,77})$")]
    amount: Amount,
    /// Grants of today.
    #[schema(maximum = 18446744073709551615u64)]
    grants_today: u64,
    /// Their sum in base units.
    #[schema(value_type = String, format = "uint256", pattern = "^(0|[1-9][0-9]{0,77})$")]
    amount_today: Amount,
    /// The list that they are on: allow or deny.
    list: Option<PlayerList>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RuleTrial)]
pub(crate) struct Request {
    /// How a game might end.
    outcome: OutcomeIn,
    /// What the player has got so far.
    #[serde(default)]
    player: PlayerIn,
    /// A change of the rule that is to be tried.
    #[serde(default)]
    change: Change,
}

impl RequestBody for Request {
    const LISTS: Lists = LISTS;
}

/// A part of the rule and what it gave.
#[derive(Serialize, ToSchema)]
pub(crate) struct PartOut {
    /// What the part says.
    expression: String,
    /// Where it stands in the rule: the line and the character, both from 1.
    line: u32,
    /// The character in its line.
    column: u32,
    /// What it gave, as a rule would write it; null where it has no answer.
    value: Option<String>,
    /// Why it has no answer.
    fault: Option<String>,
    /// The item of a list that it was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<String>,
    /// What it is made of.
    #[schema(no_recursion)]
    parts: Vec<PartOut>,
}

impl From<Explained> for PartOut {
    fn from(part: Explained) -> Self {
        let Explained { expression, at, value, item, parts } = part;
        let (value, fault) = match value {
            Ok(value) => (Some(value), None),
            Err(fault) => (None, Some(fault.kind.to_string())),
        };
        let parts = parts.into_iter().map(Self::from).collect();
        Self { expression, line: at.line, column: at.column, value, fault, item, parts }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = RuleTried)]
pub(crate) struct Answer {
    /// granted or declined.
    decision: &'static str,
    /// What it would earn.
    #[schema(value_type = Option<String>)]
    amount: Option<Amount>,
    /// Why it would earn nothing: the code that a decline would have.
    reason: Option<&'static str>,
    /// The same in words.
    detail: Option<String>,
    /// The rule, with the value of every part.
    explanation: PartOut,
}

/// Try a rule
///
/// What an outcome would earn, and why. The campaign is taken as active and as having all the money that it needs; nothing is kept.
#[utoipa::path(
    post, path = "/campaigns/{campaign_id}/rule/try", tag = "campaigns", operation_id = "try_rule",
    params(("campaign_id" = String, Path, description = "The campaign's id")), request_body(content = Request, example = json!({
        "outcome": { "score": 95, "rank": 1, "attributes": { "level": "hard" } },
        "player": { "grants": 2, "amount": "1900" },
        "change": { "rule": "outcome.score >= 90 && outcome.attributes.level == 'hard'" },
    })),
    responses((status = 200, body = Answer), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path(id): Path<CampaignId>,
    Body(Request { outcome, player, change }): Body<Request>,
) -> Result<Json<Answer>, Problem> {
    let mut conn = state.read_pool.acquire().await?;
    let definition = change.apply(campaign(&mut conn, &principal, id).await?.definition);
    drop(conn);
    let occurred_at = outcome.occurred_at.unwrap_or_else(|| state.now());
    let outcome = outcome.recorded(principal.org, &definition.games)?;
    let trial = Trial::of(principal.org, definition).map_err(|error| Problem::from(error).under("change"))?;
    let PlayerIn { grants, amount, grants_today, amount_today, list } = player;
    let got = Got { grants, amount, grants_today, amount_today, list };
    let (decided, explained) = trial.explain(&outcome, occurred_at, got);
    let explanation = PartOut::from(explained);
    Ok(Json(match decided {
        Ok(amount) => {
            Answer { decision: "granted", amount: Some(amount), reason: None, detail: None, explanation }
        }
        Err(reason) => Answer {
            decision: "declined",
            amount: None,
            reason: Some(reason.code()),
            detail: Some(reason.to_string()),
            explanation,
        },
    }))
}

impl OutcomeIn {
    /// The outcome as it would be recorded.
    fn recorded(self, org: OrgId, games: &[String]) -> Result<GameOutcomeRecorded, Problem> {
        let Self { game, score, rank, attributes, .. } = self;
        let facts = facts_of(score, rank, &attributes);
        let (score, rank) = facts.map_err(|code| {
            Problem::unprocessable(code, advice(code)).at(pointer_to(field_of(code))).under("outcome")
        })?;
        let nobody = Uuid::nil();
        Ok(GameOutcomeRecorded {
            org,
            issuer: String::new(),
            outcome: OutcomeKey::from(nobody),
            outcome_id: String::new(),
            game: game.or_else(|| games.first().cloned()).unwrap_or_default(),
            player: nobody.into(),
            score,
            rank,
            attributes,
        })
    }
}
