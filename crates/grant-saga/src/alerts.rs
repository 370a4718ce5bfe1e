//! What operators are told of plans that the chain would not pay.

use laurel_events::{NewEvent, OperatorAlertRaised};
use laurel_ledger::{LedgerError, clear_alert};
use sqlx::PgConnection;

use crate::plan::Plan;

/// Nothing of a campaign can be paid.
pub(crate) fn campaign_alert(plan: &Plan, detail: String) -> OperatorAlertRaised {
    let about = format!("campaign:{}", plan.segment.campaign);
    OperatorAlertRaised { code: "settlement_would_revert".to_owned(), about, detail }
}

/// Some places cannot be paid; the campaign goes on.
pub(crate) fn places_alert(plan: &Plan, detail: String) -> OperatorAlertRaised {
    let about = format!("campaign:{}/seq:{}", plan.segment.campaign, plan.segment.first_seq);
    OperatorAlertRaised { code: "places_set_back".to_owned(), about, detail }
}

/// Takes back what was said of a plan's campaign and places while they could not be paid.
pub(crate) async fn paid_after_all(
    conn: &mut PgConnection,
    plan: &Plan,
) -> Result<Vec<NewEvent>, LedgerError> {
    let mut cleared = Vec::new();
    for alert in [campaign_alert(plan, String::new()), places_alert(plan, String::new())] {
        cleared.extend(clear_alert(conn, &alert.code, &alert.about).await?.map(NewEvent::from));
    }
    Ok(cleared)
}
