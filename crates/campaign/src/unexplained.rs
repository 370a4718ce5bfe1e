//! Payments that no batch of this ledger explains.

use alloy_primitives::B256;
use chrono::{DateTime, Utc};
use laurel_bus::StageError;
use laurel_events::{
    BlockchainTxConfirmed, CampaignId, Event, OperatorAlertRaised, SettledSegment,
    alert::{PAYMENT_WITHOUT_HOLD, STATES},
};
use laurel_ledger::{
    Context, Written, append, clear_alert, commit, has_alert, in_quarantine, lock_accounts, raise_alert,
    record_suspense, resume_queue,
};
use sqlx::{Connection, PgConnection};

use crate::{CampaignError, CampaignState, Move, change::set_state, find_campaign, why::LAUREL};

/// Books a payment that no batch of ours explains, alerts, and pauses the campaign. `None` if it was booked before, or the
/// database is in quarantine; otherwise the caller has to halt the campaign's queue, too, once nothing that is locked before queues follows.
pub(crate) async fn suspend(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    confirmed: &BlockchainTxConfirmed,
    settled: &SettledSegment,
) -> Result<Option<Vec<Event>>, StageError> {
    let sighting = &confirmed.sighting;
    if record_suspense(conn, now, sighting, settled).await? == Written::Exists {
        return Ok(None);
    }
    if in_quarantine(conn).await? {
        // Nothing is paid, and the recovery tells whether it was ours. A campaign that is paused would decline for good what
        // game servers send again.
        return Ok(None);
    }
    let detail = format!(
        "transaction {} paid {} from seq {} and is no settlement of this ledger",
        sighting.tx, settled.total, settled.first_seq,
    );
    Ok(Some(suspected(conn, now, settled.campaign, sighting.tx, detail).await?))
}

/// Alerts of a payment and pauses its campaign.
pub(crate) async fn suspected(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: CampaignId,
    tx: B256,
    detail: String,
) -> Result<Vec<Event>, StageError> {
    let alert = OperatorAlertRaised {
        code: PAYMENT_WITHOUT_HOLD.to_owned(),
        about: format!("{}{tx}", about_payments(campaign)),
        detail,
    };
    let mut events: Vec<Event> = raise_alert(conn, now, alert).await?.map(Event::from).into_iter().collect();
    events.extend(pause(conn, now, campaign).await?);
    Ok(events)
}

async fn pause(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: CampaignId,
) -> Result<Option<Event>, StageError> {
    let found = find_campaign(conn, campaign).await?;
    let action = match found.map(|found| found.state) {
        Some(CampaignState::Active) => Move::Pause,
        // It does not begin by itself any more.
        Some(CampaignState::Scheduled) => Move::Unschedule,
        _ => return Ok(None),
    };
    let paused = set_state(conn, now, campaign, action, LAUREL, Some(PAYMENT_WITHOUT_HOLD)).await?;
    Ok(Some(paused.into()))
}

/// An operator says that what an alert tells of was dealt with. With the last unexplained payment of a campaign its queue
/// goes on, whatever the campaign's state. Says whether there was such an alert.
///
/// # Errors
/// If the alert is one of a state, or the database does not answer.
pub async fn acknowledge_alert(
    conn: &mut PgConnection,
    context: &Context,
    code: &str,
    about: &str,
) -> Result<bool, CampaignError> {
    if STATES.contains(&code) {
        return Err(CampaignError::StateAlert(code.to_owned()));
    }
    let mut tx = conn.begin().await?;
    let campaign = (code == PAYMENT_WITHOUT_HOLD).then(|| paid_campaign(about)).flatten();
    if let Some(campaign) = campaign {
        // Whoever books another payment of the campaign holds them, too.
        lock_accounts(&mut tx, &[campaign]).await?;
    }
    let Some(cleared) = clear_alert(&mut tx, code, about).await? else { return Ok(false) };
    if let Some(campaign) = campaign
        && !has_alert(&mut tx, code, &about_payments(campaign)).await?
    {
        resume_queue(&mut tx, campaign, PAYMENT_WITHOUT_HOLD).await?;
    }
    sqlx::query!(
        r#"
        INSERT INTO acknowledgements (code, about, acknowledged_at) VALUES ($1, $2, $3)
        ON CONFLICT (code, about) DO UPDATE SET acknowledged_at = EXCLUDED.acknowledged_at
        "#,
        code,
        about,
        context.now,
    )
    .execute(&mut *tx)
    .await?;
    append(&mut tx, context, &[cleared.into()]).await?;
    commit(tx, "acknowledge").await?;
    Ok(true)
}

/// What the alerts about a campaign's unexplained payments begin with.
pub(crate) fn about_payments(campaign: CampaignId) -> String {
    format!("campaign:{campaign}/tx:")
}

fn paid_campaign(about: &str) -> Option<CampaignId> {
    let (campaign, _) = about.strip_prefix("campaign:")?.split_once("/tx:")?;
    campaign.parse().ok()
}
