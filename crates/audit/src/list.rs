//! Reconciliations as they are read afterwards.

use std::collections::HashMap;

use alloy::primitives::B256;
use chrono::{DateTime, Utc};
use laurel_events::{CampaignId, OrgId};
use laurel_ledger::LedgerError;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ReconciledChain;

/// A finding as it was kept. Code and severity are texts: another version of this program may have written them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFinding {
    /// critical, error or warning.
    pub severity: String,
    /// A stable code.
    pub code: String,
    /// What it is about.
    pub about: String,
    /// Both sides.
    pub detail: String,
    /// Whose it is; nothing where it concerns the whole system.
    pub campaign: Option<CampaignId>,
}

/// A reconciliation as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredReconciliation {
    /// Its id.
    pub id: Uuid,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it was done.
    pub finished_at: DateTime<Utc>,
    /// Whether everything was read again.
    pub whole: bool,
    /// The only campaign that was looked at, if it was one.
    pub campaign: Option<CampaignId>,
    /// At which blocks.
    pub chains: Vec<ReconciledChain>,
    /// How many campaigns were compared.
    pub campaigns: u32,
    /// How many places on the chain.
    pub places: u64,
    /// How many settled segments.
    pub settlements: u64,
    /// What was found, the worst first.
    pub findings: Vec<StoredFinding>,
}

/// Reconciliations before `before`, the newest first. For an organisation, with the findings about its campaigns and
/// without those that looked at another's only; without one, with all.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn list_reconciliations(
    conn: &mut PgConnection,
    org: Option<OrgId>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<StoredReconciliation>, LedgerError> {
    let org = org.map(|org| org.0);
    let rows = sqlx::query!(
        r#"
        SELECT r.id, r.started_at, r.finished_at, r.whole, r.campaign, r.campaigns, r.places, r.settlements
        FROM reconciliations r
        WHERE ($1::uuid IS NULL OR r.id < $1)
          AND ($2::integer IS NULL OR r.campaign IS NULL
               OR EXISTS (SELECT FROM campaigns c WHERE c.id = r.campaign AND c.org = $2))
        ORDER BY r.id DESC
        LIMIT $3
        "#,
        before,
        org,
        limit,
    )
    .fetch_all(&mut *conn)
    .await?;
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let mut chains = chains(conn, &ids).await?;
    let mut findings = findings(conn, &ids, org).await?;
    let listed = rows.into_iter().map(|row| StoredReconciliation {
        id: row.id,
        started_at: row.started_at,
        finished_at: row.finished_at,
        whole: row.whole,
        campaign: row.campaign.map(|campaign| CampaignId::from(campaign.cast_unsigned())),
        chains: chains.remove(&row.id).unwrap_or_default(),
        campaigns: row.campaigns.unsigned_abs(),
        places: row.places.unsigned_abs(),
        settlements: row.settlements.unsigned_abs(),
        findings: findings.remove(&row.id).unwrap_or_default(),
    });
    Ok(listed.collect())
}

async fn chains(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, Vec<ReconciledChain>>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT reconciliation, chain_id, number, hash FROM reconciled_chains
        WHERE reconciliation = ANY ($1)
        ORDER BY chain_id
        "#,
        ids,
    )
    .fetch_all(conn)
    .await?;
    let mut chains: HashMap<Uuid, Vec<ReconciledChain>> = HashMap::new();
    for row in rows {
        let hash = B256::try_from(row.hash.as_slice()).map_err(|_| LedgerError::Inconsistent {
            table: "reconciled_chains",
            column: "hash",
            id: row.reconciliation.to_string(),
        })?;
        let (chain_id, block) = (row.chain_id.cast_unsigned(), row.number.cast_unsigned());
        chains.entry(row.reconciliation).or_default().push(ReconciledChain { chain_id, block, hash });
    }
    Ok(chains)
}

async fn findings(
    conn: &mut PgConnection,
    ids: &[Uuid],
    org: Option<i32>,
) -> Result<HashMap<Uuid, Vec<StoredFinding>>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT reconciliation, severity, code, about, detail, campaign FROM findings
        WHERE reconciliation = ANY ($1) AND ($2::integer IS NULL OR org = $2)
        ORDER BY reconciliation, number
        "#,
        ids,
        org,
    )
    .fetch_all(conn)
    .await?;
    let mut findings: HashMap<Uuid, Vec<StoredFinding>> = HashMap::new();
    for row in rows {
        findings.entry(row.reconciliation).or_default().push(StoredFinding {
            severity: row.severity,
            code: row.code,
            about: row.about,
            detail: row.detail,
            campaign: row.campaign.map(|campaign| CampaignId::from(campaign.cast_unsigned())),
        });
    }
    Ok(findings)
}
