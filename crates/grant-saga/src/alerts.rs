//! What operators are told of plans that the chain would not pay.

use laurel_events::{
    CampaignId, NewEvent, OperatorAlertCleared, OperatorAlertRaised,
    alert::{PLACES_SET_BACK, SETTLEMENT_WOULD_REVERT},
};
use laurel_ledger::LedgerError;
use sqlx::PgConnection;

use crate::plan::Plan;

/// Nothing of a campaign can be paid.
pub(crate) fn campaign_alert(plan: &Plan, detail: String) -> OperatorAlertRaised {
    let about = about_campaign(plan.segment.campaign);
    OperatorAlertRaised { code: SETTLEMENT_WOULD_REVERT.to_owned(), about, detail }
}

/// Some places cannot be paid; the campaign goes on.
pub(crate) fn places_alert(plan: &Plan, detail: String) -> OperatorAlertRaised {
    let about = format!("{}/seq:{}", about_campaign(plan.segment.campaign), plan.segment.first_seq);
    OperatorAlertRaised { code: PLACES_SET_BACK.to_owned(), about, detail }
}

fn about_campaign(campaign: CampaignId) -> String {
    format!("campaign:{campaign}")
}

/// Takes back what was said of a campaign and of these places of it: they are sent, or fail. Whatever else of it could not be paid
/// is told of again when it is tried again.
pub(crate) async fn end_alerts(
    conn: &mut PgConnection,
    campaign: CampaignId,
    seqs: &[u64],
) -> Result<Vec<NewEvent>, LedgerError> {
    let seqs: Vec<i64> = seqs.iter().map(|seq| seq.cast_signed()).collect();
    let about = about_campaign(campaign);
    let cleared = sqlx::query_as!(
        OperatorAlertCleared,
        r#"
        DELETE FROM alerts
        WHERE code = $1 AND about = $2
           OR CASE WHEN code = $3 AND starts_with(about, $2 || '/seq:')
                   THEN substr(about, length($2 || '/seq:') + 1)::bigint = ANY ($4) END
        RETURNING code, about
        "#,
        SETTLEMENT_WOULD_REVERT,
        about,
        PLACES_SET_BACK,
        &seqs,
    );
    Ok(cleared.fetch_all(conn).await?.into_iter().map(NewEvent::from).collect())
}
