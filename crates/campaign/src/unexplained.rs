//! Payments that no batch of this ledger explains.

use chrono::{DateTime, Utc};
use laurel_bus::StageError;
use laurel_events::{BlockchainTxConfirmed, CampaignId, Event, OperatorAlertRaised, SettledSegment};
use laurel_ledger::{Written, raise_alert, record_suspense};
use sqlx::PgConnection;

use crate::{CampaignState, Move, change::set_state, find_campaign};

/// Why a campaign is paused and its queue halted, and the code of the alert, one for each campaign and transaction. The
/// alert is about a fact, not about a state: it stays until an operator has dealt with the payment, and nothing that Laurel
/// sees afterwards clears it.
pub(crate) const PAYMENT_WITHOUT_HOLD: &str = "payment_without_hold";

/// Books a payment that no batch of ours explains, alerts, and pauses the campaign. `None` if it was booked before;
/// otherwise the caller has to halt the campaign's queue, too, once nothing that is locked before queues follows.
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
    let mut events = Vec::new();
    let alert = OperatorAlertRaised {
        code: PAYMENT_WITHOUT_HOLD.to_owned(),
        about: format!("campaign:{}/tx:{}", settled.campaign, sighting.tx),
        detail: format!(
            "transaction {} paid {} from seq {} and is no settlement of this ledger",
            sighting.tx, settled.total, settled.first_seq,
        ),
    };
    events.extend(raise_alert(conn, now, alert).await?.map(Event::from));
    events.extend(pause(conn, settled.campaign).await?);
    Ok(Some(events))
}

async fn pause(conn: &mut PgConnection, campaign: CampaignId) -> Result<Option<Event>, StageError> {
    let found = find_campaign(conn, campaign).await?;
    if found.is_none_or(|found| found.state != CampaignState::Active) {
        return Ok(None);
    }
    let paused = set_state(conn, campaign, Move::Pause, "laurel", Some(PAYMENT_WITHOUT_HOLD)).await?;
    Ok(Some(paused.into()))
}
