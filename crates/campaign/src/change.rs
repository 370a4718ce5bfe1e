//! Changing campaigns: their definitions and their states, while their books are locked.

use laurel_events::{
    CampaignChanged, CampaignId, CampaignStateChanged, NewEvent, OrgId, alert::RULE_DOES_NOT_COMPILE,
};
use laurel_ledger::{Context, append, clear_alert, find_balances, lock_accounts};
use sqlx::PgConnection;

use crate::{
    Campaign, CampaignError, CampaignState, Definition, Move,
    counters::{Kept, change_kept},
    funding::drop_request,
    store::{find_campaign, insert_rule},
};

/// Locks a campaign's books and reads it: whoever holds them sees it unchanged.
pub(crate) async fn lock_campaign(
    conn: &mut PgConnection,
    org: OrgId,
    id: CampaignId,
    version: Option<i32>,
) -> Result<Campaign, CampaignError> {
    lock_accounts(conn, &[id]).await?;
    let campaign = find_campaign(conn, id).await?.filter(|campaign| campaign.org == org);
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
    by: &str,
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
    if after.chain_id != before.chain_id {
        return Err(CampaignError::Fixed("chain_id"));
    }
    if after.token != before.token && campaign.state != CampaignState::Draft {
        return Err(CampaignError::Fixed("token"));
    }
    if (&after.rule, &after.reward, after.caps) != (&before.rule, &before.reward, before.caps) {
        campaign.rule_version += 1;
        insert_rule(conn, context.now, id, campaign.rule_version, by, after).await?;
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
            rule_version = $8, version = $9
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
    )
    .execute(&mut *conn)
    .await?;
    let changed = CampaignChanged {
        campaign: id,
        version: campaign.version,
        rule_version: campaign.rule_version,
        definition_hash: after.hash(),
        by: by.to_owned(),
    };
    append(conn, context, &[changed.into()]).await?;
    Ok(campaign)
}

/// Moves a campaign to another state. A queue that was halted stays so: that is for an operator to lift.
///
/// # Errors
/// If its state does not allow it, or the database does not answer.
pub async fn move_campaign(
    conn: &mut PgConnection,
    context: &Context,
    org: OrgId,
    id: CampaignId,
    action: Move,
    by: &str,
) -> Result<CampaignStateChanged, CampaignError> {
    lock_campaign(conn, org, id, None).await?;
    let changed = set_state(conn, id, action, by, None).await?;
    let mut events = vec![NewEvent::from(changed.clone())];
    if action == Move::Resume {
        let cleared = clear_alert(conn, RULE_DOES_NOT_COMPILE, &format!("campaign:{id}")).await?;
        events.extend(cleared.map(NewEvent::from));
    }
    append(conn, context, &events).await?;
    Ok(changed)
}

/// Moves a campaign whose books are locked. Returns the event; the caller appends it.
pub(crate) async fn set_state(
    conn: &mut PgConnection,
    id: CampaignId,
    action: Move,
    by: &str,
    reason: Option<&str>,
) -> Result<CampaignStateChanged, CampaignError> {
    let campaign = find_campaign(conn, id).await?.ok_or(CampaignError::Unknown(id))?;
    let to = campaign.state.apply(action)?;
    let version = campaign.version + 1;
    sqlx::query!(
        "UPDATE campaigns SET state = $2, state_reason = $3, version = $4 WHERE id = $1",
        id.number(),
        to.as_str(),
        reason,
        version,
    )
    .execute(&mut *conn)
    .await?;
    // What is overdrawn can still be paid.
    if to == CampaignState::Ended
        && find_balances(conn, id).await?.is_none_or(|books| books.overdrawn.is_zero())
    {
        drop_request(conn, id).await?;
    }
    Ok(CampaignStateChanged {
        campaign: id,
        version,
        from: campaign.state.to_string(),
        to: to.to_string(),
        by: by.to_owned(),
    })
}
