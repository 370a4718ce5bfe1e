//! `POST /v1/campaigns/{campaign_id}/close`, `GET /v1/campaigns/{campaign_id}/close`

use alloy_primitives::{Address, B256, Bytes};
use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use laurel_campaign::{
    By, Campaign, CampaignState, PendingClosing, close_campaign, lock_campaign, pending_closing,
};
use laurel_chain::{ClosingStep, NextClosingStep, next_closing_step};
use laurel_events::{Amount, CampaignId, EventKind};
use laurel_ledger::{Context, find_balances};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::{
    campaign,
    moves::{Request, reason},
    out::{CampaignOut, SentOut},
};
use crate::{
    ApiState, Principal, Problem,
    extract::Path,
    idempotency::{MaybeKeyed, Once, Reply},
    request_id::RequestId,
    staff_log::Change,
};

/// What the vault's owner has to call next.
#[derive(Serialize, ToSchema)]
pub(crate) struct CallOut {
    /// close, release or withdraw.
    step: &'static str,
    /// The vault.
    to: String,
    /// The call's data.
    #[schema(value_type = String)]
    data: Bytes,
}

/// How far a campaign's closing is.
#[derive(Serialize, ToSchema)]
#[schema(as = Closing)]
pub(crate) struct Answer {
    /// closing, or closed once nothing is held any more and the release is final.
    #[schema(value_type = String)]
    state: CampaignState,
    /// What was left, in base units, and is the treasury's again; "0" before it is known.
    #[schema(value_type = String)]
    returned: Amount,
    /// When the vault lets the campaign be released; null before the chain has begun to close it.
    closes_at: Option<DateTime<Utc>>,
    /// Why it does not go on; null while it does.
    error: Option<String>,
    /// The treasury's last transaction for it; null before there is one.
    transaction: Option<SentOut>,
    /// What the treasury has withdrawn, in base units, in a final block; null before.
    #[schema(value_type = Option<String>)]
    withdrawn: Option<Amount>,
    /// The transaction that withdrew it; null before, and where nothing was left.
    #[schema(value_type = Option<String>)]
    withdrawn_tx: Option<B256>,
    /// What the vault's owner has to call next, where no treasury does it for the organisation; null where there is nothing to do for now.
    call: Option<CallOut>,
}

/// Close a campaign that is over
///
/// Has the vault close it, release it a day later, and what is left withdrawn. Where no treasury does it for the organisation, the answer
/// says what the vault's owner has to call next: ask again after each call. Asking again changes nothing, but that what has failed is tried
/// again at once.
#[utoipa::path(
    post, path = "/campaigns/{campaign_id}/close", tag = "campaigns", operation_id = "close_campaign",
    params(
        ("campaign_id" = String, Path, description = "The campaign's id"),
        ("idempotency-key" = Option<String>, Header, description = "The same for the same request sent again"),
    ),
    request_body(content = Request, description = "May be left out", example = json!({ "reason": "the books are closed" })),
    responses((status = 202, body = Answer), (status = "4XX", body = Problem)),
)]
pub(crate) async fn post(
    State(state): State<ApiState>,
    principal: Principal,
    request_id: RequestId,
    Path(id): Path<CampaignId>,
    MaybeKeyed { request, idempotency }: MaybeKeyed<Request>,
) -> Result<Reply, Problem> {
    let context = state.context(&request_id);
    let mut once = match Once::begin(&state, context.now, &principal, idempotency.as_ref()).await? {
        Ok(once) => once,
        Err(answered) => return Ok(answered),
    };
    let why = reason(&state, request).await?;
    let by = By { who: &principal.subject, why: why.as_ref() };
    let (mut before, (mut answer, question)) = close(&mut once, &context, id, by).await?;
    if let Some(question) = question {
        // Nobody waits for a node with a campaign's books locked: what is found before is done again.
        once.give_up().await?;
        let next = question.ask(&state).await?;
        once = match Once::begin(&state, context.now, &principal, idempotency.as_ref()).await? {
            Ok(once) => once,
            Err(answered) => return Ok(answered),
        };
        (before, (answer, _)) = close(&mut once, &context, id, by).await?;
        answer = answer.with(question.vault, next);
    }
    let reply = Reply::json(StatusCode::ACCEPTED, None, &answer)?;
    let change = Change::of_campaign(id).before(&before)?.after(&answer)?;
    let reply = once.commit("campaign_closed", reply, Some(change)).await?;
    state.wakes.committed([EventKind::CampaignStateChanged]).await;
    Ok(reply)
}

