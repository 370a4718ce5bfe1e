//! Campaigns whose grants stand on more than the vault has for them, since the chain took back what was final.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use laurel_bus::StageError;
use laurel_events::{CampaignId, Envelope, Event, OperatorAlertRaised, alert::BUDGET_SHORT};
use laurel_ledger::{Balances, clear_alert, halt_queues, lock_accounts, raise_alert, resume_queue};
use sqlx::PgConnection;

/// Has the queues of campaigns wait that are overdrawn by now, and those go on that are not any more: the vault would refuse what is
/// beyond its cap. `before` are the books as they were before `events`. To be called before any lane is locked.
pub(crate) async fn judge_overdrafts(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    before: &BTreeMap<CampaignId, Balances>,
    events: &[Envelope],
) -> Result<Vec<Event>, StageError> {
    let undoes = |envelope: &Envelope| {
        matches!(
            envelope.event,
            Event::CampaignFundingUndone(_)
                | Event::GrantsCancelUndone(_)
                | Event::CampaignReleaseUndone(_)
                | Event::BudgetReheld(_)
        )
    };
    if before.values().all(|books| books.overdrawn.is_zero()) && !events.iter().any(undoes) {
        return Ok(Vec::new());
    }
    let campaigns: Vec<CampaignId> = before.keys().copied().collect();
    let mut told = Vec::new();
    let mut short = Vec::new();
    for (campaign, books) in lock_accounts(conn, &campaigns).await? {
        let about = format!("campaign:{campaign}");
        let (overdrawn, was) = (books.overdrawn, before[&campaign].overdrawn);
        if overdrawn > was {
            let detail = format!(
                "the chain took back what was final, and grants stand on more than the vault's cap of {}: by how much is \
                 `overdrawn` in the campaign's statistics",
                books.cap(),
            );
            let alert = OperatorAlertRaised { code: BUDGET_SHORT.to_owned(), about, detail };
            told.extend(raise_alert(conn, now, alert).await?.map(Event::from));
            short.push(campaign);
        } else if overdrawn.is_zero() && !was.is_zero() {
            told.extend(clear_alert(conn, BUDGET_SHORT, &about).await?.map(Event::from));
            resume_queue(conn, campaign, BUDGET_SHORT).await?;
        }
    }
    halt_queues(conn, &short, BUDGET_SHORT).await?;
    Ok(told)
}
