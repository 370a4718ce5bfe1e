//! `GET /v1/audit/reconciliations`

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use laurel_audit::{ReconciledChain, StoredFinding, StoredReconciliation, list_reconciliations};
use laurel_events::CampaignId;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    ApiState, Principal, Problem, Role,
    extract::{Page, Paging, Query},
};

/// A comparison of the ledger with the chains.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ReconciliationOut {
    /// Its id, by which the list is ordered, the newest first.
    id: Uuid,
    /// When it began.
    started_at: DateTime<Utc>,
    /// When it was done.
    finished_at: DateTime<Utc>,
    /// Whether everything was read again, and not only what was new.
    full: bool,
    /// The only campaign that was looked at, if it was one.
    #[schema(value_type = Option<String>)]
    campaign_id: Option<CampaignId>,
    /// At which blocks.
    chains: Vec<ReconciledChainOut>,
    /// How many campaigns were compared.
    campaigns: u32,
    /// How many places on the chain.
    places: u64,
    /// How many settled segments.
    settlements: u64,
    /// What was found about the campaigns of the caller's organisation, the worst first; for operators, all.
    findings: Vec<FindingOut>,
}

/// The block at which a chain was compared.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ReconciledChainOut {
    /// The chain.
    chain_id: u64,
    /// The ledger's own final block.
    block: u64,
    /// Its hash.
    hash: String,
}

/// A difference between what the ledger says and what the chain or the rest of the ledger says.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct FindingOut {
    /// critical, error or warning.
    severity: String,
    /// A stable code.
    code: String,
    /// What it is about, such as `grant:7-12`.
    about: String,
    /// What each side says.
    detail: String,
    /// Whose it is; null where it concerns the whole system.
    #[schema(value_type = Option<String>)]
    campaign_id: Option<CampaignId>,
}

impl From<ReconciledChain> for ReconciledChainOut {
    fn from(chain: ReconciledChain) -> Self {
        Self { chain_id: chain.chain_id, block: chain.block, hash: chain.hash.to_string() }
    }
}

impl From<StoredFinding> for FindingOut {
    fn from(found: StoredFinding) -> Self {
        let StoredFinding { severity, code, about, detail, campaign } = found;
        Self { severity, code, about, detail, campaign_id: campaign }
    }
}

impl From<StoredReconciliation> for ReconciliationOut {
    fn from(made: StoredReconciliation) -> Self {
        Self {
            id: made.id,
            started_at: made.started_at,
            finished_at: made.finished_at,
            full: made.whole,
            campaign_id: made.campaign,
            chains: made.chains.into_iter().map(ReconciledChainOut::from).collect(),
            campaigns: made.campaigns,
            places: made.places,
            settlements: made.settlements,
            findings: made.findings.into_iter().map(FindingOut::from).collect(),
        }
    }
}

/// What the comparisons of the ledger with the chains found
#[utoipa::path(
    get, path = "/audit/reconciliations", tag = "audit", operation_id = "list_reconciliations", params(Paging),
    responses((status = 200, body = Page<ReconciliationOut>), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<ReconciliationOut>>, Problem> {
    let (before, limit) = Paging::parse::<Uuid>(paging.cursor.as_deref(), paging.limit)?;
    // Operators see the whole system, as everywhere.
    let org = (principal.role == Some(Role::Auditor)).then_some(principal.org);
    let mut conn = state.read_pool.acquire().await?;
    let made = list_reconciliations(&mut conn, org, before, limit).await?;
    let items: Vec<ReconciliationOut> = made.into_iter().map(ReconciliationOut::from).collect();
    Ok(Json(Page::new(items, limit, |made| made.id.to_string())))
}
