//! `GET /v1/campaigns/{campaign_id}/ledger`

use axum::{
    Json,
    extract::{RawQuery, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use laurel_events::{Amount, CampaignId};
use laurel_ledger::{LedgerError, TRANSFER_KINDS, Transfer, TransferCursor, TransferFilter, list_transfers};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};

use super::campaign;
use crate::{
    ApiState, Principal, Problem,
    export::{Format, Source, export},
    extract::{Page, Paging, Path, Query, known},
};

#[derive(Serialize, ToSchema)]
pub(crate) struct TransferOut {
    /// funding, hold, post, void or return; with `_undone`, one that the chain took back.
    kind: &'static str,
    /// What it concerns: a block and log, a grant, a batch, or a transaction.
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

impl From<Transfer> for TransferOut {
    fn from(transfer: Transfer) -> Self {
        let Transfer { kind, reference, debit, credit, amount, recorded_at, .. } = transfer;
        Self { kind, reference, debit, credit, amount, recorded_at }
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Where the page before ended, as its `next` said.
    #[serde(default)]
    cursor: Option<String>,
    /// How many items, 1 to 500; 50 without.
    #[serde(default)]
    limit: Option<u16>,
    /// Only those of this kind: funding, hold, post, void or return, with those that undo one.
    #[serde(default)]
    kind: Option<String>,
    /// Only those of this amount or more, in base units.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    amount_min: Option<Amount>,
    /// Only those of this amount or less.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    amount_max: Option<Amount>,
    /// Only those that were recorded at this moment or later (RFC 3339).
    #[serde(default)]
    recorded_from: Option<DateTime<Utc>>,
    /// Only those that were recorded before this moment.
    #[serde(default)]
    recorded_until: Option<DateTime<Utc>>,
}

impl Filter {
    fn transfers(&self, after: Option<TransferCursor>) -> Result<TransferFilter<'_>, Problem> {
        Ok(TransferFilter {
            kind: known("kind", self.kind.as_deref(), &TRANSFER_KINDS)?,
            recorded: (self.recorded_from, self.recorded_until),
            amount: (self.amount_min, self.amount_max),
            after,
        })
    }
}

/// Every movement of a campaign's money
///
/// In the order in which they were written. A page may hold fewer items than it could, or none, where a rare amount is looked for among
/// many: the list goes on for as long as `next` is not null.
///
/// With `accept: text/csv` or `application/x-ndjson` the whole list is streamed, and `limit` says nothing.
#[utoipa::path(
    get, path = "/campaigns/{campaign_id}/ledger", tag = "campaigns", operation_id = "list_campaign_transfers",
    params(("campaign_id" = String, Path, description = "The campaign's id"), Filter),
    responses(
        (status = 200, content(
            (Page<TransferOut> = "application/json"),
            (String = "text/csv"),
            (String = "application/x-ndjson"),
        )),
        (status = "4XX", body = Problem),
    ),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    headers: HeaderMap,
    RawQuery(asked_for): RawQuery,
    Path(id): Path<CampaignId>,
    Query(query): Query<Filter>,
) -> Result<Response, Problem> {
    let (after, limit) = Paging::parse::<TransferCursor>(query.cursor.as_deref(), query.limit)?;
    let filter = query.transfers(after)?;
    let mut conn = state.read_pool.acquire().await?;
    campaign(&mut conn, &principal, id).await?;
    if let Some(format) = Format::wanted(&headers) {
        drop(conn);
        let asked_for = format!("campaign_id={id}&{}", asked_for.unwrap_or_default());
        let source = TransferSource { campaign: id, query, after, over: false };
        return export(&state, &principal, format, asked_for.trim_end_matches('&'), source).await;
    }
    let page = list_transfers(&mut conn, id, &filter, limit).await?;
    let items: Vec<TransferOut> = page.transfers.into_iter().map(TransferOut::from).collect();
    Ok(Json(Page { items, next: page.next.map(|next| next.to_string()) }).into_response())
}

/// How many are read together.
const PAGE: i64 = 4_000;

/// All of a campaign's transfers that a query asks for.
struct TransferSource {
    campaign: CampaignId,
    query: Filter,
    after: Option<TransferCursor>,
    over: bool,
}

impl Source for TransferSource {
    type Row = TransferOut;

    const WHAT: &'static str = "transfers";

    const NAMES: &'static [&'static str] = &["kind", "reference", "debit", "credit", "amount", "recorded_at"];

    async fn next(&mut self, conn: &mut PgConnection) -> Result<Option<Vec<TransferOut>>, LedgerError> {
        // What it asks for was seen to be good before it began.
        let Some(filter) = self.query.transfers(self.after).ok().filter(|_| !self.over) else {
            return Ok(None);
        };
        let page = list_transfers(conn, self.campaign, &filter, PAGE).await?;
        (self.over, self.after) = (page.next.is_none(), page.next);
        Ok(Some(page.transfers.into_iter().map(TransferOut::from).collect()))
    }
}
