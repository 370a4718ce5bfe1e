//! Campaigns that begin and end by themselves.

use chrono::{DateTime, TimeDelta, Utc};
use laurel_bus::{StageError, cancel_timers, schedule_timers};
use laurel_events::{CampaignDue, CampaignId, CampaignMoment, CampaignStateChanged, Event, EventKind};
use laurel_ledger::LedgerError;
use sqlx::PgConnection;

use crate::{
    CampaignError, CampaignState, Definition, Move, change::set_state, store::find_campaign, why::LAUREL,
};

/// How long after its end a campaign still meets outcomes that occurred before: game servers may have been cut off.
pub const REPORTED_WITHIN: TimeDelta = TimeDelta::hours(24);

/// How long its end waits for outcomes that were recorded before and are not decided yet.
const AGAIN: TimeDelta = TimeDelta::minutes(1);

/// Refuses what cannot begin by itself.
pub(crate) fn require_to_come(definition: &Definition, now: DateTime<Utc>) -> Result<(), CampaignError> {
    require_not_over(definition, now)?;
    definition.starts_at.filter(|starts_at| *starts_at > now).map(|_| ()).ok_or(CampaignError::NotToCome)
}

/// Refuses what has ended before it could begin.
pub(crate) fn require_not_over(definition: &Definition, now: DateTime<Utc>) -> Result<(), CampaignError> {
    match definition.ends_at {
        Some(ends_at) if ends_at <= now => Err(CampaignError::Over(ends_at)),
        _ => Ok(()),
    }
}

/// Sets the timers of a campaign by what it is `after`, and takes back those of what it was `before`; without timers where
/// it does nothing by itself.
pub(crate) async fn set_timers(
    conn: &mut PgConnection,
    id: CampaignId,
    before: Option<&Definition>,
    after: Option<&Definition>,
) -> Result<(), CampaignError> {
    let timers = |definition: Option<&Definition>| definition.map(|d| moments(id, d)).unwrap_or_default();
    let (before, after) = (timers(before), timers(after));
    if before == after {
        return Ok(());
    }
    let keys: Vec<String> = before.iter().map(|(_, event)| event.key()).collect();
    cancel_timers(conn, EventKind::CampaignDue, &keys).await?;
    schedule_timers(conn, &after).await.map_err(CampaignError::Timers)
}

fn moments(campaign: CampaignId, definition: &Definition) -> Vec<(DateTime<Utc>, Event)> {
    let moment = |moment, at: DateTime<Utc>| (at, Event::from(CampaignDue { campaign, moment, at }));
    let begins = definition.starts_at.map(|at| moment(CampaignMoment::Begins, at));
    let ends = definition.ends_at.map(|at| moment(CampaignMoment::Ends, at + REPORTED_WITHIN));
    begins.into_iter().chain(ends).collect()
}

/// Does what a moment brings, to a campaign whose books are locked. A moment that the definition no longer names brings
/// nothing.
pub(crate) async fn handle_due(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    due: &CampaignDue,
) -> Result<Option<CampaignStateChanged>, StageError> {
    let campaign = find_campaign(conn, due.campaign).await?;
    let campaign = campaign.ok_or_else(|| StageError::poison("a timer without its campaign"))?;
    let named = moments(campaign.id, &campaign.definition)
        .iter()
        .any(|(_, event)| *event == Event::from(due.clone()));
    if !named {
        return Ok(None);
    }
    match due.moment {
        CampaignMoment::Begins if campaign.state == CampaignState::Scheduled => {
            begin(conn, now, campaign.id).await.map(Some)
        }
        CampaignMoment::Ends if campaign.state.is_under_way() && lags(conn, due.at).await? => {
            // What was recorded in time is decided first, however late that is.
            schedule_timers(conn, &[(now + AGAIN, due.clone().into())]).await?;
            Ok(None)
        }
        CampaignMoment::Ends if campaign.state.is_under_way() => {
            Ok(Some(set_state(conn, now, campaign.id, Move::End, LAUREL, Some("window_ended")).await?))
        }
        _ => Ok(None),
    }
}

/// Has a scheduled campaign begin, whose books are locked.
pub(crate) async fn begin(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    id: CampaignId,
) -> Result<CampaignStateChanged, StageError> {
    Ok(set_state(conn, now, id, Move::Activate, LAUREL, Some("window_begun")).await?)
}

/// Whether outcomes that were recorded before that moment wait to be decided, in whichever partition.
async fn lags(conn: &mut PgConnection, moment: DateTime<Utc>) -> Result<bool, StageError> {
    let lags = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
            SELECT FROM heads h
            LEFT JOIN cursors c ON c.stage = 'campaign' AND c.part = h.part
            JOIN journal j ON j.part = h.part AND j.position >= coalesce(c.next, 0) AND j.position < h.next
            WHERE j.kind = 'GameOutcomeRecorded' AND j.recorded_at < $1
        ) AS "lags!"
        "#,
        moment,
    )
    .fetch_one(conn)
    .await
    .map_err(LedgerError::from)?;
    Ok(lags)
}
