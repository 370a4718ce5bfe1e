//! `GET /v1/audit/balances`

use axum::{
    Json,
    extract::{RawQuery, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use chrono::NaiveDate;
use laurel_events::OrgId;
use laurel_ledger::LedgerError;
use laurel_views::{DayBalance, day_balances};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};

use crate::{
    ApiState, Principal, Problem,
    export::{Format, Source, export},
    extract::{Page, Query},
};

/// How many days at the most are asked for at once.
const DAYS_MAX: i64 = 366;

#[derive(Clone, Copy, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DayQuery {
    /// The first day (UTC), such as 2026-01-31.
    from: NaiveDate,
    /// The day behind the last one: a year later at the most.
    until: NaiveDate,
}

/// An account of a token's books on a day (UTC), in base units. `closing` is `opening` without `debits` and with `credits`; the closings
/// of a token's accounts add up to 0, and each is the next day's opening.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct BalanceOut {
    /// The day.
    day: NaiveDate,
    /// The chain.
    chain_id: u64,
    /// The token.
    token: String,
    /// chain (below zero by what the vault has caps for), available (below zero where the chain took back what grants stand on),
    /// reserved, paid or returned.
    account: &'static str,
    /// What it held when the day began.
    opening: String,
    /// What left it.
    debits: String,
    /// What entered it.
    credits: String,
    /// What it held when the day ended.
    closing: String,
}

impl From<DayBalance> for BalanceOut {
    fn from(balance: DayBalance) -> Self {
        let DayBalance { day, chain_id, token, account, opening, debits, credits, closing } = balance;
        let [opening, debits, credits, closing] =
            [opening, debits, credits, closing].map(|amount| amount.to_plain_string());
        let (token, account) = (token.to_checksum(None), account.as_str());
        Self { day, chain_id, token, account, opening, debits, credits, closing }
    }
}

/// All of them, read at once: there are few.
struct BalanceSource(OrgId, Option<DayQuery>);

impl Source for BalanceSource {
    type Row = BalanceOut;

    const WHAT: &'static str = "balances";

    const NAMES: &'static [&'static str] =
        &["day", "chain_id", "token", "account", "opening", "debits", "credits", "closing"];

    async fn next(&mut self, conn: &mut PgConnection) -> Result<Option<Vec<BalanceOut>>, LedgerError> {
        let Some(DayQuery { from, until }) = self.1.take() else { return Ok(None) };
        let balances = day_balances(conn, self.0, from, until).await?;
        Ok(Some(balances.into_iter().map(BalanceOut::from).collect()))
    }
}

/// The books in double entry, per token and day
///
/// With `accept: text/csv` or `application/x-ndjson` it is a file with a manifest.
#[utoipa::path(
    get, path = "/audit/balances", tag = "audit", operation_id = "list_balances", params(DayQuery),
    responses(
        (status = 200, content(
            (Page<BalanceOut> = "application/json"),
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
    Query(query): Query<DayQuery>,
) -> Result<Response, Problem> {
    let days = (query.until - query.from).num_days();
    if !(1..=DAYS_MAX).contains(&days) {
        let detail = format!("until is 1 to {DAYS_MAX} days behind from");
        return Err(Problem::bad_request("invalid_query", detail).of_parameter("until"));
    }
    if let Some(format) = Format::wanted(&headers) {
        let source = BalanceSource(principal.org, Some(query));
        return export(&state, &principal, format, asked_for.as_deref().unwrap_or_default(), source).await;
    }
    let mut conn = state.read_pool.acquire().await?;
    let balances = day_balances(&mut conn, principal.org, query.from, query.until).await?;
    let items = balances.into_iter().map(BalanceOut::from).collect();
    Ok(Json(Page { items, next: None }).into_response())
}
