//! The end of a campaign: what it did not pay goes back.
//!
//! ```text
//!   ended ──close──► closing ──the vault releases it, and nothing is held any more──► closed
//!                       ▲                                                               │
//!                       └──────────────────the chain takes the release back─────────────┘
//! ```

use std::collections::BTreeMap;

use alloy_primitives::B256;
use chrono::{DateTime, Utc};
use laurel_bus::StageError;
use laurel_events::{
    Amount, BudgetReclaimed, BudgetReturned, CampaignId, CampaignReleased, Envelope, Event, EventId,
    NewEvent, OrgId,
};
use laurel_ledger::{
    Context, LedgerError, Return, amount_from_sql, append, find_balances, give_back, take_back,
};
use sqlx::PgConnection;

use crate::{
    By, Campaign, CampaignError, CampaignState, Move,
    books::touched_by,
    change::{lock_campaign, set_state},
    find_campaign,
    funding::Sent,
    why::LAUREL,
};

/// Has a campaign that is over be closed: with `treasury`, Laurel does what that takes on the chain. One without money is closed at once. Asking
/// again changes nothing but that the treasury tries again what it has failed to do.
///
/// # Errors
/// If it is not over, or the database does not answer.
pub async fn close_campaign(
    conn: &mut PgConnection,
    context: &Context,
    org: OrgId,
    id: CampaignId,
    by: By<'_>,
    treasury: bool,
) -> Result<Campaign, CampaignError> {
    let campaign = lock_campaign(conn, org, id, None).await?;
    let books = find_balances(conn, id).await?.unwrap_or_default();
    // A cap may have come after it was closed without one.
    let has_more = campaign.state == CampaignState::Closed && !books.available.is_zero();
    if campaign.state != CampaignState::Closing {
        let action = if has_more { Move::Reopen } else { Move::Close };
        let mut moved = vec![set_state(conn, context.now, id, action, by, None).await?];
        if books.funded.is_zero() {
            moved.push(set_state(conn, context.now, id, Move::Settle, LAUREL, Some("never_funded")).await?);
        }
        let events: Vec<NewEvent> = moved.into_iter().map(NewEvent::from).collect();
        append(conn, context, &events).await?;
    }
    let campaign = find_campaign(conn, id).await?.ok_or(CampaignError::Unknown(id))?;
    if treasury && campaign.state == CampaignState::Closing {
        request_closing(conn, context.now, id, by.who).await?;
    }
    Ok(campaign)
}

async fn request_closing(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    id: CampaignId,
    by: &str,
) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        INSERT INTO closings (campaign, requested_by, requested_at) VALUES ($1, $2, $3)
        ON CONFLICT (campaign) DO UPDATE SET failures = 0, error = NULL, retry_at = NULL, look_at = NULL
        "#,
        id.number(),
        by,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How far the treasury is with closing a campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingClosing {
    /// Since when.
    pub requested_at: DateTime<Utc>,
    /// Why it does not go on, where it was tried.
    pub error: Option<String>,
    /// What it sent last for it.
    pub sent: Option<Sent>,
    /// When the vault lets it be released, as the chain says.
    pub closes_at: Option<DateTime<Utc>>,
    /// What was withdrawn, and by which transaction, where there was something to withdraw.
    pub withdrawn: Option<(Amount, Option<B256>)>,
}

/// How far the treasury is with closing a campaign, if it was asked to.
///
/// # Errors
/// If the row is inconsistent or the database does not answer.
pub async fn pending_closing(
    conn: &mut PgConnection,
    id: CampaignId,
) -> Result<Option<PendingClosing>, LedgerError> {
    let row = sqlx::query!(
        r#"
        SELECT requested_at, error, step, tx, sent_at, closes_at, withdrawn, withdrawn_tx FROM closings WHERE campaign = $1
        "#,
        id.number(),
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        let tx = row.withdrawn_tx.map(|tx| B256::from_slice(&tx));
        let withdrawn =
            row.withdrawn.map(|units| amount_from_sql(&units, "closings", "withdrawn", id)).transpose()?;
        Ok(PendingClosing {
            requested_at: row.requested_at,
            error: row.error,
            sent: Sent::from_row(row.step, row.tx.as_deref(), row.sent_at),
            closes_at: row.closes_at,
            withdrawn: withdrawn.map(|amount| (amount, tx)),
        })
    })
    .transpose()
}

/// Gives back what is left of released campaigns of which nothing is held any more after `events`, and closes them. Their books are locked.
pub(crate) async fn settle_released(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    events: &[Envelope],
) -> Result<Vec<NewEvent>, StageError> {
    let mut causes: BTreeMap<CampaignId, EventId> = BTreeMap::new();
    for envelope in events {
        causes.extend(touched_by(&envelope.event).into_iter().map(|campaign| (campaign, envelope.id)));
    }
    let campaigns: Vec<CampaignId> = causes.keys().copied().collect();
    let mut effects = Vec::new();
    for returned in give_back(conn, now, &campaigns).await? {
        let Return { campaign: id, amount, tx } = returned;
        let cause = causes[&id];
        effects.push(NewEvent::caused_by(cause, BudgetReturned { campaign: id, amount, tx }));
        let campaign = find_campaign(conn, id).await?;
        if campaign.is_some_and(|campaign| campaign.state.apply(Move::Settle).is_ok()) {
            let closed = set_state(conn, now, id, Move::Settle, LAUREL, Some("campaign_released")).await?;
            effects.push(NewEvent::caused_by(cause, closed));
        }
    }
    Ok(effects)
}

/// Takes back the release of a campaign that the chain took back, and what was given back by it.
pub(crate) async fn reclaim(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    undone: &CampaignReleased,
) -> Result<Vec<Event>, StageError> {
    let Some(amount) = take_back(conn, now, undone).await? else { return Ok(Vec::new()) };
    let id = undone.campaign;
    // What withdrew it is gone as well, or comes again: its nonce tells.
    sqlx::query!(
        r#"
        UPDATE closings
        SET withdrawn = NULL, withdrawn_tx = NULL, withdrawn_at = NULL, since_block = CASE WHEN since_block > $2 THEN $2 ELSE since_block END
        WHERE campaign = $1
        "#,
        id.number(),
        undone.block_number.cast_signed(),
    )
    .execute(&mut *conn)
    .await
    .map_err(LedgerError::from)?;
    let mut events: Vec<Event> = vec![BudgetReclaimed { campaign: id, amount, tx: undone.tx }.into()];
    let campaign = find_campaign(conn, id).await?;
    if campaign.is_some_and(|campaign| campaign.state.apply(Move::Reopen).is_ok()) {
        events.push(set_state(conn, now, id, Move::Reopen, LAUREL, Some("release_undone")).await?.into());
    }
    Ok(events)
}
