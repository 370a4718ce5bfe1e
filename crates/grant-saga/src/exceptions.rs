//! Grants that do not go the plain way: they await a wallet, are held, or failed.

use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use laurel_events::{Amount, CampaignId, GrantId, PlayerId};
use laurel_ledger::{LedgerError, amount_from_sql, amount_to_sql};
use sqlx::PgConnection;
use uuid::Uuid;

/// The reason of grants whose contract wallet has to be asked again before it is paid.
pub(crate) const WALLET_CHECK: &str = "wallet_check";

/// The reason of grants whose contract wallet, asked again, does not accept its signature any more.
pub(crate) const WALLET_REFUSED: &str = "wallet_refused";

/// The reason of grants whose wallet has become a vault, a token or a lane.
pub(crate) const RESERVED_RECIPIENT: &str = "reserved_recipient";

/// The reasons that another wallet of the player does away with.
const WALLET_REASONS: [&str; 3] = [WALLET_CHECK, WALLET_REFUSED, RESERVED_RECIPIENT];

/// A grant that has no place yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) grant: GrantId,
    pub(crate) player: PlayerId,
    pub(crate) chain_id: u64,
    pub(crate) amount: Amount,
    /// Until when a wallet that can be paid can be linked.
    pub(crate) until: DateTime<Utc>,
    /// Why it is held; without, it awaits a wallet.
    pub(crate) reason: Option<&'static str>,
}

/// Writes grants that wait.
pub(crate) async fn insert_waiting(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    waiting: &[Waiting],
) -> Result<(), LedgerError> {
    if waiting.is_empty() {
        return Ok(());
    }
    let campaigns: Vec<i64> = waiting.iter().map(|grant| grant.grant.campaign.number()).collect();
    let numbers: Vec<i64> = waiting.iter().map(|grant| grant.grant.number.cast_signed()).collect();
    let players: Vec<Uuid> = waiting.iter().map(|grant| grant.player.uuid()).collect();
    let chains: Vec<i64> = waiting.iter().map(|grant| grant.chain_id.cast_signed()).collect();
    let amounts: Vec<BigDecimal> = waiting.iter().map(|grant| amount_to_sql(grant.amount)).collect();
    let until: Vec<DateTime<Utc>> = waiting.iter().map(|grant| grant.until).collect();
    let reasons: Vec<Option<String>> = waiting.iter().map(|grant| grant.reason.map(str::to_owned)).collect();
    sqlx::query!(
        r#"
        INSERT INTO exceptions
            (campaign, number, state, reason, player, chain_id, amount, wallet_until, updated_at)
        SELECT w.campaign, w.number, CASE WHEN w.reason IS NULL THEN 'awaiting_wallet' ELSE 'held' END,
               w.reason, w.player, w.chain_id, w.amount, w.until, $1
        FROM unnest($2::bigint[], $3::bigint[], $4::uuid[], $5::bigint[], $6::numeric[], $7::timestamptz[], $8::text[])
                 AS w (campaign, number, player, chain_id, amount, until, reason)
        "#,
        now,
        &campaigns,
        &numbers,
        &players,
        &chains,
        &amounts,
        &until,
        &reasons as &[Option<String>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A grant that awaits a wallet, or a check of it, or another wallet.
#[derive(Clone, Debug)]
pub(crate) struct Awaiting {
    pub(crate) grant: GrantId,
    pub(crate) amount: Amount,
    /// Why it is held; nothing while it awaits a wallet.
    pub(crate) reason: Option<String>,
}

/// The grants of a player that await a wallet on a chain, or are held because of the one there was, locked.
pub(crate) async fn lock_awaiting(
    conn: &mut PgConnection,
    player: PlayerId,
    chain_id: u64,
) -> Result<Vec<Awaiting>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT campaign, number, amount, reason FROM exceptions
        WHERE player = $1 AND chain_id = $2 AND seq IS NULL
          AND (state = 'awaiting_wallet' OR (state = 'held' AND reason = ANY ($3)))
        ORDER BY campaign, number
        FOR NO KEY UPDATE
        "#,
        player.uuid(),
        chain_id.cast_signed(),
        &WALLET_REASONS.map(str::to_owned),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let grant = grant_id(row.campaign, row.number)?;
            let amount = amount_from_sql(&row.amount, "exceptions", "amount", grant)?;
            Ok(Awaiting { grant, amount, reason: row.reason })
        })
        .collect()
}