/// Closes it. Gives what it was, and what is known of its closing.
async fn close(
    once: &mut Once<'_>,
    context: &Context,
    id: CampaignId,
    by: By<'_>,
) -> Result<(CampaignOut, (Answer, Option<Question>)), Problem> {
    let (state, principal) = (once.state, once.principal);
    let found = lock_campaign(&mut once.tx, principal.org, id, None).await?;
    let treasury = state.has_treasury(found.definition.chain_id, &principal.org_name);
    let before = CampaignOut::from(found);
    let closed = close_campaign(&mut once.tx, context, principal.org, id, by, treasury).await?;
    Ok((before, known(state, &mut once.tx, principal, closed).await?))
}

/// How far a campaign's closing is
#[utoipa::path(
    get, path = "/campaigns/{campaign_id}/close", tag = "campaigns", operation_id = "get_campaign_closing",
    params(("campaign_id" = String, Path, description = "The campaign's id")),
    responses((status = 200, body = Answer), (status = "4XX", body = Problem)),
)]
pub(crate) async fn get(
    State(state): State<ApiState>,
    principal: Principal,
    Path(id): Path<CampaignId>,
) -> Result<Json<Answer>, Problem> {
    let mut conn = state.read_pool.acquire().await?;
    let found = campaign(&mut conn, &principal, id).await?;
    if !matches!(found.state, CampaignState::Closing | CampaignState::Closed) {
        return Err(Problem::not_found("closing: nobody has asked for it"));
    }
    let (answer, question) = known(&state, &mut conn, &principal, found).await?;
    drop(conn);
    Ok(Json(match question {
        Some(question) => answer.with(question.vault, question.ask(&state).await?),
        None => answer,
    }))
}

/// What a vault has to be asked where no treasury closes the campaign.
#[derive(Clone, Copy)]
struct Question {
    chain_id: u64,
    vault: Address,
    id: CampaignId,
    token: Address,
    returned: Amount,
}

impl Question {
    async fn ask(self, state: &ApiState) -> Result<NextClosingStep, Problem> {
        let node = state.nodes.get(&self.chain_id);
        let node = node.ok_or_else(|| Problem::internal("a campaign on a chain that is not configured"))?;
        Ok(next_closing_step(&**node, self.vault, self.id, self.token, self.returned).await?)
    }
}

impl Answer {
    /// The same with what the vault says.
    fn with(self, vault: Address, next: NextClosingStep) -> Self {
        let closes_at = next.closes_at.and_then(|at| DateTime::from_timestamp_secs(at.cast_signed()));
        let call = next.call.map(|(step, data)| CallOut {
            step: match step {
                ClosingStep::Close => "close",
                ClosingStep::Release => "release",
                ClosingStep::Withdraw => "withdraw",
            },
            to: vault.to_checksum(None),
            data,
        });
        Self { closes_at, call, ..self }
    }
}

/// What the database knows, and what the vault has to be asked.
async fn known(
    state: &ApiState,
    conn: &mut PgConnection,
    principal: &Principal,
    campaign: Campaign,
) -> Result<(Answer, Option<Question>), Problem> {
    let pending = pending_closing(conn, campaign.id).await?;
    let returned = find_balances(conn, campaign.id).await?.unwrap_or_default().returned;
    let chain_id = campaign.definition.chain_id;
    let answer = Answer {
        state: campaign.state,
        returned,
        closes_at: None,
        error: None,
        transaction: None,
        withdrawn: None,
        withdrawn_tx: None,
        call: None,
    };
    if let Some(PendingClosing { error, sent, closes_at, withdrawn, .. }) = pending {
        let (withdrawn, withdrawn_tx) = withdrawn.map_or((None, None), |(amount, tx)| (Some(amount), tx));
        let transaction = sent.map(SentOut::from);
        return Ok((Answer { closes_at, error, transaction, withdrawn, withdrawn_tx, ..answer }, None));
    }
    let is_done = campaign.state == CampaignState::Closed && returned.is_zero();
    if is_done || state.has_treasury(chain_id, &principal.org_name) {
        return Ok((answer, None));
    }
    let Campaign { id, vault, definition, .. } = campaign;
    Ok((answer, Some(Question { chain_id, vault, id, token: definition.token, returned })))
}
