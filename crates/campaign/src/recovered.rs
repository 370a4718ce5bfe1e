//! What a recovery makes of payments that nobody could explain before.

use alloy_primitives::B256;
use chrono::{DateTime, Utc};
use laurel_bus::StageError;
use laurel_events::{Amount, CampaignId, Event, alert::PAYMENT_WITHOUT_HOLD};
use laurel_ledger::{
    LedgerError, amount_from_sql, clear_alert, halt_queues, has_alert, is_acknowledged, lock_accounts,
    resume_queue,
};
use sqlx::PgConnection;

use crate::{
    CampaignState, Move,
    change::set_state,
    find_campaign,
    unexplained::{about_payments, suspected},
    why::LAUREL,
};

/// Has campaigns go on whose payments are all explained now, or were dealt with by operators before, and alerts of the others, which are paused and halted. To be
/// called at the end of a quarantine, before queues and lanes are locked. Returns the events; the caller appends them.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn judge_payments(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Vec<Event>, StageError> {
    let payments = payments(conn).await?;
    let mut campaigns: Vec<CampaignId> = payments.iter().map(|payment| payment.campaign).collect();
    campaigns.sort_unstable();
    campaigns.dedup();
    lock_accounts(conn, &campaigns).await?;
    let mut events = Vec::new();
    let mut halted = Vec::new();
    // Whether such a campaign grants again is its manager's to say.
    let mut acknowledged = Vec::new();
    for payment in &payments {
        let about = format!("{}{}", about_payments(payment.campaign), payment.tx);
        if payment.explained {
            events.extend(clear_alert(conn, PAYMENT_WITHOUT_HOLD, &about).await?.map(Event::from));
            continue;
        }
        if is_acknowledged(conn, PAYMENT_WITHOUT_HOLD, &about).await? {
            acknowledged.push(payment.campaign);
            continue;
        }
        let Payment { tx, amount, .. } = payment;
        let detail = format!("transaction {tx} paid {amount} that the recovery could not explain");
        events.extend(suspected(conn, now, payment.campaign, payment.tx, detail).await?);
        halted.push(payment.campaign);
    }
    for campaign in campaigns.into_iter().filter(|campaign| !halted.contains(campaign)) {
        if has_alert(conn, PAYMENT_WITHOUT_HOLD, &about_payments(campaign)).await? {
            continue;
        }
        resume_queue(conn, campaign, PAYMENT_WITHOUT_HOLD).await?;
        if !acknowledged.contains(&campaign) {
            events.extend(go_on(conn, now, campaign).await?);
        }
    }
    halt_queues(conn, &halted, PAYMENT_WITHOUT_HOLD).await?;
    Ok(events)
}

/// What one transaction paid of one campaign without a hold.
struct Payment {
    campaign: CampaignId,
    tx: B256,
    /// What nothing explains.
    amount: Amount,
    explained: bool,
}

async fn payments(conn: &mut PgConnection) -> Result<Vec<Payment>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT on_chain_campaign AS "campaign!", tx AS "tx!", sum(unknown) AS "unknown!" FROM open_suspense
        GROUP BY on_chain_campaign, tx
        ORDER BY on_chain_campaign, tx
        "#
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let wrong = |column| LedgerError::Inconsistent {
                table: "suspense",
                column,
                id: row.campaign.to_string(),
            };
            let number = amount_from_sql(&row.campaign, "suspense", "on_chain_campaign", &row.campaign)?;
            let number = u64::try_from(number.units()).map_err(|_| wrong("on_chain_campaign"))?;
            let amount = amount_from_sql(&row.unknown, "suspense", "amount", number)?;
            Ok(Payment {
                campaign: CampaignId::from(number),
                tx: B256::try_from(row.tx.as_slice()).map_err(|_| wrong("tx"))?,
                explained: amount.is_zero(),
                amount,
            })
        })
        .collect()
}

/// Has a campaign grant again that was paused for its payments.
async fn go_on(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: CampaignId,
) -> Result<Option<Event>, StageError> {
    let reason = sqlx::query_scalar!("SELECT state_reason FROM campaigns WHERE id = $1", campaign.number());
    let ours = reason.fetch_optional(&mut *conn).await?.flatten().as_deref() == Some(PAYMENT_WITHOUT_HOLD);
    let found = find_campaign(conn, campaign).await?;
    if !ours || found.is_none_or(|found| found.state != CampaignState::Paused) {
        return Ok(None);
    }
    Ok(Some(set_state(conn, now, campaign, Move::Resume, LAUREL, None).await?.into()))
}
