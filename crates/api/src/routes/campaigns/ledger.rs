//! `GET /v1/campaigns/{campaign_id}/ledger`

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use laurel_events::{Amount, CampaignId};
use laurel_ledger::{TransferCursor, list_transfers};
use serde::Serialize;
use utoipa::ToSchema;

use super::campaign;
use crate::{
    ApiState, Principal, Problem,
    extract::{Page, Paging, Path, Query},
};

#[derive(Serialize, ToSchema)]
pub(crate) struct TransferOut {
    /// funding, hold, post or void; with `_undone`, one that the chain took back.
    kind: &'static str,
    /// What it concerns: a block and log, a grant, or a batch.
    reference: String,
    /// The account it leaves.
    debit: &'static str,
    /// The account it enters.
    credit: &'static str,
    /// Base units.
    #[schema(value_type = String)]
    amount: Amount,
    /// When it was written.
    recorded_at: DateTime<Utc>,
}

/// Every movement of a campaign's money
#[utoipa::path(
    get, path = "/campaigns/{campaign_id}/ledger", tag = "campaigns", operation_id = "list_campaign_transfers",
    params(("campaign_id" = String, Path, description = "The campaign's id"), Paging),
    responses((status = 200, body = Page<TransferOut>), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path(id): Path<CampaignId>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<TransferOut>>, Problem> {
    let (after, limit) = Paging::parse::<TransferCursor>(paging.cursor.as_deref(), paging.limit)?;
    let after = after.unwrap_or(TransferCursor::START);
    let mut conn = state.read_pool.acquire().await?;
    campaign(&mut conn, &principal, id).await?;
    let transfers = list_transfers(&mut conn, id, after, limit).await?;
    let full = i64::try_from(transfers.len()).is_ok_and(|found| found >= limit);
    let next = transfers.last().filter(|_| full).map(|transfer| transfer.cursor.to_string());
    let items = transfers
        .into_iter()
        .map(|transfer| TransferOut {
            kind: transfer.kind,
            reference: transfer.reference,
            debit: transfer.debit,
            credit: transfer.credit,
            amount: transfer.amount,
            recorded_at: transfer.recorded_at,
        })
        .collect();
    Ok(Json(Page { items, next }))
}
