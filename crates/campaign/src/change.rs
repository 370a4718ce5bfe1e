//! Changing campaigns: their definitions and their states, while their books are locked.

use chrono::{DateTime, Utc};
use laurel_events::{
    CampaignChanged, CampaignId, CampaignStateChanged, NewEvent, OrgId, alert::RULE_DOES_NOT_COMPILE,
};
use laurel_ledger::{Context, append, clear_alert, find_balances, lock_accounts};
use sqlx::{PgConnection, types::Json};

use crate::{
    By, Campaign, CampaignError, CampaignState, Definition, Move, Reason,
    counters::{Kept, change_kept},
    funding::{drop_request, pending_funding},
    schedule::{require_not_over, require_to_come, set_timers},
    store::{find_campaign, insert_rule},
    versions::insert_version,
};

/// Locks a campaign's books and reads it: whoever holds them sees it unchanged.
///
/// # Errors
/// If there is no such campaign, it has another version than `version`, or the database does not answer.
pub async fn lock_campaign(
    conn: &mut PgConnection,
    org: OrgId,
    id: CampaignId,
    version: Option<i32>,
) -> Result<Campaign, CampaignError> {
    lock_accounts(conn, &[id]).await?;
    let campaign = find_campaign(conn, id).await?;
    let campaign = campaign.filter(|found| found.org == org && found.state != CampaignState::Deleted);
    let campaign = campaign.ok_or(CampaignError::Unknown(id))?;
    match version {
        Some(wanted) if wanted != campaign.version => {
            Err(CampaignError::Changed { wanted, found: campaign.version })
        }
        _ => Ok(campaign),
    }
}

/// Changes a campaign's definition. Chain and token are fixed once the draft is over; rule, reward and caps become a
/// new version where they differ. A cap that comes later counts what was granted before.
///
/// # Errors
/// If it is wrong, was changed in between, or the database does not answer.
pub async fn change_campaign(
    conn: &mut PgConnection,
    context: &Context,
    org: OrgId,
    id: CampaignId,
    version: Option<i32>,
    by: By<'_>,
    change: impl FnOnce(&mut Definition) + Send,
) -> Result<Campaign, CampaignError> {
    let mut campaign = lock_campaign(conn, org, id, version).await?;
    let before = campaign.definition.clone();
    change(&mut campaign.definition);
    let after = &campaign.definition;
    let rule = after.check()?;
    if *after == before {
        return Ok(campaign);
    }
    let over = after.ends_at.filter(|ends_at| *ends_at <= context.now);
    if let Some(over) = over.filter(|_| after.ends_at != before.ends_at && campaign.state.is_under_way()) {
        return Err(CampaignError::Over(over));
    }
    if campaign.state == CampaignState::Scheduled && after.starts_at != before.starts_at {
        require_to_come(after, context.now)?;
    }
    if after.chain_id != before.chain_id {
        return Err(CampaignError::Fixed("chain_id"));
    }
    if after.token != before.token && campaign.state != CampaignState::Draft {
        return Err(CampaignError::Fixed("token"));
    }
    if (&after.rule, &after.reward, after.caps) != (&before.rule, &before.reward, before.caps) {
        campaign.rule_version += 1;
        insert_rule(conn, context.now, id, campaign.rule_version, by.who, after).await?;
        let kept = match before.kept() {
            Ok(kept) => kept,
            // What is kept for a rule that does not compile is not known: it is counted again.
            Err(_) => {
                change_kept(conn, id, Kept::ALL, Kept::NONE).await?;
                Kept::NONE
            }
        };
        change_kept(conn, id, kept, Kept::of(&after.caps, &rule)).await?;
    }
    campaign.version += 1;
    sqlx::query!(
        r#"
        UPDATE campaigns
        SET token = $2, name = $3, games = $4, starts_at = $5, ends_at = $6, wallet_deadline_hours = $7,
            rule_version = $8, version = $9, windows = $10,
            only_allowed = $11
        WHERE id = $1
        "#,
        id.number(),
        after.token.as_slice(),
        after.name,
        &after.games,
        after.starts_at,
        after.ends_at,
        after.wallet_deadline_hours.cast_signed(),
        campaign.rule_version,
        campaign.version,
        after.windows.as_ref().map(Json) as _,
        after.only_allowed,
    )
    .execute(&mut *conn)
    .await?;
    insert_version(conn, context.now, &campaign, by).await?;
    if campaign.state.is_under_way() {
        set_timers(conn, id, Some(&before), Some(after)).await?;
    }
    let after = &campaign.definition;
    let changed = CampaignChanged {
        campaign: id,
        version: campaign.version,
        rule_version: campaign.rule_version,
        definition_hash: after.hash(),
        by: by.who.to_owned(),
    };
    append(conn, context, &[changed.into()]).await?;
    Ok(campaign)
}