/// Notes that waiting grants have got their places.
pub(crate) async fn set_queued(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    places: &[(GrantId, u64)],
) -> Result<(), LedgerError> {
    let campaigns: Vec<i64> = places.iter().map(|(grant, _)| grant.campaign.number()).collect();
    let numbers: Vec<i64> = places.iter().map(|(grant, _)| grant.number.cast_signed()).collect();
    let seqs: Vec<i64> = places.iter().map(|(_, seq)| seq.cast_signed()).collect();
    let updated = sqlx::query!(
        r#"
        UPDATE exceptions e SET state = 'queued', reason = NULL, seq = p.seq, wallet_until = NULL, updated_at = $1
        FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) AS p (campaign, number, seq)
        WHERE e.campaign = p.campaign AND e.number = p.number AND e.seq IS NULL
        "#,
        now,
        &campaigns,
        &numbers,
        &seqs,
    )
    .execute(conn)
    .await?;
    if updated.rows_affected() == places.len() as u64 {
        Ok(())
    } else {
        Err(LedgerError::RowCount {
            operation: "queue waiting grants",
            wanted: places.len() as u64,
            touched: updated.rows_affected(),
        })
    }
}

/// Holds grants that awaited a wallet, or were held because of the one there was.
pub(crate) async fn set_held(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    grants: &[GrantId],
    reason: &str,
) -> Result<(), LedgerError> {
    let campaigns: Vec<i64> = grants.iter().map(|grant| grant.campaign.number()).collect();
    let numbers: Vec<i64> = grants.iter().map(|grant| grant.number.cast_signed()).collect();
    let held = sqlx::query!(
        r#"
        UPDATE exceptions e SET state = 'held', reason = $1, updated_at = $2
        FROM unnest($3::bigint[], $4::bigint[]) AS g (campaign, number)
        WHERE e.campaign = g.campaign AND e.number = g.number AND e.seq IS NULL
          AND e.state IN ('awaiting_wallet', 'held')
        "#,
        reason,
        now,
        &campaigns,
        &numbers,
    )
    .execute(conn)
    .await?;
    let (wanted, touched) = (grants.len() as u64, held.rows_affected());
    if wanted == touched {
        Ok(())
    } else {
        Err(LedgerError::RowCount { operation: "hold waiting grants", wanted, touched })
    }
}

/// A grant without a place, whose deadline has come.
#[derive(Clone, Debug)]
pub(crate) struct Overdue {
    pub(crate) grant: GrantId,
    pub(crate) amount: Amount,
    /// Why it is held; nothing while it awaits a wallet.
    pub(crate) reason: Option<String>,
    pub(crate) until: DateTime<Utc>,
    /// Since when it is as it is.
    pub(crate) since: DateTime<Utc>,
}

/// Whose wallet a grant without a place waits for, and on which chain.
pub(crate) async fn waiting_player(
    conn: &mut PgConnection,
    grant: GrantId,
) -> Result<Option<(PlayerId, u64)>, LedgerError> {
    let row = sqlx::query!(
        "SELECT player, chain_id FROM exceptions WHERE campaign = $1 AND number = $2 AND seq IS NULL",
        grant.campaign.number(),
        grant.number.cast_signed(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.player.into(), row.chain_id.cast_unsigned())))
}

/// A grant that still waits for a wallet that can be paid, locked; `None` if it has gone on.
pub(crate) async fn lock_overdue(
    conn: &mut PgConnection,
    grant: GrantId,
) -> Result<Option<Overdue>, LedgerError> {
    let row = sqlx::query!(
        r#"
        SELECT amount, reason, wallet_until AS "until!", updated_at FROM exceptions
        WHERE campaign = $1 AND number = $2 AND seq IS NULL AND wallet_until IS NOT NULL
          AND state IN ('awaiting_wallet', 'held')
        FOR NO KEY UPDATE
        "#,
        grant.campaign.number(),
        grant.number.cast_signed(),
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(Overdue {
            grant,
            amount: amount_from_sql(&row.amount, "exceptions", "amount", grant)?,
            reason: row.reason,
            until: row.until,
            since: row.updated_at,
        })
    })
    .transpose()
}

/// Notes that a grant, which the caller has locked, failed.
pub(crate) async fn set_failed(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    grant: GrantId,
    reason: &str,
) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        UPDATE exceptions SET state = 'failed', reason = $3, wallet_until = NULL, updated_at = $4
        WHERE campaign = $1 AND number = $2
        "#,
        grant.campaign.number(),
        grant.number.cast_signed(),
        reason,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that a failed grant's hold was voided.
pub(crate) async fn set_compensated(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    grant: GrantId,
) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        UPDATE exceptions SET state = 'compensated', updated_at = $3
        WHERE campaign = $1 AND number = $2 AND state = 'failed'
        "#,
        grant.campaign.number(),
        grant.number.cast_signed(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn grant_id(campaign: i64, number: i64) -> Result<GrantId, LedgerError> {
    let wrong = |column| LedgerError::Inconsistent {
        table: "exceptions",
        column,
        id: format!("{campaign}-{number}"),
    };
    Ok(GrantId {
        campaign: CampaignId::try_from(campaign).map_err(|_| wrong("campaign"))?,
        number: u64::try_from(number).map_err(|_| wrong("number"))?,
    })
}
