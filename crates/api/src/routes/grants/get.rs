//! `GET /v1/grants/{grant_id}`

use axum::{Json, extract::State};
use laurel_events::GrantId;
use laurel_players::players_of_ids;
use laurel_views::{
    TransactionFilter, find_grant_view, grant_at, grant_batches, grant_outcome_id, grant_timeline,
    list_transactions,
};

use super::{GrantOut, out::HoldOut};
use crate::{
    ApiState, Principal, Problem,
    extract::{Moment, Path, Query},
};

/// A place is sent again when the one before it has come to nothing: so often that it is listed whole.
const ATTEMPTS_MAX: i64 = 1_000;

/// A grant and its way
///
/// From the outcome to the final block: each step with the event that led to it, the hold, and every transaction that was signed for it.
#[utoipa::path(
    get, path = "/grants/{grant_id}", tag = "grants", operation_id = "get_grant",
    params(("grant_id" = String, Path, description = "The grant's id"), Moment),
    responses((status = 200, body = GrantOut), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Path(id): Path<GrantId>,
    Query(Moment { as_of }): Query<Moment>,
) -> Result<Json<GrantOut>, Problem> {
    let mut conn = state.read_pool.acquire().await?;
    let grant = find_grant_view(&mut conn, principal.org, id).await?;
    let grant = grant.ok_or_else(|| Problem::not_found("grant"))?;
    let mut timeline = grant_timeline(&mut conn, &grant).await?;
    let past = match as_of {
        None => None,
        Some(as_of) => {
            let past = grant_at(&grant, &timeline, as_of);
            timeline.retain(|entry| entry.at <= as_of);
            Some(past.ok_or_else(|| Problem::not_found("grant at that moment"))?)
        }
    };
    let batches = grant_batches(&mut conn, &grant).await?;
    let of_batches = TransactionFilter { batches: Some(&batches), ..TransactionFilter::default() };
    let attempts = list_transactions(&mut conn, principal.org, &of_batches, ATTEMPTS_MAX).await?;
    let signed = attempts
        .transactions
        .into_iter()
        .filter(|attempt| as_of.is_none_or(|as_of| attempt.signed_at <= as_of));
    let name = players_of_ids(&mut conn, &[grant.player]).await?.remove(&grant.player);
    let outcome_id = grant_outcome_id(&mut conn, &grant).await?;
    let mut out = GrantOut::new(grant, &principal.org_name, name);
    out.outcome_id = outcome_id;
    out.hold = HoldOut::of(out.amount, &timeline);
    out.attempts = signed.map(Into::into).collect();
    out.timeline = timeline.into_iter().map(Into::into).collect();
    if let Some(past) = past {
        out.put_back(past);
    }
    Ok(Json(out))
}