/// Moves a campaign to another state. A queue that was halted stays so: that is for an operator to lift.
///
/// # Errors
/// If its state or its definition does not allow it, or the database does not answer.
pub async fn move_campaign(
    conn: &mut PgConnection,
    context: &Context,
    org: OrgId,
    id: CampaignId,
    action: Move,
    by: By<'_>,
) -> Result<CampaignStateChanged, CampaignError> {
    let campaign = lock_campaign(conn, org, id, None).await?;
    // What the state forbids is said first.
    campaign.state.apply(action)?;
    match action {
        Move::Schedule => require_to_come(&campaign.definition, context.now)?,
        Move::Activate | Move::Resume => require_not_over(&campaign.definition, context.now)?,
        Move::Delete => require_no_money(conn, id).await?,
        Move::Unschedule | Move::Pause | Move::End | Move::Close | Move::Settle | Move::Reopen => {}
    }
    let changed = set_state(conn, context.now, id, action, by, None).await?;
    let mut events = vec![NewEvent::from(changed.clone())];
    if action == Move::Resume {
        let cleared = clear_alert(conn, RULE_DOES_NOT_COMPILE, &format!("campaign:{id}")).await?;
        events.extend(cleared.map(NewEvent::from));
    }
    append(conn, context, &events).await?;
    Ok(changed)
}

async fn require_no_money(conn: &mut PgConnection, id: CampaignId) -> Result<(), CampaignError> {
    if is_funded(conn, id).await? || pending_funding(conn, id).await?.is_some() {
        return Err(CampaignError::Funded);
    }
    Ok(())
}

/// Refuses a campaign that has no money in a final block: what it would grant, it could not pay.
///
/// # Errors
/// [`CampaignError::Unfunded`], or if the database does not answer.
pub async fn require_funded(conn: &mut PgConnection, id: CampaignId) -> Result<(), CampaignError> {
    if is_funded(conn, id).await? { Ok(()) } else { Err(CampaignError::Unfunded) }
}

async fn is_funded(conn: &mut PgConnection, id: CampaignId) -> Result<bool, CampaignError> {
    Ok(find_balances(conn, id).await?.is_some_and(|books| !books.funded.is_zero()))
}

/// Moves a campaign whose books are locked. Returns the event; the caller appends it.
pub(crate) async fn set_state(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    id: CampaignId,
    action: Move,
    by: By<'_>,
    reason: Option<&str>,
) -> Result<CampaignStateChanged, CampaignError> {
    let mut campaign = find_campaign(conn, id).await?.ok_or(CampaignError::Unknown(id))?;
    let from = campaign.state;
    campaign.state = from.apply(action)?;
    campaign.version += 1;
    campaign.state_reason = reason.map(str::to_owned);
    sqlx::query!(
        "UPDATE campaigns SET state = $2, state_reason = $3, version = $4 WHERE id = $1",
        id.number(),
        campaign.state.as_str(),
        reason,
        campaign.version,
    )
    .execute(&mut *conn)
    .await?;
    insert_version(conn, now, &campaign, by).await?;
    let timed = |state: CampaignState| state.is_under_way().then_some(&campaign.definition);
    set_timers(conn, id, timed(from), timed(campaign.state)).await?;
    // What is overdrawn can still be paid.
    if campaign.state.is_over()
        && find_balances(conn, id).await?.is_none_or(|books| books.overdrawn.is_zero())
    {
        drop_request(conn, id).await?;
    }
    Ok(CampaignStateChanged {
        campaign: id,
        version: campaign.version,
        from: from.to_string(),
        to: campaign.state.to_string(),
        by: by.who.to_owned(),
        reason: by.why.map(Reason::commitment),
    })
}
