//! Caps that managers ask for, until the vault has them.

use alloy_primitives::B256;
use chrono::{DateTime, Utc};
use laurel_events::{Amount, CampaignId, OrgId};
use laurel_ledger::{Context, LedgerError, amount_from_sql, amount_to_sql, lock_accounts};
use sqlx::PgConnection;

use crate::{CampaignError, change::lock_campaign};

/// Asks for a cap in the vault; the treasury brings it onto the chain.
///
/// # Errors
/// If it is not above what there is, or the database does not answer.
pub async fn request_funding(
    conn: &mut PgConnection,
    context: &Context,
    org: OrgId,
    id: CampaignId,
    cap: Amount,
    by: &str,
) -> Result<(), CampaignError> {
    if cap.is_zero() || cap > Amount::GRANT_MAX {
        return Err(CampaignError::CapRange);
    }
    let campaign = lock_campaign(conn, org, id, None).await?;
    let books = lock_accounts(conn, &[id]).await?.remove(&id).unwrap_or_default();
    if campaign.state.is_over() && books.overdrawn.is_zero() {
        return Err(CampaignError::Ended);
    }
    // One that failed may be mended by asking for less.
    let requested = sqlx::query_scalar!(
        "SELECT cap FROM funding_requests WHERE campaign = $1 AND failures = 0",
        id.number(),
    )
    .fetch_optional(&mut *conn)
    .await?
    .map(|cap| amount_from_sql(&cap, "funding_requests", "cap", id))
    .transpose()?
    .unwrap_or(Amount::ZERO);
    let current = books.cap().max(requested);
    if cap <= current {
        return Err(CampaignError::CapNotRaised { asked: cap, current });
    }
    sqlx::query!(
        r#"
        INSERT INTO funding_requests (campaign, cap, requested_by, requested_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (campaign) DO UPDATE
        SET cap = EXCLUDED.cap, requested_by = EXCLUDED.requested_by, requested_at = EXCLUDED.requested_at, failures = 0,
            error = NULL, retry_at = NULL, step = NULL, tx = NULL, sent_at = NULL
        "#,
        id.number(),
        amount_to_sql(cap),
        by,
        context.now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A cap that was asked for and that the ledger has not seen on the chain yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingFunding {
    /// The cap.
    pub cap: Amount,
    /// Since when.
    pub requested_at: DateTime<Utc>,
    /// Why it is not on the chain, where it was tried.
    pub error: Option<String>,
    /// What the treasury sent last for it.
    pub sent: Option<Sent>,
}

/// A transaction that the treasury has sent, or was about to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// What for.
    pub step: String,
    /// Its hash.
    pub tx: B256,
    /// When.
    pub at: DateTime<Utc>,
}

impl Sent {
    pub(crate) fn from_row(
        step: Option<String>,
        tx: Option<&[u8]>,
        at: Option<DateTime<Utc>>,
    ) -> Option<Self> {
        Some(Self { step: step?, tx: B256::try_from(tx?).ok()?, at: at? })
    }
}

/// The cap that a campaign waits for, if any.
///
/// # Errors
/// If the row is inconsistent or the database does not answer.
pub async fn pending_funding(
    conn: &mut PgConnection,
    id: CampaignId,
) -> Result<Option<PendingFunding>, LedgerError> {
    let row = sqlx::query!(
        "SELECT cap, requested_at, error, step, tx, sent_at FROM funding_requests WHERE campaign = $1",
        id.number()
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        let cap = amount_from_sql(&row.cap, "funding_requests", "cap", id)?;
        let sent = Sent::from_row(row.step, row.tx.as_deref(), row.sent_at);
        Ok(PendingFunding { cap, requested_at: row.requested_at, error: row.error, sent })
    })
    .transpose()
}

/// Forgets what was asked for a campaign that is over: tokens committed to it could never be paid.
pub(crate) async fn drop_request(conn: &mut PgConnection, id: CampaignId) -> Result<(), LedgerError> {
    sqlx::query!("DELETE FROM funding_requests WHERE campaign = $1", id.number()).execute(conn).await?;
    Ok(())
}

/// Forgets a request for a cap that the vault has.
pub(crate) async fn forget_request(
    conn: &mut PgConnection,
    id: CampaignId,
    cap: Amount,
) -> Result<(), LedgerError> {
    sqlx::query!(
        "DELETE FROM funding_requests WHERE campaign = $1 AND cap <= $2",
        id.number(),
        amount_to_sql(cap)
    )
    .execute(conn)
    .await?;
    Ok(())
}
