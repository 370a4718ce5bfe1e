//! Which campaigns outcomes meet.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use laurel_bus::StageError;
use laurel_events::{
    CampaignId, Envelope, Event, GameOutcomeRecorded, OperatorAlertRaised, alert::RULE_DOES_NOT_COMPILE,
};
use laurel_ledger::{LedgerError, raise_alert};
use sqlx::PgConnection;

use crate::{
    ActiveCampaign, Campaign, CampaignState, Move, RuleCache, Windows, change::set_state, schedule::begin,
    store::select, why::LAUREL,
};

/// The campaigns that some of `outcomes` meet, by organisation and game; of those that are scheduled, the ones whose time is `reached`.
pub(crate) async fn campaigns_that_meet(
    conn: &mut PgConnection,
    reached: DateTime<Utc>,
    outcomes: &[(&Envelope, &GameOutcomeRecorded)],
) -> Result<Vec<CampaignId>, LedgerError> {
    let orgs: HashSet<i32> = outcomes.iter().map(|(_, outcome)| outcome.org.0).collect();
    let games: HashSet<&str> = outcomes.iter().map(|(_, outcome)| outcome.game.as_str()).collect();
    let orgs: Vec<i32> = orgs.into_iter().collect();
    let games: Vec<String> = games.into_iter().map(str::to_owned).collect();
    let ids = sqlx::query_scalar!(
        r#"
        SELECT id FROM campaigns
        WHERE org = ANY ($1) AND games && $2
          AND (state IN ('active', 'paused') OR state = 'scheduled' AND starts_at <= $3)
        ORDER BY id
        "#,
        &orgs,
        &games,
        reached,
    )
    .fetch_all(conn)
    .await?;
    ids.into_iter()
        .map(|id| {
            CampaignId::try_from(id).map_err(|_| LedgerError::Inconsistent {
                table: "campaigns",
                column: "id",
                id: id.to_string(),
            })
        })
        .collect()
}

/// The campaigns of `ids` that are active or paused, with their compiled rules. Their books are locked: one whose rule does
/// not compile is paused, and the others are not kept waiting for it. Returns what follows from that, too.
pub(crate) async fn load_active(
    conn: &mut PgConnection,
    (now, reached): (DateTime<Utc>, DateTime<Utc>),
    rules: &RuleCache,
    ids: &[CampaignId],
) -> Result<(Vec<ActiveCampaign>, Vec<Event>), StageError> {
    let numbers: Vec<i64> = ids.iter().map(|id| id.number()).collect();
    let limit = i64::try_from(numbers.len()).unwrap_or(i64::MAX);
    let mut active = Vec::with_capacity(ids.len());
    let mut events = Vec::new();
    for mut campaign in select(conn, Some(&numbers), None, None, 0, limit).await? {
        // An outcome may be sooner than the timer.
        let begins = campaign.definition.starts_at.is_some_and(|starts_at| starts_at <= reached);
        if campaign.state == CampaignState::Scheduled && begins {
            events.push(begin(conn, now, campaign.id).await?.into());
            campaign.state = CampaignState::Active;
        }
        if !matches!(campaign.state, CampaignState::Active | CampaignState::Paused) {
            continue;
        }
        // Both were checked when they were saved, but perhaps by another version.
        let rule = rules.get(campaign.id, campaign.rule_version, &campaign.definition.rule);
        let windows = campaign.definition.windows.as_ref().map(Windows::parse).transpose();
        let windows = windows.map_err(|(field, problem)| format!("windows.{field}: {problem}"));
        let compiled = rule.map_err(|error| error.to_string()).and_then(|rule| Ok((rule, windows?)));
        let (rule, windows) = match compiled {
            Ok((rule, windows)) => (Some(rule), windows),
            Err(problem) => {
                if campaign.state == CampaignState::Active {
                    events.extend(pause(conn, now, &campaign, &problem).await?);
                    campaign.state = CampaignState::Paused;
                }
                (None, None)
            }
        };
        let definition = campaign.definition;
        active.push(ActiveCampaign {
            id: campaign.id,
            org: campaign.org,
            games: definition.games,
            state: campaign.state,
            starts_at: definition.starts_at,
            ends_at: definition.ends_at,
            windows,
            wallet_deadline_hours: definition.wallet_deadline_hours,
            chain_id: definition.chain_id,
            vault: campaign.vault,
            rule_version: campaign.rule_version,
            rule,
            reward: definition.reward,
            caps: definition.caps,
            only_allowed: definition.only_allowed,
            listed: campaign.listed,
        });
    }
    Ok((active, events))
}

/// Pauses a campaign whose rule or windows do not compile, with an alert.
async fn pause(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: &Campaign,
    problem: &str,
) -> Result<Vec<Event>, StageError> {
    let alert = OperatorAlertRaised {
        code: RULE_DOES_NOT_COMPILE.to_owned(),
        about: format!("campaign:{}", campaign.id),
        detail: format!("version {} of the rule: {problem}", campaign.rule_version),
    };
    let mut events: Vec<Event> = raise_alert(conn, now, alert).await?.map(Event::from).into_iter().collect();
    let paused = set_state(conn, now, campaign.id, Move::Pause, LAUREL, Some(RULE_DOES_NOT_COMPILE)).await?;
    events.push(paused.into());
    Ok(events)
}
